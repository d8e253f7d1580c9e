"""`jmpose eval --data`: a model run over a small data set made of the example clip, and scored."""

import json
import shutil

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.handover.write import write_poses
from jmpose_cli.main import app
from tests.commands.test_infer import CLIP, TRUTH

FRAMES = range(40, 52)
LABELLED = (0, 4, 5, 6, 8)
NAME = "000342_mpii_test"


def evaluate(*arguments):
    """Run in this process; give the exit code, and a JmposeError as it is."""
    result = CliRunner().invoke(app, ["eval", *map(str, arguments), "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Twelve frames of the clip, on disk as PoseTrack keeps them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images" / "val" / NAME).mkdir(parents=True)
    with av.open(str(CLIP)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in FRAMES:
                frame.to_image().save(folder / "images" / "val" / NAME / f"{number - FRAMES[0]:06d}.jpg", quality=90)
    return folder


def posetrack_file(path, *, rename=lambda track: track):
    """The clip's ground truth for the twelve frames, in an official-looking file."""
    data = json.loads(TRUTH.read_text())
    ids = {data["images"][number]["id"]: 10003420000 + place for place, number in enumerate(FRAMES)}
    images = [
        {
            "id": 10003420000 + place,
            "file_name": f"images/val/{NAME}/{place:06d}.jpg",
            "is_labeled": place in LABELLED,
        }
        for place in range(len(FRAMES))
    ]
    labelled = {image["id"] for image in images if image["is_labeled"]}
    people = [
        person | {"image_id": ids[person["image_id"]], "track_id": rename(person["track_id"])}
        for person in data["annotations"]
        if ids.get(person["image_id"]) in labelled
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": data["categories"]}))
    return path


@pytest.fixture(scope="module")
def data(pictures):
    posetrack_file(pictures / "annotations" / "val" / f"{NAME}.json")
    return pictures


@pytest.fixture(scope="module")
def scored(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "out"
    assert evaluate("--data", data, "--split", "val", "--out", out, "--html") == 0
    return out


def test_every_number_stands_beside_its_baseline(scored):
    found = json.loads((scored / "eval.json").read_text())
    labels = ["gt-temporal", "gt-single-frame", "detect-temporal", "detect-single-frame"]
    assert list(found["runs"]) == labels
    assert found["frames"] == len(LABELLED)
    assert found["ap"] == found["runs"]["gt-temporal"]["ap"]
    assert all(found["runs"][label]["ap"]["total"] > 5 for label in labels)
    assert found["runs"]["gt-temporal"]["ap"] != found["runs"]["gt-single-frame"]["ap"]
    assert set(found["compare"]) == {
        "gt-temporal minus gt-single-frame",
        "detect-temporal minus detect-single-frame",
        "detect-temporal minus gt-temporal",
    }
    assert (scored / "report.html").is_file()


def test_kept_predictions_give_the_same_figures(scored, data, tmp_path):
    found = json.loads((scored / "eval.json").read_text())
    given = ("--gt", data / "annotations" / "val", "--pred", scored / "predictions" / "detect-temporal")
    assert evaluate(*given, "--out", tmp_path / "again") == 0
    again = json.loads((tmp_path / "again" / "eval.json").read_text())
    for name in ("ap", "mota", "hota"):
        assert again[name] == found["runs"]["detect-temporal"][name]


def test_given_boxes_are_taken_and_no_others(scored, data):
    truth = read_poses(data / "annotations" / "val" / f"{NAME}.json")
    found = read_poses(scored / "predictions" / "gt-temporal" / f"{NAME}.json")
    assert [image.id for image in found.images] == [image.id for image in truth.images]
    for place in range(len(FRAMES)):
        mine, theirs = (np.sort(r.boxes_xyxy_px[r.image_row == place], axis=0) for r in (truth, found))
        assert np.allclose(mine, theirs, atol=0.02)
    # People keep their ids over the frames that nobody annotated.
    assert len(np.unique(found.track_ids)) < 1.5 * len(np.unique(truth.track_ids))


def test_ids_of_the_ground_truth_are_never_seen(scored, pictures, tmp_path):
    other = tmp_path / "data"
    posetrack_file(other / "annotations" / "val" / f"{NAME}.json", rename=lambda track: 70 - track)
    shutil.copytree(pictures / "images", other / "images")
    assert evaluate("--data", other, "--boxes", "gt", "--out", tmp_path / "out") == 0
    for kind in ("temporal", "single-frame"):
        file = f"predictions/gt-{kind}/{NAME}.json"
        assert (tmp_path / "out" / file).read_bytes() == (scored / file).read_bytes()


def test_boxes_of_a_folder(data, tmp_path):
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    write_poses(read_poses(data / "annotations" / "val" / f"{NAME}.json"), boxes / f"{NAME}.txt", to="mot")
    assert evaluate("--data", data, "--boxes", boxes, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["ap"]["total"] > 5


@pytest.fixture(scope="module")
def coco(data):
    """Three still pictures as a COCO data set."""
    path = data / "stills.json"
    records = read_poses(data / "annotations" / "val" / f"{NAME}.json")
    write_poses(records, path, to="coco")
    document = json.loads(path.read_text())
    document["images"] = [document["images"][place] for place in LABELLED[:3]]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [person for person in document["annotations"] if person["image_id"] in kept]
    path.write_text(json.dumps(document))
    return path


def test_still_images(coco, tmp_path):
    assert evaluate("--data", coco, "--protocol", "coco", "--boxes", "gt", "--out", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert 0 < found["coco"]["AP50"] <= 1
    # Without neighbours the temporal model answers as its backbone does.
    assert found["runs"]["gt-temporal"]["coco"] == found["runs"]["gt-single-frame"]["coco"]
    results = read_poses(tmp_path / "out" / "predictions" / "gt-temporal" / "stills.json", kind="coco-results")
    people = [person for person in json.loads(coco.read_text())["annotations"] if person["num_keypoints"]]
    assert len(results) == len(people)


def test_boxes_of_a_results_list(coco, tmp_path):
    document = json.loads(coco.read_text())
    boxes = [
        {"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": 0.5} for p in document["annotations"]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    given = ("--data", coco, "--protocol", "coco", "--boxes", tmp_path / "boxes.json")
    assert evaluate(*given, "--out", tmp_path / "out") == 0
    results = read_poses(tmp_path / "out" / "predictions" / "boxes-temporal" / "stills.json")
    assert len(results) == len(boxes)
    assert results.person_scores.max() <= 0.5


class TestErrors:
    def test_split_without_annotations(self, data, tmp_path):
        with pytest.raises(JmposeError, match="no annotations of a split 'train'"):
            evaluate("--data", data, "--split", "train", "--out", tmp_path / "out")

    def test_missing_data(self, tmp_path):
        with pytest.raises(JmposeError, match="absent: no such folder"):
            evaluate("--data", tmp_path / "absent", "--out", tmp_path / "out")
        with pytest.raises(JmposeError, match="absent: no such file"):
            evaluate("--data", tmp_path / "absent", "--protocol", "coco", "--out", tmp_path / "out")

    def test_missing_picture(self, data, tmp_path):
        other = tmp_path / "data"
        path = posetrack_file(other / "annotations" / "val" / f"{NAME}.json")
        with pytest.raises(JmposeError, match=r"images/val/.*000000\.jpg is not there"):
            evaluate("--data", other, "--out", tmp_path / "out")
        (other / "images" / "val" / NAME).mkdir(parents=True)
        first = f"images/val/{NAME}/000000.jpg"
        (other / first).write_bytes((data / first).read_bytes())
        with pytest.raises(JmposeError, match=r"11 of 12 pictures are not there: .*000001\.jpg") as caught:
            evaluate("--data", other, "--out", tmp_path / "out")
        assert str(path) in caught.value.message

    def test_predictions_of_an_earlier_run(self, data, scored):
        (scored / "eval.json").rename(scored / "kept.json")
        (scored / "report.html").rename(scored / "kept.html")
        try:
            with pytest.raises(JmposeError, match="holds predictions already"):
                evaluate("--data", data, "--out", scored)
        finally:
            (scored / "kept.json").rename(scored / "eval.json")
            (scored / "kept.html").rename(scored / "report.html")

    @pytest.mark.parametrize(
        ("boxes", "said"),
        [("absent.json", "--boxes absent.json: no such file or folder"), ("gt,gt", "names the same boxes twice")],
    )
    def test_boxes(self, data, tmp_path, boxes, said):
        with pytest.raises(JmposeError, match=said):
            evaluate("--data", data, "--boxes", boxes, "--out", tmp_path / "out")

    def test_folder_without_boxes_of_a_video(self, data, tmp_path):
        (tmp_path / "boxes").mkdir()
        with pytest.raises(JmposeError, match=f"no boxes for {NAME}"):
            evaluate("--data", data, "--boxes", tmp_path / "boxes", "--out", tmp_path / "out")

    def test_annotated_person_without_a_box(self, tmp_path, pictures):
        other = tmp_path / "data"
        path = posetrack_file(other / "annotations" / "val" / f"{NAME}.json")
        shutil.copytree(pictures / "images", other / "images")
        document = json.loads(path.read_text())
        del document["annotations"][0]["bbox"]
        path.write_text(json.dumps(document))
        with pytest.raises(JmposeError, match=r"person 0 in images/val/.*000000\.jpg has no `bbox`"):
            evaluate("--data", other, "--boxes", "gt", "--out", tmp_path / "out")

    def test_mot(self, data, tmp_path):
        with pytest.raises(JmposeError, match="--data with --protocol mot"):
            evaluate("--data", data, "--protocol", "mot", "--out", tmp_path / "out")
