"""What a run leaves: the files of a video's folder and those of the folder of all videos, by name.

Of one video, each file derives from those before it, the video and the settings:

| file | where | derives from |
|---|---|---|
| `poses.records` | work | what was found in each frame and its poses, as far as they are done |
| `overlay.records` | work | frames and `poses.records`: the overlay, encoded; worthless without them |
| `smooth` | work | `poses.records`: scratch for smoothing, made anew in every run |
| `keypoints.coco.json` | results | `poses.records`, smoothed when asked for; the truth, which people correct |
| other pose files, one a format | results | the truth |
| `overlay.mp4` | results | the truth, by way of `overlay.records`; the video with its sound |
| `model.coco.json` | results | the truth before its first correction |
| `corrections.jsonl` | results | what people have said |
| `check.json` | results | the truth: what is suspicious in it |
| `run.json` | results | all of them: it is written last, and where it stands the others are complete |

The work folder is removed when the results are complete. The mark `replacing` stands in it while result files are
replaced one after the other: then they need not fit each other.
"""

from pathlib import Path

from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.config import OutputConfig
from jmpose_cli.formats.writers import FORMATS

TRUTH_FILE = FORMATS["coco"].file_name
MODEL_FILE, CORRECTIONS_FILE, CHECK_FILE = "model.coco.json", "corrections.jsonl", "check.json"
RUN_FILE = "run.json"
OVERLAY_FILE = "overlay.mp4"
RESULT_FILES = (
    *(form.file_name for form in FORMATS.values()),
    *(f"keypoints.{name}.coco.json" for name in KEYPOINT_SETS),
    OVERLAY_FILE,
    RUN_FILE,
)
"""All that runs can leave in the folder of a video; that of another video must not stand there."""
POSES_RECORDS, OVERLAY_RECORDS, SMOOTH_SCRATCH = "poses.records", "overlay.records", "smooth"
SUMMARY_FILE, FAILURES_FILE = "summary.json", "failures.json"
STATE_FOLDER = ".jmpose"
"""Journal, claims and unfinished work, in the folder of all videos."""


def pose_files(output: OutputConfig) -> dict[str, str]:
    """Name the pose files that derive from the truth, and the format of each.

    The truth has all joints of the model. Where another set is asked for, a COCO file of that set stands beside it.
    """
    named = {FORMATS[form].file_name: form for form in output.formats if form != "coco"}
    if "coco" in output.formats and output.keypoints is not None:
        named[f"keypoints.{output.keypoints}.coco.json"] = "coco"
    return named


def derived_files(output: OutputConfig) -> list[str]:
    """Name all files that derive from the truth."""
    return [*pose_files(output), *([OVERLAY_FILE] if output.overlay else [])]


def result_files(output: OutputConfig) -> list[str]:
    """Name the files that a video's folder holds when it is done."""
    return [TRUTH_FILE, *derived_files(output), RUN_FILE]


def stale_files(output: OutputConfig) -> list[str]:
    """Name the files that runs with other settings may have left: they would not fit those of this one."""
    wanted = result_files(output)
    return [name for name in RESULT_FILES if name not in wanted]


def replacing_mark(work: Path) -> Path:
    """Name the file that stands in a video's work folder while its result files are replaced, one after the other."""
    return work / "replacing"
