"""The scanner that finds lines in TOML, and the writer: checked against tomllib."""

import string
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyinit.supervise.tomltext import Place, dumps, lines

EVERYTHING = '''\
title = "a # no comment" # a comment
"quoted key" = 'literal \\ ' # 2
a.b . "c d".e = [ # 3
  1, # 4

  { x = 1, y.z = [ "]", '}' ] }, # 6
] # 7
text = """
key = "in a string"
""""" # 8 to 10: two quotes of its own at the end
raw = \'\'\'
[not.a.table]
\'\'\' # 11 to 13
when = 1979-05-27 07:32:00Z
[apps.web] # 15
command = "x"
[ apps . "api\\u0020server" ] # 17
command = "y"
[apps.web.environment]
A = "1"
[[list]] # 21
n = 1
[[list.inner]]
m = 1
[[list.inner]]
m = 2
[[list]]
n = 2 # 28
[list.sub]
k = true
'''


def places(value: Any, place: Place = ()) -> Iterator[Place]:  # noqa: ANN401 (TOML)
    """Every place in a document."""
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


def test_every_form_of_toml() -> None:
    """Each key is on the line where it stands; what looks like one in a string is none."""
    found = lines(EVERYTHING)
    assert set(places(tomllib.loads(EVERYTHING))) == set(found)
    assert found["title",] == 1
    assert found["quoted key",] == 2
    assert found["a", "b", "c d", "e"] == 3
    assert found["a", "b", "c d", "e", 0] == 4
    assert found["a", "b", "c d", "e", 1, "y", "z", 1] == 6
    assert found["text",] == 8
    assert found["raw",] == 11
    assert found["when",] == 14
    assert found["apps", "web"] == 15
    assert found["apps", "api server"] == 17
    assert found["apps", "web", "environment", "A"] == 20
    assert found["list", 0] == 21
    assert found["list", 0, "inner", 1, "m"] == 26
    assert found["list", 1, "n"] == 28
    assert found["list", 1, "sub", "k"] == 30


KEYS = st.text(string.printable + 'ä"\\\x7f', min_size=1, max_size=8)
SCALARS = st.booleans() | st.integers(-(10**9), 10**9) | st.text(string.printable + "ä\x7f€\u2028", max_size=12)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(DOCUMENTS)
def test_what_is_written_is_read_again(document: dict[str, Any]) -> None:
    """Any document of texts, numbers, truth values, lists and tables; and the scanner finds every place of it."""
    text = dumps(document)
    assert tomllib.loads(text) == document
    assert set(places(document)) == set(lines(text))


def test_a_document_as_people_write_it() -> None:
    """Tables under headers, small ones on a line."""
    document = {
        "stop": "8s",
        "apps": {"web": {"command": ["a", "b"], "ready": {"log": "x"}, "environment": {"A": "1", "B": "2"}}},
    }
    assert dumps(document) == (
        'stop = "8s"\n\n[apps.web]\ncommand = ["a", "b"]\nready = { log = "x" }\n\n[apps.web.environment]\nA = "1"\nB = "2"\n'
    )
