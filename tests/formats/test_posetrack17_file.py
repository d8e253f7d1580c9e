import json

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.posetrack17 import JOINTS
from jmpose_cli.formats.read import read_poses


def point(joint, x, y, **more):
    return {"id": [joint], "x": [x], "y": [y], **{key: [value] for key, value in more.items()}}


def tiny():
    """One frame with one person: nose and right ankle."""
    person = {
        **{"x1": [10], "y1": [20], "x2": [16], "y2": [28], "track_id": [3], "score": [0.75]},
        "annopoints": [{"point": [point(13, 5, 6.5, score=0.5), point(0, 7, 8, is_visible=0)]}],
    }
    image = {"image": [{"name": "images/bonn_5sec/000342_mpii/00000001.jpg"}], "imgnum": [1], "annorect": [person]}
    return {"annolist": [image]}


@pytest.fixture
def read(tmp_path):
    def from_data(data):
        path = tmp_path / "000342_mpii_relpath_5sec_testsub.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return read_poses(path)

    return from_data


def test_fields(read):
    records = read(tiny())
    assert (records.kind, records.joints) == ("posetrack17", JOINTS)
    nose, ankle = JOINTS.index("nose"), JOINTS.index("right_ankle")
    assert records.present.sum() == 2
    assert records.xy[0, nose].tolist() == [5, 6.5]
    assert records.scores[0, nose] == 0.5
    assert np.isnan(records.scores[0, ankle])
    assert (records.visibility[0, nose], records.visibility[0, ankle]) == (1, 0)
    assert records.head_boxes_xyxy_px.tolist() == [[10, 20, 16, 28]]
    assert np.isnan(records.boxes_xyxy_px).all()
    assert (records.track_ids.tolist(), records.person_scores.tolist()) == ([3], [0.75])
    (image,) = records.images
    assert (image.id, image.vid_id, image.is_labeled) == (10003420001, "000342", True)


@pytest.mark.parametrize("nothing", [None, [], [None]])
def test_visibility_and_scores_may_be_empty(read, nothing):
    data = tiny()
    data["annolist"][0]["annorect"][0]["annopoints"][0]["point"][0] |= {"is_visible": nothing, "score": nothing}
    records = read(data)
    nose = JOINTS.index("nose")
    assert records.visibility[0, nose] == 1
    assert np.isnan(records.scores[0, nose])


def test_a_listed_joint_at_the_origin_is_there(read):
    data = tiny()
    data["annolist"][0]["annorect"][0]["annopoints"][0]["point"].append(point(14, 0, 0))
    assert read(data).present[0, JOINTS.index("head_top")]


@pytest.mark.parametrize("annopoints", [[], None, [{}], [{"point": []}]])
def test_people_without_points_are_dropped(read, annopoints):
    data = tiny()
    data["annolist"][0]["annorect"][0]["annopoints"] = annopoints
    assert len(read(data)) == 0


@pytest.mark.parametrize("annorect", [[], None])
def test_unlabelled_frames(read, annorect):
    data = tiny()
    data["annolist"][0] |= {"annorect": annorect, "is_labeled": [0]}
    records = read(data)
    assert (len(records), records.images[0].is_labeled) == (0, False)


def test_bare_values_and_single_objects_are_taken_as_lists_of_one(read):
    data = tiny()
    person = data["annolist"][0]["annorect"][0]
    person |= {"track_id": 3, "x1": 10}
    person["annopoints"] = {"point": {"id": 13, "x": 5, "y": 6}}
    data["annolist"][0]["image"] = {"name": "images/x/00000000.jpg"}
    records = read(data)
    assert records.xy[0, 13].tolist() == [5, 6]


def test_ignore_regions(read):
    data = tiny()
    corners = [{"x": [x], "y": [y]} for x, y in [(0, 1), (2, 3), (4, 5)]]
    data["annolist"][0]["ignore_regions"] = [{"point": corners}, {"point": []}, {"point": corners[:2]}]
    records = read(data)
    assert [r.tolist() for r in records.images[0].ignore_regions] == [[[0, 1], [2, 3], [4, 5]], [[0, 1], [2, 3]]]
    assert "fewer than 3 corners contain nothing: 1" in records.notes[0]


