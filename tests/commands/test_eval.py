"""`jmpose eval` on existing files: reports, comparisons, and every kind of bad input."""

import json
from html.parser import HTMLParser

import pytest

from tests.commands.test_infer import command
from tests.metrics.pose_files import JOINTS15, Person, write

NAMES = ("000342_mpii_test", "000522_bonn_test")
TABLES = ("ap", "precision", "recall", "mota", "motp", "mot_precision", "mot_recall", "hota")
COLUMNS = {*JOINTS15, "total", "Head", "Shou", "Elb", "Wri", "Hip", "Knee", "Ankl"}


def truth():
    return [[Person(1), Person(2, y=300)] for _ in range(4)]


def predicted(shift):
    return [[Person(4, y=100 + shift), Person(5, y=300)] for _ in range(4)]


@pytest.fixture
def files(tmp_path):
    """Two videos: ground truth, a good and a bad run."""
    for name in NAMES:
        write(tmp_path / "gt" / f"{name}.json", truth())
        write(tmp_path / "good" / f"{name}.json", predicted(0.5))
        write(tmp_path / "bad" / f"{name}.json", predicted(90))
    return tmp_path


def evaluate(folder, *options, pred="good", protocol="posetrack18"):
    given = ("--gt", folder / "gt", "--pred", folder / pred, "--protocol", protocol, "--out", folder / "out")
    shown = command("eval", *given, *options)
    assert "Traceback" not in shown.stderr
    return shown


def results(folder):
    return json.loads((folder / "out" / "eval.json").read_text())


def test_figures_and_tables(files):
    shown = evaluate(files)
    assert shown.returncode == 0, shown.stderr
    found = results(files)
    assert (found["frames"], found["people"], found["protocol"]) == (8, 16, "posetrack18")
    assert set(found["videos"]) == set(NAMES)
    for name in TABLES:
        assert set(found[name]) == COLUMNS
    assert found["ap"]["total"] == found["mota"]["total"] == 100.0
    assert found["coco"] is None
    for word in ("2 videos, 8 frames, 16 people", "Head", "Ankl", "Total", "MOTA", "HOTA", "poseval", "100.0"):
        assert word in shown.stdout


def test_quiet_prints_nothing(files):
    shown = evaluate(files, "--quiet")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    assert results(files)["ap"]["total"] == 100.0


def test_one_file_each(files):
    mine, theirs = files / "gt" / f"{NAMES[0]}.json", files / "bad" / f"{NAMES[1]}.json"
    shown = command("eval", "--gt", mine, "--pred", theirs, "--protocol", "posetrack18")
    assert shown.returncode == 0, shown.stderr
    assert "1 video, 4 frames, 8 people" in shown.stdout


def test_folders_that_infer_wrote(files):
    for name in NAMES:
        write(files / "inferred" / name / "posetrack18.json", predicted(0.5))
    assert evaluate(files, pred="inferred").returncode == 0
    assert results(files)["ap"]["total"] == 100.0


def test_runs_side_by_side(files):
    shown = evaluate(files, "--pred", files / "bad")
    assert shown.returncode == 0, shown.stderr
    found = results(files)
    assert list(found["runs"]) == ["good", "bad"]
    assert found["runs"]["bad"]["ap"]["total"] < found["ap"]["total"] == 100.0
    (difference,) = found["compare"].values()
    assert difference["ap"]["total"]["value"] == pytest.approx(found["runs"]["bad"]["ap"]["total"] - 100)
    assert "bad minus good (no intervals and no *: they take 6 videos, here is 2 videos)" in shown.stdout
    assert "*" not in shown.stdout.partition("2 videos)")[2]
    assert "Totals" in shown.stdout


def test_existing_results_are_kept(files):
    assert evaluate(files).returncode == 0
    before = (files / "out" / "eval.json").read_bytes()
    again = evaluate(files, pred="bad")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert (files / "out" / "eval.json").read_bytes() == before
    assert evaluate(files, "--overwrite", pred="bad").returncode == 0


def test_track_threshold_is_printed(files):
    shown = evaluate(files, "--track-threshold", "auto")
    assert "thresholds tried" in shown.stdout
    shown = evaluate(files, "--track-threshold", "0.4", "--overwrite")
    assert "joints with a score of 0.4 and more" in shown.stdout
    assert results(files)["track_threshold"] == 0.4


def test_box_tracking(files):
    assert evaluate(files, "--box-tracking").returncode == 0
    assert results(files)["boxes"]["idf1"] == pytest.approx(100.0)


def test_mot_files(tmp_path):
    for name in ("gt", "pred"):
        (tmp_path / f"{name}.txt").write_text("1,1,0,0,10,10\n2,1,1,0,10,10\n")
    shown = command("eval", "--gt", tmp_path / "gt.txt", "--pred", tmp_path / "pred.txt", "--protocol", "mot")
    assert shown.returncode == 0, shown.stderr
    assert "IDF1" in shown.stdout


