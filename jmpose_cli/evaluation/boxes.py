"""Boxes of the people of a data set that a model is evaluated on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jmpose_cli.data.layouts import AnnotatedVideo
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.records import JsonTable, PoseRecords
from jmpose_cli.people.boxes_file import read_boxes
from jmpose_cli.values import Detections, Float, Ids


class ImageBoxes:
    """Boxes of the images of one annotation file, by place in its list; see `BoxSource`.

    Args:
        boxes: Place to `[N, 4]` corners in image pixels and `[N]` scores; absent places were not looked at.
    """

    def __init__(self, boxes: Mapping[int, tuple[Float, Float]]) -> None:
        self._boxes = boxes

    def at(self, index: int) -> tuple[Detections | None, Ids | None]:
        """Return the boxes of one image, without ids."""
        if index not in self._boxes:
            return None, None
        return Detections(*self._boxes[index]), None


def annotated_boxes(truth: PoseRecords) -> ImageBoxes:
    """Take the boxes of annotated people with joints; images without annotations were not looked at.

    Track ids are left out: the tracker must find them itself.

    Raises:
        JmposeError: A person with joints has no box.
    """
    wanted = truth.present.any(1) & ~truth.is_crowd
    boxless = np.flatnonzero(wanted & np.isnan(truth.boxes_xyxy_px).any(1))
    if boxless.size:
        image = truth.images[truth.image_row[boxless[0]]]
        raise JmposeError(
            f"{truth.path}: person {boxless[0]} in {image.file_name} has no `bbox`",
            hint="use --boxes detect or a file of boxes",
        )
    rows_of = _rows_by_image(truth.image_row[wanted], np.flatnonzero(wanted))
    empty = np.zeros(0, np.int64)
    return ImageBoxes(
        {
            place: _boxes(truth.boxes_xyxy_px[rows_of.get(place, empty)])
            for place, image in enumerate(truth.images)
            if image.is_labeled
        }
    )


def _rows_by_image(image_row: Ids, rows: Ids) -> dict[int, Ids]:
    places, first = np.unique(image_row, return_index=True)
    order = np.argsort(image_row, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(image_row[order])) + 1)
    assert len(first) == len(places)
    return dict(zip(places.tolist(), groups, strict=True)) if len(places) else {}


def _boxes(corners: np.ndarray) -> tuple[Float, Float]:
    return corners.astype(np.float32).reshape(-1, 4), np.ones(len(corners), np.float32)


def boxes_from(path: Path, video: AnnotatedVideo) -> ImageBoxes:
    """Take boxes of a video from a folder with one file a video, or from one COCO results list for all.

    Raises:
        JmposeError: No file for the video, or a file that cannot be read.
    """
    places = range(len(video.images))
    if path.is_dir():
        file = next(
            (path / f"{video.name}{end}" for end in (".json", ".txt") if (path / f"{video.name}{end}").is_file()), None
        )
        if file is None:
            raise JmposeError(f"{path}: no boxes for {video.name}", hint=f"wanted: {video.name}.json or .txt")
        found = [read_boxes(file).at(place)[0] for place in places]
        return ImageBoxes({place: (d.boxes_xyxy_px, d.scores) for place, d in enumerate(found)})
    results = read_json(path)
    table = JsonTable(path, "results", results)
    boxes = table.boxes("bbox", required=True)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype(np.float32)
    scores = np.nan_to_num(table.numbers("score"), nan=1.0).astype(np.float32)
    image_ids = np.array(table.integers("image_id"), np.int64)
    taken = (image_ids == image.id for image in video.truth.images)
    return ImageBoxes({place: (corners[rows], scores[rows]) for place, rows in enumerate(taken)})
