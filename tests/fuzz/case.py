"""One input: files, and the command line that reads them."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_TIME_S = 1_700_000_000  # of all files: journals tell changed inputs by it


@dataclass(frozen=True)
class Case:
    """A command line and the folder that it runs in.

    Attributes:
        kind: Which generator made it.
        seed: Tells it from all others of the kind; the same seed gives the same case.
        words: The command line, without `jmpose`.
        files: Content by path in the working folder; None makes an empty folder.
        links: What symbolic links lead to, by path.
        writes: The paths below which the command may write, in the working folder.
    """

    kind: str
    seed: str
    words: tuple[str | bytes, ...]
    files: dict[str | bytes, bytes | None] = field(default_factory=dict)
    links: dict[str | bytes, str | bytes] = field(default_factory=dict)
    writes: tuple[str, ...] = ("out",)

    def raw_words(self) -> list[bytes]:
        """The command line as the kernel takes it: no zero bytes, no half pairs."""
        return [_raw(word).replace(b"\0", b"?") for word in self.words]

    def lay_out(self, folder: Path) -> None:
        """Make the files below `folder`."""
        root = os.fsencode(folder)
        for name, content in self.files.items():
            path = os.path.join(root, _raw(name))
            if content is None:
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            os.utime(path, (_TIME_S, _TIME_S))
        for name, target in self.links.items():
            os.symlink(_raw(target), os.path.join(root, _raw(name)))

    def command(self) -> str:
        """What a shell runs."""
        return shlex.join(["jmpose", *(word.decode(errors="backslashreplace") for word in self.raw_words())])


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
