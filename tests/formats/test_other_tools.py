"""Files of DeepLabCut and SLEAP as the tools write them, and files that only look like them."""

import pickle

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats import hdf5
from jmpose_cli.formats.read import read_poses

SINGLE = """scorer,net,net,net,net,net,net
bodyparts,nose,nose,nose,hip,hip,hip
coords,x,y,likelihood,x,y,likelihood
0,1.5,2.5,0.9,3.5,4.5,0.2
1,,,,5.5,6.5,NaN
"""
LABELLED = """scorer,,,ann,ann,ann,ann
individuals,,,mouse,mouse,rat,rat
bodyparts,,,nose,nose,nose,nose
coords,,,x,y,x,y
labeled-data,v,img07.png,1,2,3,4
labeled-data,v,img03.png,5,6,,
"""


def read(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text)
    return read_poses(tmp_path / name)


def test_one_animal(tmp_path):
    records = read(tmp_path, SINGLE)
    assert records.joints == ("nose", "hip") and records.track_ids.tolist() == [1, 1]
    assert records.present.tolist() == [[True, True], [False, True]]
    assert records.scores[0].tolist() == [0.9, 0.2] and np.isnan(records.scores[1]).all()


def test_labelled_pictures_of_several(tmp_path):
    records = read(tmp_path, LABELLED)
    assert [image.frame_index for image in records.images] == [3, 7]
    assert records.image_row.tolist() == [0, 1, 1] and records.track_ids.tolist() == [1, 1, 2]
    assert records.xy[:, 0].tolist() == [[5, 6], [1, 2], [3, 4]]
    assert records.notes == ("individuals were numbered: mouse is 1, rat is 2",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no table of DeepLabCut"),
        ("video,frame_index,time_s\nclip,0,0\n", "is no table of DeepLabCut"),
        (SINGLE.replace("6.5", "x"), r"row 5, , hip, y is 'x'"),
        (SINGLE.replace("6.5", "inf"), "is 'inf'"),
        (SINGLE.replace("6.5", "1e300"), r"frame 1, , hip, y is 1e\+300"),
        (SINGLE.replace("1,,,,5.5", "1,,,5.5"), "row 5 has 6 cells"),
        (SINGLE.replace("\n1,", "\n0,"), "a frame has two rows"),
        (SINGLE.replace("\n1,", "\nlast,"), "a row of 'last'"),
        (SINGLE.replace("\n1,", "\n99999999999999999999,"), "a row of '9999"),
        (SINGLE.replace("net,net\nb", "net,you\nb"), "of 2 scorers"),
        (SINGLE.replace("hip,hip,hip", "nose,nose,nose"), "is no table of DeepLabCut"),
        (SINGLE.replace("0.2\n", '"0.2\n'), "not valid CSV"),
    ],
)
def test_broken_tables(tmp_path, text, said):
    with pytest.raises(JmposeError, match=said):
        read(tmp_path, text)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def table_of(h5py, path, headings, frames=2):
    """Write what pandas makes of `to_hdf(format="table")`."""
    kind = np.dtype([("index", np.int64), ("values_block_0", np.float64, (3,))])
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        table = group.create_dataset("table", data=np.array([(n, (1.5, 2.5, n)) for n in range(frames)], kind))
        table.attrs["values_block_0_kind"] = np.void(headings)
    return path


HEADINGS = [("net", "a7", "nose", coord) for coord in ("x", "y", "likelihood")]


def test_the_layout_of_tables(tmp_path, h5py):
    records = read_poses(table_of(h5py, tmp_path / "a.h5", pickle.dumps(HEADINGS, 0)))
    assert records.track_ids.tolist() == [7, 7] and records.scores[:, 0].tolist() == [0, 1]


class Evil:
    def __reduce__(self):
        return open, ("evil", "w")


@pytest.mark.parametrize(
    ("headings", "said"),
    [
        (pickle.dumps(Evil()), "is not allowed"),
        (pickle.dumps([1, 2]), "headings are no names"),
        (b"\x80", "headings cannot be read"),
        (pickle.dumps(HEADINGS[:2]), "is no table of DeepLabCut"),
    ],
)
def test_headings_that_are_none(tmp_path, h5py, headings, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JmposeError, match=said):
        read_poses(table_of(h5py, tmp_path / "a.h5", headings))
    assert not (tmp_path / "evil").exists()


def no_file(h5py, path):
    path.write_bytes(b"\x89HDF\r\n\x1a\nrest")


def linked(h5py, path):
    with h5py.File(path, "w") as file:
        file["df"] = h5py.ExternalLink("/etc/other.h5", "/")


def huge(h5py, path):
    with h5py.File(path, "w") as file:
        file.create_dataset("metadata", data=np.zeros(2000))


def stretched(h5py, path):
    with h5py.File(path, "w") as file:
        file.create_dataset("videos_json", shape=(10**8,), dtype=h5py.string_dtype(), chunks=(1,))[0] = "{}"


def bare(h5py, path):
    with h5py.File(path, "w") as file:
        file.create_group("metadata")


@pytest.mark.parametrize("name", ["a.h5", "a.slp"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_file, "cannot be read"),
        (linked, "links or data outside"),
        (huge, "more than 1000 numbers"),
        (stretched, r"'videos_json' holds 100000000 values in \d+ bytes"),
        (bare, "tables of pandas|cannot be read"),
    ],
)
def test_broken_hdf5(tmp_path, h5py, make, said, name, monkeypatch):
    monkeypatch.setattr(hdf5, "_MOST_VALUES", 1000)
    if name == "a.slp":
        pytest.importorskip("sleap_io")
    make(h5py, tmp_path / name)
    with pytest.raises(JmposeError, match=said):
        read_poses(tmp_path / name)


def test_labelled_people_of_sleap_stand_before_predicted_ones(tmp_path):
    io = pytest.importorskip("sleap_io")
    skeleton, video = io.Skeleton(["nose", "hip"]), io.Video("street.mp4", open_backend=False)
    track = io.Track("anna")
    guess = io.PredictedInstance.from_numpy(np.ones((2, 2)), skeleton, point_scores=np.ones(2), score=0.5, track=track)
    mine = io.Instance.from_numpy(np.array([[3.0, 4.0], [np.nan, np.nan]]), skeleton, track=track)
    frames = [io.LabeledFrame(video, 4, [guess, mine]), io.LabeledFrame(video, 2, [guess])]
    io.save_slp(io.Labels(frames, [video], [skeleton], [track]), str(tmp_path / "a.slp"), verbose=False)
    records = read_poses(tmp_path / "a.slp")
    assert [image.frame_index for image in records.images] == [2, 4] and records.track_ids.tolist() == [1, 1]
    assert records.xy[1, 0].tolist() == [3, 4] and records.present[1].tolist() == [True, False]
    assert records.info["video"] == {"name": "street", "source": "street.mp4"}
    assert records.notes == ("tracks were numbered: anna is 1",)
