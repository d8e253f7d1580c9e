"""Training data packed here and unpacked there: what is learnt from must be the same, but for the compression."""

import json

import cv2
import numpy as np
import pytest

import travel
from jmpose.keypoints import COCO17, COCO17_HEAD
from nano_data import cut, people_of, read_rgb


def picture(seed):
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8), (120, 160), interpolation=cv2.INTER_CUBIC)


def coco(images, joints):
    """One person in each picture; with or without joints."""
    box = {"bbox": [20, 10, 60, 120], "area": 1.0, "iscrowd": 0, "category_id": 1}
    points = [value for k in range(len(COCO17)) for value in (25 + 3 * k, 15 + 6 * k, 2)]
    keypoints = {"keypoints": points, "num_keypoints": len(COCO17)} if joints else {}
    return {
        "images": [{"id": n, "file_name": name, "width": 120, "height": 160} for n, name in enumerate(images)],
        "annotations": [{"id": n, "image_id": n, **box, **keypoints} for n in range(len(images))],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A data set in small, and what the recipes made of it, below the current folder."""
    root = tmp_path / "here"
    data = root / "data"
    files = {
        "coco_persons/train/1.jpg": 1,
        "coco_persons/val/2.jpg": 2,
        "lspet/images/im3.jpg": 3,
        "person_boxes/images/train/4.jpg": 4,
        "people_more/images/5.avif": 5,
        "people_more/images/6.avif": 6,
    }
    for name, seed in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(cv2.imencode(".png", picture(seed))[1].tobytes())  # readers go by the content
    lsp = coco(["images/im3.jpg"], joints=True)
    texts = {
        "coco_persons/train.json": json.dumps(coco(["train/1.jpg"], joints=True)),
        "coco_persons/val.json": json.dumps(coco(["val/2.jpg"], joints=True)),
        "lspet/lspet.json": json.dumps(lsp),
        "people_more/boxes.json": json.dumps(coco(["5.avif", "6.avif"], joints=False)),
        "person_boxes/labels/train/4.txt": "0 0.12 0.17 0.14 0.29",
        travel.TEACHER: "weights",
    }
    for name, text in texts.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)
    monkeypatch.chdir(root)
    for folder, row in (("coco", 0), ("lsp", 0), ("boxes", 0), ("more-crowded", 1)):
        (travel.PEOPLE / folder).mkdir(parents=True)
        labels = {"xy": np.full((1, 19, 2), 7.0), "weight": np.ones((1, 19)), "present": np.ones((1, 19))}
        np.savez(travel.PEOPLE / folder / "labels.npz", rows=[row], names=COCO17_HEAD.joints, **labels)
    for folder in ("images/train", "labels/train"):
        (travel.DETECTOR / folder).mkdir(parents=True)
    for stem in ("more_5", "lsp_im3", "street_000001", "plain_000"):
        (travel.DETECTOR / "labels/train" / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.2")
        cv2.imwrite(str(travel.DETECTOR / "images/train" / f"{stem}.jpg"), picture(8))
    sources = {"more_5": "people_more/images/5.avif", "lsp_im3": "lspet/images/im3.jpg"}
    (travel.DETECTOR / "sources.json").write_text(json.dumps(sources))
    (travel.VIDEOS / "clips").mkdir(parents=True)
    (travel.VIDEOS / "clips/street.mp4").write_bytes(b"frames")
    return root


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["travel.py", *map(str, arguments)])
    travel.main()


def test_there_is_as_here(here, tmp_path, monkeypatch):
    run(monkeypatch, "pack", "--data", "data", "--out", "travel", "--part-mb", 0.02, "--workers", 1)
    parts = sorted((here / "travel").iterdir())
    assert len(parts) > 1
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "unpack", *parts, "--data", "data", "--workers", 1)
    for folder in ("coco", "lsp", "boxes", "more-crowded"):
        with np.load(travel.PEOPLE / folder / "labels.npz") as labels:
            (row,) = labels["rows"]
            assert (labels["xy"] == 7).all()
        person = [*people_of(folder.removesuffix("-crowded"), here / "data")][row]
        expected = cut(person, read_rgb(person.image))[0]
        patches = np.load(travel.PEOPLE / folder / "patches.npy")
        assert patches.shape == (1, *expected.shape)
        assert np.abs(patches[0].astype(int) - expected).mean() < 8
    made = {file.stem for file in (travel.DETECTOR / "images/train").iterdir()}
    assert {"more_5", "lsp_im3", "street_000001", "plain_001"} <= made
    assert made == {file.stem for file in (travel.DETECTOR / "labels/train").iterdir()}
    frame = cv2.imread(str(travel.DETECTOR / "images/train/more_5.jpg"))
    assert np.abs(frame.astype(int) - picture(5)).mean() < 8
    assert (travel.VIDEOS / "clips/street.mp4").read_bytes() == b"frames"
    scored = "data/coco_persons/val/2.jpg"
    assert (tmp_path / scored).read_bytes() == (here / scored).read_bytes()
