"""Which variables look as if they hold a secret: by their names, or because the value shows it. Tables; nothing is proven by them."""

from __future__ import annotations

import re

ENDINGS = ("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "SECRETS", "TOKEN", "CREDENTIAL", "CREDENTIALS", "APIKEY")
"""Ends of a word of a name: PGPASSWORD, AUTHTOKEN."""

WORDS = ("PASS", "PWD", "KEY", "KEYS", "AUTH", "DSN")
"""Whole words of a name: DB_PASS, API_KEY."""

ABOUT = (
    "FILE",
    "PATH",
    "DIR",
    "NAME",
    "ID",
    "USER",
    "TTL",
    "LENGTH",
    "LIMIT",
    "TIMEOUT",
    "TYPE",
    "HEADER",
    "ALGORITHM",
    "EXPIRY",
)
"""A name that ends so tells something about a secret, and is none."""

HARMLESS = re.compile(r"(OLD)?PWD|(.*_)?PUBLIC_?KEY")
PLAIN = re.compile(r"(?i)|true|false|yes|no|on|off|[0-9]{1,4}")
"""Values that hide nothing."""

TELLING = re.compile(r"[a-zA-Z][\w+.-]*://[^/?#\s@:]*:[^/?#\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----")
"""A URL with a password in it; a key."""


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks so."""
    if holds_secret(value):
        return True
    bare = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
    words = [word.rstrip("0123456789") for word in re.split(r"[^A-Z0-9]+", bare) if word]
    if PLAIN.fullmatch(value) or not words or words[-1] in ABOUT or HARMLESS.fullmatch(bare):
        return False
    return any(word in WORDS or word.endswith(ENDINGS) for word in words)


def holds_secret(text: str) -> bool:
    """The same of any text, such as a word of a command."""
    return TELLING.search(text) is not None
