"""`jmpose convert` on files and folders."""

import pytest

from jmpose_cli.formats.read import read_poses
from tests.commands.test_infer import command
from tests.metrics.pose_files import Person, write


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.json", [[Person(1), Person(2, y=300)], [Person(1)]])
    (tmp_path / "in" / "readme.md").write_text("text")
    return tmp_path


def test_a_folder(folder):
    shown = command("convert", folder / "in", folder / "out", "--to", "posetrack17")
    assert shown.returncode == 0, shown.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.json", "b.json"]
    assert read_poses(folder / "out" / "a.json", kind="posetrack17").track_ids.tolist() == [1, 2, 1]
    for said in ("2 frames, 3 people", "left out: readme.md"):
        assert said in shown.stderr
    assert shown.stderr.count("2 files: no place in posetrack17 for: boxes of whole people") == 1


def test_a_file_to_a_file_and_to_a_folder(folder):
    assert command("convert", folder / "in" / "a.json", folder / "x.txt", "--to", "mot").returncode == 0
    assert (folder / "x.txt").read_text().startswith("1,1,100.0,80.0,450.0,40.0,")
    (folder / "there").mkdir()
    assert command("convert", folder / "in" / "a.json", folder / "there", "--to", "csv").returncode == 0
    assert (folder / "there" / "a.csv").is_file()


def test_one_broken_file_does_not_stop_the_others(folder):
    (folder / "in" / "a.json").write_text("{")
    shown = command("convert", folder / "in", folder / "out", "--to", "coco")
    assert shown.returncode == 1
    assert "a.json is not valid JSON" in shown.stderr
    assert [path.name for path in (folder / "out").iterdir()] == ["b.json"]


def test_existing_files_are_kept(folder):
    (folder / "out").mkdir()
    (folder / "out" / "b.json").write_text("mine")
    shown = command("convert", folder / "in", folder / "out", "--to", "coco")
    assert shown.returncode == 2
    assert "b.json exists" in shown.stderr
    assert not (folder / "out" / "a.json").exists()
    assert command("convert", folder / "in", folder / "out", "--to", "coco", "--overwrite").returncode == 0
    assert (folder / "out" / "b.json").read_text() != "mine"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("absent", "out", "absent: no such file or folder"),
        ("empty", "out", "empty: no annotation files"),
        ("in", "in", "would replace itself"),
        ("in", "in/a.json", "is a file"),
    ],
)
def test_bad_paths(folder, source, target, said):
    (folder / "empty").mkdir()
    shown = command("convert", folder / source, folder / target, "--to", "posetrack18", "--overwrite")
    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_two_files_of_one_name(folder):
    (folder / "in" / "a.txt").write_text("1,1,0,0,5,5\n")
    shown = command("convert", folder / "in", folder / "out", "--to", "mot")
    assert shown.returncode == 2
    assert "a stands for two files" in shown.stderr


def test_unread_fields_are_said(folder):
    path = folder / "in" / "a.json"
    path.write_text(path.read_text().replace('"category_id": 1', '"category_id": 1, "mood": 3'))
    shown = command("convert", path, folder / "out.json", "--to", "posetrack21")
    assert "not carried over: mood" in shown.stderr


def test_a_file_onto_itself(folder):
    path = folder / "in" / "a.json"
    before = path.read_bytes()
    shown = command("convert", path, path, "--to", "posetrack21", "--overwrite")
    assert shown.returncode == 2
    assert "would replace itself" in shown.stderr
    assert path.read_bytes() == before


def test_a_name_in_brackets_and_quiet(folder):
    path = (folder / "in" / "a.json").rename(folder / "in" / "[a].json")
    shown = command("convert", path, folder / "x.json", "--to", "posetrack21")
    assert (shown.returncode, "[a].json" in shown.stderr) == (0, True), shown.stderr
    quiet = command("convert", path, folder / "y.csv", "--to", "csv", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_an_unknown_format(folder):
    shown = command("convert", folder / "in", folder / "out", "--to", "yolo")
    assert shown.returncode == 2
    assert "yolo" in shown.stderr
    assert "posetrack17" in shown.stderr


def test_a_target_that_cannot_be_made(folder):
    (folder / "wall").write_text("a file")
    shown = command("convert", folder / "in" / "a.json", folder / "wall" / "x.json", "--to", "coco")
    assert shown.returncode in (1, 2)
    assert "wall" in shown.stderr
    assert "Traceback" not in shown.stderr
