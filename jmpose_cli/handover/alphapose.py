"""AlphaPose's results: one JSON list of all people of a video, with Halpe's 26 joints.

The third number of a joint is its score, 0 where it is not there. `idx` is the track id, `box` is x, y, width, height.
"""

from pathlib import PurePosixPath

import numpy as np
import orjson

from jmpose.keypoints import HALPE26
from jmpose_cli.formats.records import xyxy_to_xywh
from jmpose_cli.handover.convert_joints import in_set
from jmpose_cli.handover.dataset_write import boxes_or_extent, scores_of_people
from jmpose_cli.handover.handover import Handover
from jmpose_cli.handover.openpose import scored_triples


def write_alphapose(given: Handover) -> None:
    """Write the results, people in the order of their frames.

    Raises:
        JmposeError: The file cannot be written, or the people have none of the joints.
    """
    mapped = in_set(given.records, HALPE26, given.notes)
    boxes = xyxy_to_xywh(np.nan_to_num(boxes_or_extent(given.records, given.notes))).tolist()
    joints, scores = scored_triples(mapped), scores_of_people(given.records).tolist()
    frames = given.frame_of_row
    results = [
        {
            "image_id": PurePosixPath(mapped.images[mapped.image_row[row]].file_name).name or f"{frames[row]:06d}.jpg",
            "category_id": 1,
            "keypoints": joints[row],
            "score": scores[row],
            "box": boxes[row],
            "idx": int(mapped.track_ids[row]),
        }
        for row in np.argsort(frames, kind="stable").tolist()
    ]
    given.write(orjson.dumps(results))
