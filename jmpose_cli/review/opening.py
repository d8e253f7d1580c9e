"""A very large truth is parsed by a process of its own: `python -m jmpose_cli.review.opening FOLDER`.

Parsing holds the interpreter for seconds at a time, in which a server would answer nobody.
"""

import subprocess
import sys
from pathlib import Path

from jmpose_cli.child_environment import child_environment
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.layout import MODEL_FILE, TRUTH_FILE
from jmpose_cli.clips.parsed_truth import is_parsed
from jmpose_cli.errors import JmposeError


def parse_aside(folder: Path) -> None:
    """Have the truth of a clip parsed into the cache, where it is large and not there yet.

    Whatever is wrong with it, who opens the clip then says so.

    Raises:
        JmposeError: The process was ended from outside.
    """
    source = next((folder / name for name in (MODEL_FILE, TRUTH_FILE) if (folder / name).is_file()), None)
    if source is None or is_parsed(source):
        return
    words = [sys.executable, "-m", "jmpose_cli.review.opening", str(folder)]
    quiet = subprocess.DEVNULL
    code = subprocess.run(words, env=child_environment(), stdin=quiet, stdout=quiet, stderr=quiet).returncode
    if code < 0:
        hint = "open it again; where the system has ended it, the memory is too small for the clip"
        raise JmposeError(f"{folder}: opening it was ended by signal {-code}", hint=hint)


if __name__ == "__main__":
    with Corrections(Path(sys.argv[1])):
        pass
