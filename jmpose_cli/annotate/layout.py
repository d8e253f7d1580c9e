"""What a run leaves: the files of a video's folder and those of the folder of all videos, by name."""

from jmpose_cli.config import InferConfig
from jmpose_cli.formats.writers import FILE_NAMES

RUN_FILE = "run.json"
OVERLAY_FILE = "overlay.mp4"
RESULT_FILES = (*FILE_NAMES.values(), OVERLAY_FILE, RUN_FILE)
"""All that the folder of a video can hold; that of another video must not stand there."""
SUMMARY_FILE, FAILURES_FILE = "summary.json", "failures.json"
STATE_FOLDER = ".jmpose"
"""Journal, claims and unfinished work, in the folder of all videos."""


def result_files(config: InferConfig) -> list[str]:
    """Name the files that a video's folder holds when it is done."""
    overlay = [OVERLAY_FILE] if config.output.overlay else []
    return [*(FILE_NAMES[name] for name in config.output.formats), *overlay, RUN_FILE]
