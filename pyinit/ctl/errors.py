"""What a command of pyinitctl raises when it cannot do what it was asked for."""


class CommandError(Exception):
    """Shown as one line, without a traceback: it says what, on what, why, and what to do instead. `status` is the exit status."""

    def __init__(self, words: str, status: int = 1) -> None:
        super().__init__(words)
        self.status = status