def broken(change):
    data = tiny()
    change(data["annolist"][0], data["annolist"][0]["annorect"][0])
    return data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, p: p.pop("track_id"), r"annolist\[0\].annorect\[0\].track_id is missing"),
        (lambda i, p: p.update(track_id=["3"]), r"track_id is a string"),
        (lambda i, p: p.update(track_id=[1.5]), r"track_id is 1.5"),
        (lambda i, p: p.update(track_id=[1e300]), r"track_id is 1e\+300"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(1.5, 1, 1)), r"point\[2\].id is 1.5"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(1, "1", 1)), r"point\[2\].x is a string"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(1, [1, 2], 1)), r"point\[2\].x is a list"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(1, True, 1)), r"point\[2\].x is true or false"),
        (lambda i, p: p.update(x1=[None]), None),
        (lambda i, p: p.update(x1=["a"]), r"x1 is a string"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(13, 1, 1)), r"point\[2\].id is 13 again"),
        (lambda i, p: p["annopoints"][0]["point"].append(point(15, 1, 1)), r"point\[2\].id is 15"),
        (lambda i, p: p["annopoints"][0]["point"].append({"id": [1], "y": [1]}), r"point\[2\].x is missing"),
        (lambda i, p: p["annopoints"][0]["point"].append(3), r"point\[2\] is the number 3"),
        (lambda i, p: p.update(annopoints="none"), r"annopoints is a string"),
        (lambda i, p: i.pop("image"), r"annolist\[0\].image is null"),
        (lambda i, p: i.update(image=[{}]), r"annolist\[0\].image.name is missing"),
        (lambda i, p: i["annorect"].append(p), r"annorect\[1\].track_id is 3, which another person in .*00000001.jpg"),
        (
            lambda i, p: i.update(ignore_regions=[{"point": [{"x": [1]}]}]),
            r"ignore_regions\[0\].point\[0\].y is missing",
        ),
    ],
)
def test_broken_field_is_named(read, change, said):
    if said is None:
        assert np.isnan(read(broken(change)).head_boxes_xyxy_px[0, 0])
        return
    with pytest.raises(JmposeError, match=said):
        read(broken(change))


def test_both_formats_in_one_file(read):
    with pytest.raises(JmposeError, match="has `annolist` beside `images`"):
        read(tiny() | {"images": []})


def test_annolist_of_another_kind(read):
    with pytest.raises(JmposeError, match="annolist is a string"):
        read({"annolist": "x"})


def test_frames_without_numbers_get_their_places(read):
    data = tiny()
    data["annolist"] = [{**data["annolist"][0], "image": [{"name": name}]} for name in ("a.jpg", "b.jpg", "c/01.jpg")]
    ids = [image.id for image in read(data).images]
    assert len(set(ids)) == 3


def test_equals_the_same_data_in_the_newer_format(shared_data):
    """Case 28 of the recorded evaluations is case 01 in this format."""
    cases = shared_data / "oracle" / "poseval"
    for part in ("gt", "pred"):
        for old_file in sorted((cases / "28" / part).glob("*.json")):
            old, new = read_poses(old_file), read_poses(cases / "01" / part / old_file.name)
            columns = [new.joints.index(joint) for joint in old.joints]
            there = new.present[:, columns].any(1)
            assert np.array_equal(old.image_row, new.image_row[there])
            assert np.array_equal(old.track_ids, new.track_ids[there])
            assert np.array_equal(old.present, new.present[there][:, columns])
            assert np.allclose(old.xy[old.present], new.xy[there][:, columns][old.present], atol=1e-9)
            if part == "pred":
                assert np.allclose(old.scores[old.present], new.scores[there][:, columns][old.present], atol=1e-12)
            else:
                assert np.allclose(old.head_boxes_xyxy_px, new.head_boxes_xyxy_px[there], atol=1e-9)
