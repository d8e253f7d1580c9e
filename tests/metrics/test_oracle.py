"""Equal to the official kits on every recorded case.

`oracle/` holds a choice of the cases, all of them generated: borders of distances, joints without truth or without
predictions, order of images and matches, tied scores, HOTA and regions to ignore, crowds. What else is recorded is in
the shared data, which is not part of the repository; without it those cases are skipped.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.formats.read import read_poses
from jmpose_cli.metrics.coco import evaluate_oks
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs

POSEVAL_CASES = [
    "00",
    "01",
    "02",
    "03",
    "04",
    "07",
    "08",
    "10",
    "11",
    "20",
    "22",
    "24",
    "25",
    "27",
    "28",
    "29",
    "31",
    "33",
    "40",
]
COCO_CASES = ["00", "01", "02", "05"]
CASES = Path(__file__).parent / "oracle"
TOLERANCE = 1e-6
_MOT = {"mota": "mota", "pre": "mot_precision", "rec": "mot_recall"}
_COUNTS = {
    "num_misses": "misses",
    "num_switches": "switches",
    "num_false_positives": "false_positives",
    "num_objects": "objects",
    "num_detections": "matches",
    "sumD_matches": "distance",
}


def same(found, expected):
    """Compare two tables; poseval calls `head_bottom` "neck" and the total "Total"."""
    names = {"neck": "head_bottom", "Total": "total"}
    for name, value in expected.items():
        got = found[names.get(name, name)]
        if value is None:
            assert got is None, name
        else:
            assert got == pytest.approx(value, abs=TOLERANCE), name


@pytest.fixture
def recorded(tmp_path, request):
    """Give the folder of a case, by its kind and number."""

    def place(kind: str, name: str) -> Path:
        archive = CASES / f"{kind}-{name}.zip"
        if not archive.is_file():
            return request.getfixturevalue("shared_data") / "oracle" / kind / name
        with zipfile.ZipFile(archive) as files:
            files.extractall(tmp_path)
        return tmp_path

    return place


@pytest.fixture
def case(recorded, request):
    folder = recorded("poseval", request.param)
    expected = json.loads((folder / "expected.json").read_text())

    def evaluate(protocol):
        files = sorted((folder / "gt").glob("*.json"))
        assert files
        pairs = [(f.stem, read_poses(f), read_poses(folder / "pred" / f.name)) for f in files]
        inputs = [pair_inputs(*pair, protocol=protocol) for pair in pairs]
        return evaluate_posetrack(inputs, protocol=protocol).as_json()

    return evaluate, expected


@pytest.mark.parametrize("case", POSEVAL_CASES, indirect=True)
def test_poseval(case):
    evaluate, expected = case
    found, official = evaluate("posetrack18"), expected["poseval"]
    assert found["frames"] == official["n_frames_evaluated"]
    if expected["ap_is_tie_free"]:
        for name in ("ap", "precision", "recall"):
            for part in ("per_joint", "groups"):
                same(found[name], official["ap"][part][name])
    else:
        for part in ("per_joint", "groups"):
            same(found["ap"], expected["ap_tie_orders"]["stable_desc"][part])
    for part in ("per_joint", "groups"):
        for theirs, ours in _MOT.items():
            same(found[ours], official["mot"][part][theirs])
        same(found["motp"], official["mot"]["motp_matches_only"][part])
    for joint, counts in official["mot"]["counts"].items():
        ours = {"neck": "head_bottom"}.get(joint, joint)
        for theirs, name in _COUNTS.items():
            assert found["mot_counts"][name][ours] == pytest.approx(counts[theirs], abs=TOLERANCE)


@pytest.mark.parametrize("case", POSEVAL_CASES, indirect=True)
def test_poseval_by_video(case):
    evaluate, expected = case
    if not expected["ap_is_tie_free"]:
        pytest.skip("tied scores: the order of ties inside a video is not the recorded one")
    videos = evaluate("posetrack18")["videos"]
    assert set(videos) == set(expected["poseval"]["per_sequence"])
    for name, official in expected["poseval"]["per_sequence"].items():
        assert videos[name]["frames"] == official["n_frames"]
        same(videos[name]["ap"], official["ap"])
        same(videos[name]["mota"], official["mota"])


@pytest.mark.parametrize("case", POSEVAL_CASES, indirect=True)
def test_posetrack21_devkit(case):
    evaluate, expected = case
    found, official = evaluate("posetrack21"), expected["posetrack21"]
    hota, mean_ap = official.get("HOTA", official), official.get("mAP", official)
    if "error" in hota:
        assert found["hota"]["total"] > 0
        pytest.skip(f"the kit stopped with {hota['error']}; ours gives {found['hota']['total']:.2f}")
    averages = hota["avg_over_alpha"]
    for theirs, ours in {"HOTA": "hota", "DetA": "det_a", "AssA": "ass_a", "LocA": "loc_a"}.items():
        same(found[ours], {joint: 100 * value for joint, value in averages[theirs].items()})
        for name, sequence in hota["per_sequence_total"].items():
            ours_here = found["videos"][name.removesuffix(".json")][ours]["total"]
            assert ours_here == pytest.approx(100 * sequence[theirs], abs=TOLERANCE)
    if expected["ap_is_tie_free"]:
        same(found["ap"], mean_ap["map"])
        same(found["precision"], mean_ap["precision"])
        same(found["recall"], mean_ap["recall"])


@pytest.mark.parametrize("name", COCO_CASES)
def test_coco(recorded, name):
    folder = recorded("coco", name)
    expected = json.loads((folder / "expected.json").read_text())["pycocotools"]
    found = evaluate_oks(read_poses(folder / "gt.json"), read_poses(folder / "results.json"))
    assert list(found) == list(expected)
    for stat, value in expected.items():
        assert found[stat] == pytest.approx(value, abs=TOLERANCE)


def test_joints_are_the_fifteen(recorded):
    expected = json.loads((recorded("poseval", "11") / "expected.json").read_text())
    names = [j for j in expected["poseval"]["ap"]["per_joint"]["ap"] if j != "total"]
    assert ["neck" if j == "head_bottom" else j for j in JOINTS] == names
    assert not np.isnan(expected["poseval"]["ap"]["per_joint"]["ap"]["total"])


@pytest.mark.parametrize("archive", sorted(CASES.glob("*.zip")), ids=lambda path: path.stem)
def test_cases_at_hand_are_those_that_were_recorded(shared_data, archive):
    kind, _, name = archive.stem.partition("-")
    assert name in {"poseval": POSEVAL_CASES, "coco": COCO_CASES}[kind]
    folder = shared_data / "oracle" / kind / name
    with zipfile.ZipFile(archive) as files:
        for file in files.namelist():
            ours, theirs = json.loads(files.read(file)), json.loads((folder / file).read_text())
            assert is_part(ours, theirs) if file == "expected.json" else ours == theirs


def is_part(some, all_of_it):
    """Whether mappings hold nothing that others do not hold too, down to the values."""
    if isinstance(some, dict):
        return all(key in all_of_it and is_part(value, all_of_it[key]) for key, value in some.items())
    return some == all_of_it
