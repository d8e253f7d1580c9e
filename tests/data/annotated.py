"""Small data sets on disk: every picture has one grey level, so that it tells which it is."""

import json

import cv2
import numpy as np

from jmpose.keypoints import COCO17, POSETRACK18

SIZE_WH = (64, 48)


def grey_of(number):
    """Grey level of picture `number`."""
    return 20 + 10 * number


def save_picture(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((SIZE_WH[1], SIZE_WH[0], 3), grey_of(number), np.uint8))


def numbers_in(pictures):
    """Which pictures these are."""
    return [round((float(picture.mean()) - 20) / 10) for picture in pictures]


def triples(xy, joints=POSETRACK18.joints, absent=()):
    """Flat x, y, v: joint k at (x + k, y + k) of the person."""
    places = {joint: (xy[0] + k, xy[1] + k, 1) for k, joint in enumerate(joints)}
    return [v for joint in joints for v in (places[joint] if joint not in absent else (0, 0, 0))]


def person(number, track, *, xy=(20, 10), box=(15, 5, 30, 36), absent=(), joints=POSETRACK18.joints, **fields):
    """One annotation in frame `number`; fields that are None are left out."""
    record = {"image_id": 1000 + number, "track_id": track, "category_id": 1, "bbox": box and list(box)}
    record |= {"id": 100 * track + number, "keypoints": triples(xy, joints, absent)} | fields
    return {field: value for field, value in record.items() if value is not None}


def posetrack18(
    root, people, *, frames, unlabelled=(), name="000001_clip", split="val", pictures=True, sized=True, folder=None
):
    """Write a PoseTrack18 data set of one video; gives the annotation file."""
    file = (root / f"annotations/{split}" if folder is None else folder) / f"{name}.json"
    images = []
    for number in range(frames):
        file_name = f"images/{split}/{name}/{number:06d}.png"
        images.append({"id": 1000 + number, "file_name": file_name, "is_labeled": number not in unlabelled})
        if sized:
            images[-1] |= {"width": SIZE_WH[0], "height": SIZE_WH[1]}
        if pictures:
            save_picture(root / file_name, number)
    return write_json(file, images, people, POSETRACK18.joints)


def coco(file, people, *, images, folder="", joints=COCO17.joints, info=None):
    """Write a COCO file with `images` pictures in `folder` beside it."""
    records = []
    for number in range(images):
        records.append({"id": 1000 + number, "file_name": f"{number:012d}.png", "width": SIZE_WH[0]})
        records[-1]["height"] = SIZE_WH[1]
        save_picture(file.parent / folder / records[-1]["file_name"], number)
    return write_json(file, records, people, joints, info)


def write_json(file, images, people, joints, info=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": 1, "name": "person", "keypoints": list(joints), "skeleton": []}]
    content = {"info": info or {}, "images": images, "annotations": people, "categories": categories}
    file.write_text(json.dumps(content))
    return file


def posetrack17(file, names, people):
    """Write a PoseTrack17 file; `people` maps frame numbers to lists of (track, {joint id: (x, y)})."""
    annolist = []
    for number, name in enumerate(names):
        rects = [
            {
                "track_id": [track],
                **{corner: [1.0] for corner in ("x1", "y1", "x2", "y2")},
                "annopoints": [
                    {"point": [{"id": [i], "x": [x], "y": [y], "is_visible": [1]} for i, (x, y) in joints.items()]}
                ],
            }
            for track, joints in people.get(number, ())
        ]
        labelled = [int(number in people)]
        annolist.append({"image": [{"name": name}], "imgnum": [number + 1], "is_labeled": labelled, "annorect": rects})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"annolist": annolist}))
    return file
