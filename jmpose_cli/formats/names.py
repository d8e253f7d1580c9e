"""Names and numbers of frames and videos in PoseTrack."""

import re
import zlib
from pathlib import PurePath

_OFFICIAL_NAME = re.compile(r"(\d{6})_(mpiinew|mpii|bonn)")
_SOURCE_DIGIT = {"mpii": 1, "bonn": 2, "mpiinew": 3}
# For videos that are not PoseTrack's: a digit that no official id begins with.
_OTHER_SOURCE = 9
_MOST_DIGITS = 15  # a longer number is no count of frames, and ids made of it would not fit into 64 bits


def image_id_scheme(video: str) -> tuple[int, int]:
    """Sequence number and id of frame 0 of a video.

    PoseTrack's image ids are source * 10^10 + sequence * 10^4 + frame, and its names begin with sequence and
    source (`000342_mpii_test`). Any other name gets source 9 and six digits from its checksum. Frames above
    9999 run on into the next digit: ids stay unique within the file.
    """
    official = _OFFICIAL_NAME.match(video)
    source = _SOURCE_DIGIT[official[2]] if official else _OTHER_SOURCE
    sequence = int(official[1]) if official else zlib.crc32(video.encode()) % 10**6
    return sequence, source * 10**10 + sequence * 10**4


def frame_number(file_name: str) -> int | None:
    """Number that a picture's name ends in (`images/x/000012.jpg`); None when there is none, or one too long."""
    digits = re.search(r"(\d+)$", PurePath(file_name).stem, re.ASCII)
    return int(digits[1]) if digits and len(digits[1]) <= _MOST_DIGITS else None
