"""What a run leaves: the files of a video's folder and those of the folder of all videos, by name.

Of one video, each file derives from those before it, the video and the settings:

| file | where | derives from |
|---|---|---|
| `poses.records` | work | what was found in each frame and its poses, as far as they are done |
| `overlay.records` | work | frames and `poses.records`: the overlay, encoded; worthless without them |
| `smooth` | work | `poses.records`: scratch for smoothing, made anew in every run |
| pose files, one a format | results | `poses.records`, smoothed when asked for |
| `overlay.mp4` | results | `overlay.records`, the video's sound |
| `run.json` | results | all of them: it is written last, and where it stands the others are complete |

The work folder is removed when the results are complete. The mark `replacing` stands in it while result files are
replaced one after the other: then they need not fit each other.
"""

from pathlib import Path

from jmpose_cli.config import InferConfig
from jmpose_cli.formats.writers import FORMATS

RUN_FILE = "run.json"
OVERLAY_FILE = "overlay.mp4"
RESULT_FILES = (*(form.file_name for form in FORMATS.values()), OVERLAY_FILE, RUN_FILE)
"""All that the folder of a video can hold; that of another video must not stand there."""
POSES_RECORDS, OVERLAY_RECORDS, SMOOTH_SCRATCH = "poses.records", "overlay.records", "smooth"
SUMMARY_FILE, FAILURES_FILE = "summary.json", "failures.json"
STATE_FOLDER = ".jmpose"
"""Journal, claims and unfinished work, in the folder of all videos."""


def result_files(config: InferConfig) -> list[str]:
    """Name the files that a video's folder holds when it is done."""
    overlay = [OVERLAY_FILE] if config.output.overlay else []
    return [*(FORMATS[name].file_name for name in config.output.formats), *overlay, RUN_FILE]


def stale_files(config: InferConfig) -> list[str]:
    """Name the files that runs with other settings may have left: they would not fit those of this one."""
    wanted = result_files(config)
    return [name for name in RESULT_FILES if name not in wanted]


def replacing_mark(work: Path) -> Path:
    """Name the file that stands in a video's work folder while its result files are replaced, one after the other."""
    return work / "replacing"
