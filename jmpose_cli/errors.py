"""The one error that users see."""


class JmposeError(Exception):
    """A failure that the user can understand and act on; printed without a traceback.

    Args:
        message: What was given and what is wrong with it, one sentence, no trailing newline.
        hint: What is allowed or what to do next; empty when the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OutputError(JmposeError):
    """Nothing more can be written where the results go: every other video would fail likewise."""
