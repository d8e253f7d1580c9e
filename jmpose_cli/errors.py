"""The one error that users see."""

import errno

# The disk is full, gone, read-only or broken: no other file can be written there either. What one file or folder alone
# may cause (its name, its rights, its size, what a codec thinks of it) is not among them.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO})


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


def is_of_the_disk(error: OSError) -> bool:
    """Whether an error in writing a result means that every other result would fail likewise.

    Args:
        error: From writing, never from reading an input: whose disk is broken, fails alone.
    """
    return error.errno in _OF_THE_DISK
