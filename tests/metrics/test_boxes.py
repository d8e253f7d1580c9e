import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.metrics.boxes import evaluate_boxes


@pytest.fixture
def files(tmp_path):
    def make(truth, predicted):
        records = []
        for name, lines in (("gt", truth), ("pred", predicted)):
            path = tmp_path / f"{name}.txt"
            path.write_text("\n".join(f"{f},{i},{x},0,10,10,1,-1,-1,-1" for f, i, x in lines))
            records.append(read_poses(path))
        return tuple(records)

    return make


TWO_PEOPLE = [(f, i, 100 * i + f) for f in range(1, 5) for i in (1, 2)]


def test_perfect(files):
    found = evaluate_boxes([files(TWO_PEOPLE, TWO_PEOPLE)])
    assert (found.hota, found.mota, found.idf1, found.switches) == pytest.approx((100.0, 100.0, 100.0, 0))


def test_switch_and_miss(files):
    predicted = [(f, 7 if (i == 1 and f > 2) else i, x) for f, i, x in TWO_PEOPLE if (f, i) != (1, 2)]
    found = evaluate_boxes([files(TWO_PEOPLE, predicted)])
    assert found.switches == 1
    assert found.mota == pytest.approx(100 * (1 - 2 / 8))
    # Identities: 3 of track 2 and 2 of track 1 (or 7) of 8 annotated and 7 predicted boxes.
    assert found.idf1 == pytest.approx(100 * 2 * 5 / 15)


def test_frames_without_annotation_do_not_count(files):
    truth = [line for line in TWO_PEOPLE if line[0] != 2]
    assert evaluate_boxes([files(truth, TWO_PEOPLE)]).mota == pytest.approx(100.0)


def test_videos_are_added_up(files):
    right, wrong = files(TWO_PEOPLE, TWO_PEOPLE), None
    wrong = files(TWO_PEOPLE, [(f, i, x + 50) for f, i, x in TWO_PEOPLE])
    assert evaluate_boxes([right, wrong]).mota == pytest.approx(0.0)


def test_people_without_boxes(tmp_path):
    from tests.metrics.pose_files import Person, write

    path = write(tmp_path / "a.json", [[Person(1)]])
    path.write_text(path.read_text().replace('"bbox"', '"other"'))
    records = read_poses(path)
    with pytest.raises(JmposeError, match=r"person 0 in images/val/a/000000\.jpg has no `bbox`"):
        evaluate_boxes([(records, records)])
