import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        path = tmp_path / "gt.txt"
        path.write_text(text)
        return read_poses(path)

    return from_text


def test_lines(read):
    records = read("1,7,10,20,30,40,0.5,-1,-1,-1\n\n3, 8, 1.5, 2, 3, 4\n")
    assert records.kind == "mot"
    assert records.joints == ()
    assert records.boxes_xyxy_px.tolist() == [[10, 20, 40, 60], [1.5, 2, 4.5, 6]]
    assert records.track_ids.tolist() == [7, 8]
    assert [image.frame_index for image in records.images] == [0, 1, 2]
    assert records.image_row.tolist() == [0, 2]
    assert records.person_scores[0] == 0.5
    assert np.isnan(records.person_scores[1])


def test_ground_truth_of_mot17_leaves_out_what_does_not_count(read):
    records = read("1,1,0,0,5,5,1,1,0.9\n1,2,0,0,5,5,0,1,0.9\n1,3,0,0,5,5,1,8,0.9\n")
    assert records.track_ids.tolist() == [1]
    assert "do not count" in records.notes[0]


def test_ground_truth_of_posetrack21_has_no_classes(read):
    assert len(read("1,1,0,0,5,5,1,-1,-1,-1\n1,2,0,0,5,5,1,-1,-1,-1\n")) == 2


def test_empty_file(read):
    records = read("")
    assert (len(records), len(records.images)) == (0, 0)


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3",
        "0,1,1,1,5,5",
        "a,1,1,1,5,5",
        "1,1,1,1,0,5",
        "1,1,1,1,5,-5",
        "1.5,1,1,1,5,5",
        "1,1,nan,1,5,5",
        "1,1,inf,1,5,5",
        "1000001,1,1,1,5,5",
        "1,1e30,1,1,5,5",
    ],
)
def test_broken_line_is_named(read, line):
    with pytest.raises(JmposeError, match="line 2 is no box") as caught:
        read(f"1,1,1,1,5,5\n{line}\n")
    assert "frames from 1" in caught.value.hint


def test_id_twice_in_a_frame(read):
    with pytest.raises(JmposeError, match="line 3 has the id 4 of line 1 in the same frame"):
        read("1,4,1,1,5,5\n2,4,1,1,5,5\n1,4,9,9,5,5\n")


def test_missing_file(tmp_path):
    with pytest.raises(JmposeError, match=r"cannot read .*absent\.txt"):
        read_poses(tmp_path / "absent.txt")