class Page(HTMLParser):
    """Texts of table cells, and every address that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.cells, self.fetched, self._in_cell = [], [], False

    def handle_starttag(self, tag, attrs):
        self._in_cell = tag == "td"
        if self._in_cell:
            self.cells.append("")
        self.fetched += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]

    def handle_endtag(self, tag):
        self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data


def test_page_holds_everything(files):
    shown = evaluate(files, "--html", "--pred", files / "bad", "--replicates", "0")
    assert shown.returncode == 0, shown.stderr
    page = Page()
    page.feed((files / "out" / "report.html").read_text())
    assert page.fetched == []
    found = results(files)
    for name in TABLES:
        assert f"{found['runs']['bad'][name]['total']:.1f}" in page.cells
    assert set(NAMES) <= set(page.cells)
    assert "--images" in shown.stderr


def rewritten(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


PRED = "good/000342_mpii_test.json"
GT = "gt/000342_mpii_test.json"


def on_person(**fields):
    def change(data):
        for name, value in fields.items():
            if value is None:
                del data["annotations"][0][name]
            else:
                data["annotations"][0][name] = value

    return change


def with_regions(of_x, of_y=None):
    def change(data):
        data["images"][0] |= {
            "ignore_regions_x": [[5] * of_x],
            "ignore_regions_y": [[5] * (of_x if of_y is None else of_y)],
        }

    return change


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (PRED, lambda d: d["images"].append(d["images"][0] | {"id": 1}), "5 images, but"),
        (PRED, lambda d: d["categories"][0]["keypoints"].__setitem__(0, "Nose"), "lacks nose and has unknown Nose"),
        (GT, on_person(bbox_head=None), "track_id 1 in images/val/000342_mpii_test/000000.jpg has no `bbox_head`"),
        (PRED, on_person(track_id=5), "annotations[1].track_id is 5, as in annotations[0]"),
        (PRED, on_person(track_id="4"), "annotations[0].track_id is a string"),
        (PRED, on_person(track_id=None), "annotations[0].track_id is missing"),
        (PRED, on_person(image_id="10003420000"), "annotations[0].image_id is a string"),
        (PRED, on_person(keypoints=[1.0, 2.0]), "annotations[0].keypoints has 2 values"),
        (PRED, on_person(scores=[0.5] * 15), "annotations[0].scores has 15 values"),
        (PRED, on_person(keypoints=[None] + [1.0] * 50), "annotations[0].keypoints has null at position 0"),
        (
            GT,
            lambda d: d["images"][0].update(ignore_regions_x=[[1, 2]], ignore_regions_y=[[1]]),
            "do not make polygons",
        ),
    ],
)
def test_broken_files_are_named(files, file, change, said):
    rewritten(files / file, change)
    shown = evaluate(files)
    assert shown.returncode == 2
    assert said in shown.stderr
    assert file.rpartition("/")[2] in shown.stderr
    assert "hint:" in shown.stderr
    assert not (files / "out").exists()


@pytest.mark.parametrize("corners", [0, 1, 2])
def test_regions_that_are_no_areas_change_nothing(files, corners):
    rewritten(files / GT, with_regions(corners))
    shown = evaluate(files)
    assert shown.returncode == 0
    assert results(files)["ap"]["total"] == 100.0
    assert ("fewer than 3 corners" in shown.stderr) == (corners > 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [], "annotations": [', "is not valid JSON"),
        ("", "is not valid JSON"),
        ('{"images": [], "annotations": [{"score": NaN}]}', "is not valid JSON"),
        ("[]", "is a coco-results file, which --protocol posetrack18 does not take as predictions"),
        ('{"annolist": [], "images": []}', "has `annolist` beside `images`"),
        ('{"annolist": []}', "0 images, but"),
    ],
)
def test_files_of_another_format(files, text, said):
    (files / PRED).write_text(text)
    shown = evaluate(files)
    assert shown.returncode == 2
    assert said in shown.stderr


def test_infinite_coordinates(files):
    path = files / PRED
    path.write_text(path.read_text().replace("100.5", "1e999", 1))
    shown = evaluate(files)
    assert shown.returncode == 2
    assert "000342_mpii_test.json" in shown.stderr


def test_missing_and_extra_predictions(files):
    (files / PRED).rename(files / "good" / "000999_mpii_test.json")
    shown = evaluate(files)
    assert shown.returncode == 2
    assert "no predictions for 000342_mpii_test" in shown.stderr
    write(files / PRED, predicted(0.5))
    shown = evaluate(files)
    assert shown.returncode == 2
    assert "predictions without ground truth: 000999_mpii_test" in shown.stderr
    shown = evaluate(files, "--ignore-extra")
    assert shown.returncode == 0
    assert "left out" in shown.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "one of --gt and --data is needed"),
        (["--gt", "gt"], "--gt without --pred"),
        (["--gt", "gt", "--data", "gt"], "one of --gt and --data is needed"),
        (["--data", "gt"], "--data without --out"),
        (["--data", "gt", "--pred", "good"], "--data with --pred"),
        (["--gt", "gt", "--pred", "good", "--html"], "--html without --out"),
        (["--gt", "absent", "--pred", "good"], "absent: no such file or folder"),
        (["--gt", "gt", "--pred", "empty"], "empty: a folder without annotation files"),
        (["--gt", "gt", "--pred", "good", "--pred", "good"], "--pred names the same files twice"),
        (["--gt", "gt", "--pred", "good", "--track-threshold", "high"], "--track-threshold high"),
        (["--gt", "gt", "--pred", "good", "--images", "absent"], "absent: no such folder"),
        (["--gt", "gt", "--pred", "good", "--replicates", "99"], "--replicates 99"),
        (["--gt", "gt", "--pred", "good", "--protocol", "coco"], "does not take as ground truth"),
        (["--gt", "gt", "--pred", "good", "--out", f"{GT}"], "is a file"),
    ],
)
def test_options_that_do_not_fit(files, options, said):
    (files / "empty").mkdir()
    names = ("gt", "good", "empty", "absent", GT)
    shown = command("eval", *(files / word if word in names else word for word in options))
    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_nothing_annotated(files):
    for name in NAMES:
        write(files / "gt" / f"{name}.json", [[] for _ in range(4)])
    shown = evaluate(files)
    assert shown.returncode == 2
    assert "nothing to score: no annotated person of" in shown.stderr
