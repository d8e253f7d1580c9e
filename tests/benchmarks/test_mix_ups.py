"""Measures of mixed-up limbs and people, on made-up poses."""

from pathlib import Path

import numpy as np
import pytest

from jmpose.keypoints import COCO17
from jmpose_cli.values import FramePoses, TrackedFrame
from mix_ups import (
    PAIRS,
    STILLS,
    Findings,
    Scene,
    Share,
    collapsed,
    exchanged,
    mix_up_tables,
    one_skeleton,
    view_of,
    walkers,
)
from steadiness import write_section

ALL = np.ones((1, 17), bool)
PLACES = dict(zip(PAIRS, ((15, 20), (18, 40), (20, 60), (10, 60), (8, 80), (6, 98)), strict=True))


def facing(at_x: float = 50.0) -> np.ndarray:
    """Joints `[1, 17, 2]` of a person seen from the front in a box 40 wide and 100 high: left ones are at larger x."""
    xy = np.full((1, 17, 2), (at_x, 8.0))
    for k, joint in enumerate(COCO17.joints[5:], 5):
        side, part = joint.split("_")
        x, y = PLACES[part]
        xy[0, k] = (at_x + (x if side == "left" else -x), y)
    return xy


def joint(name: str) -> int:
    return COCO17.joints.index(name)


def frame(*middles: float, ids: tuple[int, ...] = (), index: int = 0) -> TrackedFrame:
    """Boxes 40 wide and 100 high around x."""
    boxes = np.array([(x - 20, 0, x + 20, 100) for x in middles], np.float32).reshape(-1, 4)
    known = np.ones(len(boxes), np.float32)
    return TrackedFrame(index, index / 10, boxes, known, np.array(ids or range(1, len(boxes) + 1)), known > 0)


def poses(people: TrackedFrame, xy: np.ndarray, *, scores: float = 1.0) -> FramePoses:
    return FramePoses(people, xy.astype(np.float32), np.full((len(people), 17), scores, np.float32), people.scores)


def test_ankles_on_one_point_are_counted_where_the_reference_has_two() -> None:
    truth, wrong = facing(), facing()
    wrong[0, joint("left_ankle")] = wrong[0, joint("right_ankle")] + (2.9, 0)
    height = np.array([100.0])
    hit, counted = collapsed(wrong, truth, ALL, height)
    assert hit.tolist() == [[False, False, True]]
    assert counted.tolist() == [[True, True, True]]
    wrong[0, joint("left_ankle"), 0] += 0.2
    assert not collapsed(wrong, truth, ALL, height)[0].any()
    unknown = ALL.copy()
    unknown[0, joint("left_wrist")] = False
    assert collapsed(wrong, truth, unknown, height)[1].tolist() == [[False, True, True]]
    crossed = facing()
    crossed[0, joint("left_knee")] = crossed[0, joint("right_knee")] + (5.9, 0)  # not clearly two
    assert collapsed(wrong, crossed, ALL, height)[1].tolist() == [[True, False, True]]


def test_pairs_that_fit_better_the_other_way_round_are_exchanged() -> None:
    truth, wrong = facing(), facing()
    for part in ("hip", "ankle"):
        pair = [joint(f"left_{part}"), joint(f"right_{part}")]
        wrong[0, pair] = wrong[0, pair[::-1]]
    hit, counted = exchanged(wrong, truth, ALL)
    assert hit.tolist() == [[False, False, False, True, False, True]]
    assert counted.all()
    assert not exchanged(truth + np.array([0, 30]), truth, ALL)[0].any()  # wrong, and of the right sides
    unknown = ALL.copy()
    unknown[0, joint("right_hip")] = False
    assert exchanged(wrong, truth, unknown)[1].tolist() == [[True, True, True, False, True, True]]


def test_views() -> None:
    front = facing()
    behind, side = front * (-1, 1), front * (0.1, 1)
    people = np.concatenate([front, behind, side, front])
    known = ALL.repeat(4, 0)
    known[3, joint("left_hip")] = False
    assert view_of(people, known, np.full(4, np.sqrt(4000))).tolist() == ["front", "back", "side", ""]


def test_two_people_with_one_skeleton() -> None:
    people = frame(50, 80, 300)  # the first two boxes overlap by an IoU of 1/7
    own = np.concatenate([facing(50), facing(80), facing(300)])
    hit, near = one_skeleton(poses(people, own))
    assert (hit.tolist(), near.tolist()) == ([False] * 3, [True, False, False])
    own[1] = own[0] + 1
    assert one_skeleton(poses(people, own))[0].tolist() == [True, False, False]
    same_box = frame(50, 58)  # an IoU of 2/3: one person found twice
    assert one_skeleton(poses(same_box, own[:2]))[0].tolist() == [False]
    assert one_skeleton(poses(frame(), own[:0]))[0].shape == (0,)


def test_who_goes_somewhere_walks() -> None:
    film = [frame(50 + 4 * n, 200 + 2 * n, 400, ids=(1, 2, 5), index=n) for n in range(4)]
    assert walkers(film, fps=10.0) == {1}  # .4 heights a second; .2 is less than .3
    assert walkers(film, fps=20.0) == {1, 2}
    assert walkers(film, fps=0.0) == set()  # stills


def test_findings_of_a_scene() -> None:
    film = [frame(50 + 4 * n, 300, index=n) for n in range(4)]
    truth = [poses(p, np.concatenate([facing(50 + 4 * n), facing(300)])) for n, p in enumerate(film)]
    answers = [poses(p, t.xy_image.copy()) for p, t in zip(film, truth, strict=True)]
    wrists, ankles = ([joint(f"left_{part}"), joint(f"right_{part}")] for part in ("wrist", "ankle"))
    answers[2].xy_image[0, ankles] = answers[2].xy_image[0, ankles[0]]
    answers[3].xy_image[1, wrists] = answers[3].xy_image[1, wrists[::-1]]
    found = Findings(Scene("film", 10.0, film, truth, truth), answers)
    assert found.collapses("ankle", walking=False) == Share(8, 1)
    assert found.collapses("ankle", walking=True) == Share(4, 1)
    assert found.exchanges("front") == Share(48, 1)
    assert found.exchanges("back") == Share(0, 0)
    assert found.skeletons() == Share(0, 0)
    assert found.wrong.tolist() == [0, 0, 0, 0, 1, 0, 0, 1]
    page = mix_up_tables({STILLS: {"teacher": found, "ours": found}, "film": {"teacher": found, "ours": found}})
    assert "| ankles | film | - | 12.5 (1 of 8) |" in page
    assert f"| ankles | {STILLS} | 12.5 (1 of 8) | 12.5 (1 of 8) |" in page
    assert "| ankles | who walk, all videos | - | 25.0 (1 of 4) |" in page
    assert "| front | all videos | - | 2.1 (1 of 48) |" in page


def test_a_section_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "deep/page.md"
    for title, line in (("Jitter", "old"), ("Recall", "kept"), ("Jitter", "new")):
        write_section(page, title, [line, "", "### Below", "", "more"])
    assert page.read_text() == (
        "# Steadiness\n\nHow it is measured is told in `steadiness.py`.\n\n"
        "## Jitter\n\nnew\n\n### Below\n\nmore\n\n## Recall\n\nkept\n\n### Below\n\nmore\n"
    )


def test_shares_are_written_with_their_counts() -> None:
    assert str(Share(8, 2)) == "25.0 (2 of 8)"
    assert str(Share(0, 0)) == "-"
    assert Share.of(np.array([True, True, False]), np.array([True, False, True])) == Share(2, 1)
    assert Share(8, 2).percent == pytest.approx(25)
