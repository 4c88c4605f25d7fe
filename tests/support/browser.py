"""A Chromium without a screen, asked over a pipe in its own language (the DevTools protocol): no driver, no port.

What a page is like is asked of the page itself (`evaluate`); what it asked the network for is in `requests`.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ANSWERS_WITHIN = 60.0
"""Seconds; a machine may stand still."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests are root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)


class BrowserError(Exception):
    """It does not start, does not answer, or refuses."""


class Page:
    """One tab."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command of the protocol. Raises BrowserError when it is refused."""
        return self._browser.call(method, self._session, **params)

    def open(self, file: Path) -> None:
        """Loads a file; back when all of it is there."""
        self._browser.forget()
        self.call("Page.navigate", url=file.resolve().as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for since `open`, the file's own first."""
        return [one["request"]["url"] for one in self._browser.seen("Network.requestWillBeSent", self._session)]

    @property
    def complaints(self) -> list[str]:
        """What the browser has to say against it: refused, blocked, not found."""
        return [one["entry"]["text"] for one in self._browser.seen("Log.entryAdded", self._session)]

    def look(self, width: int, height: int, scheme: str, media: str = "") -> None:
        """The screen (narrow ones are phones), the colour scheme that its user prefers, and `print` for paper."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2,
            mobile=width < 600,
        )
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """The value of an expression in the page's own language."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def key(self, name: str) -> None:
        """A key is pressed and let go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode={"Tab": 9}[name])

    def photograph(self, file: Path) -> None:
        """The whole page, not only what the screen shows."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))


class Browser:
    """The process. Use it as a context: it and its files are gone afterwards."""

    def __init__(self) -> None:
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            raise BrowserError("there is no Chromium: apt-get install chromium")
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        (theirs, self._out), (self._in, theirs_too) = _pipe(), _pipe()
        self._errors = Path(self._profile.name, "stderr")
        place = f'exec "$@" 3<&{theirs} 4>&{theirs_too} {theirs}<&- {theirs_too}>&-'  # the pipes have to be these two
        command = [program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["/bin/bash", "-c", place, "bash", *command],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs, theirs_too),
                env={**os.environ, "HOME": self._profile.name},
            )
        os.close(theirs)
        os.close(theirs_too)
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # it ends when nobody can ask it any more
        try:
            self._process.wait(ANSWERS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        self._profile.cleanup()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """A tab of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        yield Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        self.call("Target.closeTarget", targetId=target)

    def call(self, method: str, session: str = "", /, **params: object) -> dict[str, Any]:
        """One command and its answer; what happens meanwhile is kept. Raises BrowserError."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next(method)).get("id") != number:
            pass
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def seen(self, event: str, session: str) -> list[dict[str, Any]]:
        """The events of that name since `forget`."""
        return [one["params"] for one in self._events if (one["method"], one.get("sessionId")) == (event, session)]

    def forget(self) -> None:
        """What has happened so far is of no interest."""
        self._events.clear()

    def wait_for(self, event: str, session: str) -> None:
        """Until it has happened."""
        while not self.seen(event, session):
            self._next(event)

    def _next(self, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], ANSWERS_WITHIN)
            more = os.read(self._in, 1 << 16) if ready else b""
            if not more:
                said = self._errors.read_text(errors="replace")[-2000:]
                raise BrowserError(
                    f"the browser {'has gone' if ready else 'does not answer'} ({what}); it said:\n{said}"
                )
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
        return message


def _pipe() -> tuple[int, int]:
    """Both ends, with numbers that are none of the two that the browser wants."""
    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends)
    for end in ends:
        os.close(end)
    return read, write
