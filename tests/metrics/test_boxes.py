import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trackers import eval as library

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.metrics.boxes import BoxSequence, evaluate_boxes, evaluate_sequences
from jmpose_cli.metrics.identity import IdEvents


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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 12))
def test_figures_equal_those_of_an_independent_implementation(seed, frames):
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(2):
        people, tracks, overlaps = [], [], []
        for _ in range(frames):
            mine = np.flatnonzero(rng.random(4) < 0.7)
            theirs = rng.permutation(5)[: rng.integers(0, 5)]
            people.append(mine)
            tracks.append(theirs)
            overlaps.append(rng.choice([0.0, 0.3, 0.5, 0.55, 0.8, 1.0], (len(mine), len(theirs))))
        people[0] = np.arange(4)  # ids without holes
        tracks[0], overlaps[0] = np.arange(5), rng.random((4, 5))
        sequences.append(BoxSequence(np.arange(frames) / 25.0, people, tracks, overlaps))
    ours = evaluate_sequences(sequences)
    inputs = [(one.people, one.tracks, one.overlaps) for one in sequences]
    hota = library.aggregate_hota_metrics([library.compute_hota_metrics(*one) for one in inputs])
    clear = library.aggregate_clear_metrics([library.compute_clear_metrics(*one, threshold=0.5) for one in inputs])
    identity = [library.compute_identity_metrics(*one, threshold=0.5) for one in inputs]
    assert ours.hota == pytest.approx(100 * hota["HOTA"])
    assert ours.mota == pytest.approx(100 * clear["MOTA"])
    assert ours.switches == ours.events.switches == clear["IDSW"]
    assert ours.idf1 == pytest.approx(100 * library.aggregate_identity_metrics(identity)["IDF1"])


def test_switches_are_told_apart_by_kind(files):
    # Person 1: tracks 1, 1, then 2's; a new one at once; its first again; nothing for over a second; a new one.
    ids = {1: 1, 2: 1, 3: 2, 4: 5, 5: 1, 40: 6, 41: 6}
    truth = [(f, 1, 0) for f in range(1, 42)] + [(f, 2, 100) for f in range(1, 3)] + [(f, 3, 200) for f in range(1, 20)]
    predicted = [(f, i, 0) for f, i in ids.items()] + [(f, 2, 100) for f in range(1, 3)]
    predicted += [(f, 9, 200) for f in range(8, 20)]
    found = evaluate_boxes([files(truth, predicted)], fps=25.0)
    assert found.events == IdEvents(crossing=1, short_gap=1, returning=1, long_gap=1, late=1, found=3)
    assert found.ceiling_idf1 > found.idf1
    right = evaluate_boxes([files(truth, truth)])
    assert (right.ceiling_hota, right.ceiling_idf1, right.hota) == pytest.approx((100, 100, 100))
