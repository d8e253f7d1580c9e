"""What `jmpose check` finds: each fault that is planted, nothing in a clean clip, and what it says and writes."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose.keypoints import COCO17, KEYPOINT_SETS
from jmpose_cli.clips.check import hints, rank_frames, rank_people, summary, suspects
from jmpose_cli.clips.dismissals import Dismiss, right_tracks, still_suspicious
from jmpose_cli.clips.edit import operations_in
from jmpose_cli.clips.operations import Review
from jmpose_cli.formats.truth import CORRECTED, TRUTH_FILE, write_truth
from jmpose_cli.main import app
from jmpose_cli.people.stitch import Join
from tests.clips.walkers import Walker, moved, walk

ALONE = Walker(3, 400.0)


def found(truth, kind):
    """Return the suspects of one kind."""
    return [one for one in suspects(truth) if one.kind == kind]


def mended(truth, one):
    """Return the clip after the corrections that a suspect advises."""
    for operation in operations_in(one.remedy):
        truth = operation.apply(truth)
    return truth


@pytest.mark.parametrize("fps", [7.0, 25.0, 60.0])
def test_a_clean_clip_has_no_suspects(fps):
    truth = walk(ALONE, Walker(4, 1150.0, y=440.0, speed=-60.0), fps=fps)
    assert suspects(truth) == [] and rank_frames([]) == [] and summary([]) == []


def test_an_empty_clip_has_none():
    assert suspects(walk(ALONE).rows(np.zeros(100, bool))) == []


def test_a_jump_is_found_in_its_frame():
    truth = moved(walk(ALONE), 3, [50], ["left_wrist"], (0, -70))
    (jump,) = suspects(truth)
    assert (jump.kind, jump.frames, jump.at, jump.tracks, jump.joints) == ("jump", (50, 50), 50, (3,), ("left_wrist",))
    assert jump.severity > 0.5 and "left wrist" in jump.reason
    assert jump.remedy == ""  # the model is sure of it
    scores = truth.scores.copy()
    scores[50:52, 9] = 0.2
    jump = found(replace(truth, scores=scores), "jump")[0]
    assert jump.remedy == "--interpolate 3@50:52=left_wrist"
    assert not found(mended(replace(truth, scores=scores), jump), "jump")
    assert rank_frames([jump]) == [50] and rank_people([jump]) == [(50, 3)]


@pytest.mark.parametrize("frames", [[50, 51], [50, 51, 52], [0], [99]])
def test_other_jumps_are_found_beside_their_frames(frames):
    truth = moved(walk(ALONE), 3, frames, ["left_wrist"], (0, -70))
    jumps = found(truth, "jump")
    assert jumps and all(min(abs(one.at - frame) for frame in frames) <= 1 for one in jumps)


def test_a_jump_is_measured_on_square_pixels_and_against_the_covariance():
    truth = moved(walk(ALONE), 3, [50], ["left_wrist"], (28, 0))
    assert found(truth, "jump")
    narrow = replace(truth, video=replace(truth.video, pixel_aspect=(1, 3)))
    assert not found(narrow, "jump")
    wide = replace(truth, covariances=np.full((*truth.scores.shape, 3), 900.0) * [1, 0, 1])
    assert not found(wide, "jump")


def test_a_camera_that_is_knocked_is_no_jump():
    truth = moved(walk(ALONE), 3, [50], COCO17.joints, (25, 10))
    assert not found(truth, "jump") and not found(truth, "shared")


@pytest.mark.parametrize("frames", [range(40, 41), range(40, 50), range(0, 12), range(88, 100)])
def test_sides_that_are_exchanged_are_found_with_what_to_try(frames):
    truth = walk(ALONE)
    rows = np.isin(truth.frame, frames)
    xy = truth.xy.copy()
    xy[rows] = xy[rows][:, list(COCO17.flip_index)]
    sides = found(replace(truth, xy=xy), "sides")
    assert {one.frames for one in sides} <= {(frames[0], frames[-1])} and sides
    if len(sides) == 1 and {"left_wrist", "left_ankle"} <= set(sides[0].joints):
        assert sides[0].remedy == f"--swap-sides 3@{frames[0]}:{frames[-1] + 1}"


def test_one_exchanged_half_is_no_reason_to_exchange_all():
    names = "left_hip,right_hip,left_knee,right_knee,left_ankle,right_ankle"
    truth = walk(ALONE)
    flip = np.arange(17)
    flip[11:17] = [12, 11, 14, 13, 16, 15]
    xy = truth.xy.copy()
    xy[40:50] = xy[40:50][:, flip]
    (legs,) = found(replace(truth, xy=xy), "sides")
    assert legs.frames == (40, 49) and "legs" in legs.reason
    assert legs.remedy == f"--swap-sides 3@40:50={names}"


def test_a_stretched_limb_is_found():
    truth = moved(walk(ALONE), 3, range(30, 60), ["right_ankle"], (0, 130))
    limbs = found(truth, "limb")
    assert any("right_ankle" in one.joints and one.frames == (30, 59) for one in limbs)


def test_two_ankles_on_one_point_are_found_and_legs_that_pass_are_not():
    truth = walk(ALONE)
    assert not found(truth, "limb")
    xy = truth.xy.copy()
    xy[30:60, 16] = xy[30:60, 15]
    limbs = found(replace(truth, xy=xy), "limb")
    assert any(one.joints == ("left_ankle", "right_ankle") and "one point" in one.reason for one in limbs)


def test_unsure_joints_are_known_by_probability_or_score_unless_somebody_has_looked():
    truth = walk(ALONE)
    scores = truth.scores.copy()
    scores[20:30, 9] = 0.1
    (unsure,) = found(replace(truth, scores=scores), "unsure")
    assert unsure.frames == (20, 29) and unsure.joints == ("left_wrist",)
    probabilities = np.full(scores.shape, 0.97)
    assert not found(replace(truth, scores=scores, probabilities=probabilities), "unsure")
    probabilities[20:30, 9] = 0.2
    assert found(replace(truth, probabilities=probabilities), "unsure")[0].frames == (20, 29)
    reviewed, sources = truth.reviewed.copy(), truth.sources.copy()
    reviewed[20:25], sources[25:30, 9] = True, CORRECTED
    assert not found(replace(truth, scores=scores, reviewed=reviewed, sources=sources), "unsure")


def test_a_corrected_joint_is_not_the_one_that_jumps():
    truth = moved(walk(ALONE), 3, [49, 51], ["left_wrist"], (0, -70))
    sources = truth.sources.copy()
    sources[50, 9] = CORRECTED
    jumps = found(replace(truth, sources=sources), "jump")
    assert {int(number) for one in jumps for number in one.numbers} == {49, 51}


def test_a_gap_is_found_and_merged():
    truth = walk(replace(ALONE, frames=(0, 40)), Walker(7, 400.0, frames=(55, 100)))
    (gap,) = found(truth, "gap")
    assert gap.tracks == (3, 7) and gap.frames == (39, 55) and gap.remedy == "--merge 3,7" and gap.severity > 0.5
    assert not found(truth, "appears") and not found(truth, "vanishes")
    assert np.unique(mended(truth, gap).track_ids).tolist() == [3]


def test_joins_are_told_where_they_are_doubtful_and_not_asked_about_where_they_are_certain():
    truth = walk(replace(ALONE, frames=(0, 40)), Walker(7, 400.0, frames=(55, 100)), Walker(4, 900.0))
    truth = replace(truth, identity=np.where(truth.track_ids == 7, 3, truth.track_ids))
    join = Join(first=3, second=7, frame=55, gap_s=0.64, odds=6.0, appearance=4.0, motion=2.0)
    assert suspects(truth, [join]) == []
    (doubt,) = suspects(truth, [replace(join, odds=2.6)])
    assert (doubt.kind, doubt.tracks, doubt.at, doubt.remedy) == ("shared", (3, 7), 55, "--split 7@55")
    split = mended(truth, doubt)
    assert np.unique(split.track_ids).tolist() == np.unique(split.identity).tolist() == [3, 4, 8]
    # Where people have said otherwise since, the ends are asked about as any others.
    assert [one.kind for one in suspects(split, [join])] == ["gap"]


@pytest.mark.parametrize("later", [0, 3])
def test_tracks_that_changed_by_their_looks_are_told_with_what_to_try(later):
    truth = walk(ALONE, Walker(4, 420.0, y=430.0), Walker(5, 900.0))
    who, frame, ids = truth.identity.copy(), truth.frame, truth.track_ids
    who[(ids == 5) & (frame >= 30)] = 6
    (changed,) = suspects(replace(truth, identity=who))
    assert (changed.kind, changed.at, changed.remedy) == ("shared", 30, "--split 5@30")
    assert not found(mended(replace(truth, identity=who), changed), "shared")
    who[(ids == 5)] = 5
    who[(ids == 3) & (frame >= 50)] = 4
    who[(ids == 4) & (frame >= 50 + later)] = 3
    (changed,) = suspects(replace(truth, identity=who))
    assert (changed.tracks, changed.at, changed.remedy) == ((3, 4), 50, "--swap 3,4@50:")


def test_births_and_deaths_inside_the_picture_are_found_and_others_are_not():
    truth = walk(ALONE, Walker(5, 900.0, frames=(30, 70)))
    (birth,), (death,) = found(truth, "appears"), found(truth, "vanishes")
    assert (birth.at, birth.tracks, death.at, death.tracks) == (30, (5,), 69, (5,))
    entering = walk(ALONE, Walker(5, 1260.0, speed=-100.0, frames=(5, 100)))
    assert not found(entering, "appears")


def test_a_cut_is_no_death():
    before = (replace(ALONE, frames=(0, 50)), Walker(4, 900.0, frames=(0, 50)))
    after = (Walker(5, 420.0, frames=(50, 100)), Walker(6, 700.0, frames=(50, 100)))
    assert suspects(walk(*before, *after)) == []


def test_two_tracks_on_one_person_are_found():
    truth = walk(ALONE, Walker(8, 402.0, frames=(40, 60)))
    xy, scores = truth.xy.copy(), truth.person_scores.copy()
    rows = np.flatnonzero(truth.track_ids == 8)
    xy[rows] = xy[(truth.track_ids == 3) & (truth.frame >= 40) & (truth.frame < 60)] + 1.5
    scores[rows] = 0.4
    (double,) = found(replace(truth, xy=xy, person_scores=scores), "double")
    assert set(double.tracks) == {3, 8} and double.frames == (40, 59) and double.remedy == "--delete 8@40:60"
    assert not suspects(mended(replace(truth, xy=xy, person_scores=scores), double))


def test_ids_that_are_exchanged_where_two_people_meet_are_found():
    meeting = walk(Walker(2, 500.0, speed=100.0), Walker(5, 900.0, y=400.0, speed=-100.0, tall=270.0))
    assert not found(meeting, "shared")
    ids = meeting.track_ids.copy()
    ids[meeting.frame >= 50] = np.where(ids[meeting.frame >= 50] == 2, 5, 2)
    shared = found(replace(meeting, track_ids=ids), "shared")
    exchange = next(one for one in shared if one.tracks == (2, 5))
    assert abs(exchange.at - 50) <= 5 and exchange.remedy == f"--swap 2,5@{exchange.at}:" and exchange.severity > 0.7
    assert not found(mended(replace(meeting, track_ids=ids), exchange), "shared")


def test_a_track_that_leaps_to_another_person_is_found():
    truth = walk(replace(ALONE, frames=(0, 60)), Walker(4, 700.0, frames=(60, 100)))
    one_id = replace(truth, track_ids=np.full(len(truth), 3))
    leap = found(one_id, "shared")[0]
    assert leap.tracks == (3,) and leap.at == 60 and leap.remedy == "--split 3@60"
    assert not found(mended(one_id, leap), "shared")


def test_tracks_that_exchange_their_ids_at_a_leap_are_swapped_once():
    people = walk(ALONE, Walker(4, 900.0, y=420.0, speed=-20.0))
    late = people.frame >= 50
    swapped = replace(people, track_ids=np.where(late, 7 - people.track_ids, people.track_ids))
    (exchange,) = found(swapped, "shared")
    assert (exchange.tracks, exchange.at, exchange.remedy) == ((3, 4), 50, "--swap 3,4@50:")
    assert not suspects(mended(swapped, exchange))
    taken = swapped.rows((swapped.track_ids == 4) | ~late)  # 4 goes on with the person of 3, who was 3 until then
    (leap,) = found(taken, "shared")
    assert leap.remedy == "--swap 4,3@50:" and not found(mended(taken, leap), "shared")


def test_what_was_dismissed_is_told_no_more():
    truth = walk(replace(ALONE, frames=(0, 40)), Walker(7, 400.0, frames=(55, 100)))
    everything = suspects(truth)
    assert everything and {one.kind for one in everything} == {"gap"}
    for told, right in (
        (False, Dismiss(tracks=(7, 3), kind="gap", frames=(39, 56))),
        (False, Dismiss(tracks=(3, 7))),
        (True, Dismiss(tracks=(3,))),
        (True, Dismiss(tracks=(3, 7), kind="gap", frames=(0, 30))),
        (True, Dismiss(tracks=(3, 7), kind="double")),
    ):
        assert bool(still_suspicious(everything, [(right,)])) == told
    assert right_tracks(truth, [(Dismiss(tracks=(7, 50)),), (Dismiss(tracks=(3,), kind="gap"),)]) == [7]


def test_a_hole_is_found_and_so_is_another_person_behind_it():
    whole = walk(ALONE)
    holed = whole.rows(~np.isin(whole.frame, range(40, 50)))
    (hole,) = found(holed, "gap")
    assert hole.tracks == (3,) and hole.frames == (40, 49)
    assert hole.remedy == "--interpolate 3@40:50" and not suspects(mended(holed, hole))
    looked_at = [Review(frames=(40, end)).apply(holed) for end in (49, 50)]
    assert [len(found(truth, "gap")) for truth in looked_at] == [1, 0]  # where all of it was seen, nobody is missing
    truth = walk(replace(ALONE, frames=(0, 40)), Walker(4, 800.0, speed=-60.0, frames=(50, 100), tall=200.0))
    other = found(replace(truth, track_ids=np.full(len(truth), 3)), "shared")
    assert [one.remedy for one in other] == ["--split 3@50"]


def test_tracks_of_nobody_are_found_with_a_hint_for_the_clip():
    truth = walk(ALONE, Walker(6, 1000.0, speed=-10.0), Walker(7, 160.0, speed=0.0))
    low = np.isin(truth.track_ids, [6, 7])
    truth = replace(truth, person_scores=np.where(low, 0.06, 0.8))
    nobody = found(truth, "nobody")
    assert sorted(one.remedy for one in nobody) == ["--delete 6", "--delete 7"]
    assert np.unique(mended(mended(truth, nobody[0]), nobody[1]).track_ids).tolist() == [3]
    everything = suspects(truth)
    (hint,) = hints(truth, everything)
    assert hint.startswith("2 of 3 people score below") and "--min-box-score" in hint
    lines = summary(everything, hints(truth, everything))
    assert len(lines) == 2 and "2 tracks of nobody" in lines[0] and lines[1] == hint
    assert not found(replace(truth, reviewed=np.ones(100, bool)), "nobody")


def test_worst_come_first_and_severities_are_shares():
    truth = moved(walk(ALONE, Walker(5, 900.0, frames=(30, 70))), 3, [50], ["left_wrist"], (0, -150))
    severities = [one.severity for one in suspects(truth)]
    assert len(severities) > 2 and severities == sorted(severities, reverse=True) and 0 < min(severities) <= 1


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_any_clip_can_be_checked(name):
    generator = np.random.default_rng(len(name))
    rows, joints = 60, len(KEYPOINT_SETS[name])
    frame = np.sort(generator.integers(0, 9, rows))
    there = generator.random((rows, joints)) < 0.6
    xy = generator.normal(300, 400, (rows, joints, 2)) * there[..., None]
    corner = generator.normal(300, 300, (rows, 2))
    truth = replace(
        walk(replace(ALONE, frames=(0, rows))),
        keypoints=KEYPOINT_SETS[name],
        index=np.arange(9) * 3,
        time_s=np.array([0, 0, 0.1, 0.2, 5, 5.1, 5.2, 9, 9.0]),
        reviewed=np.arange(9) == 4,
        frame=frame,
        track_ids=np.arange(rows) - np.searchsorted(frame, frame) + 1,
        boxes_xyxy_px=np.concatenate([corner, corner + generator.integers(0, 3, (rows, 2)) * 50], 1),
        person_scores=generator.random(rows),
        xy=xy,
        visibility=there.astype(np.uint8),
        scores=generator.random((rows, joints)) * there,
        sources=generator.integers(0, 4, (rows, joints)).astype(np.uint8),
    )
    everything = suspects(truth)
    assert {number for one in everything for number in one.frames} <= set(truth.index.tolist())
    assert all(0 <= one.severity <= 1 and one.reason.endswith(".") for one in everything)
    assert set(rank_frames(everything)) <= set(truth.index.tolist()) and len(summary(everything)) <= 1
    assert suspects(truth.rows(np.arange(rows) < 1)) is not None


@pytest.mark.slow
def test_long_clips_take_seconds():
    people = [Walker(track, 100.0 * track, speed=0.5, frames=(0, 20_000)) for track in range(1, 11)]
    truth = walk(*people, frames=20_000, noise_px=2.0)
    begun = time.perf_counter()
    suspects(truth)
    assert time.perf_counter() - begun < 30


@pytest.fixture
def out(tmp_path):
    """A folder with two clips, one with a jump."""
    for name, truth in {"a": moved(walk(ALONE), 3, [50], ["left_wrist"], (0, -70)), "b/c": walk(ALONE)}.items():
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        write_truth(truth, folder / TRUTH_FILE)
    return tmp_path / "out"


def test_the_command_shows_and_writes_what_it_finds(out):
    shown = CliRunner().invoke(app, ["check", str(out)])
    assert shown.exit_code == 0, shown.output
    assert "1 jump of joints" in shown.output and "nothing suspicious" in shown.output
    written = json.loads((out / "a/check.json").read_bytes())
    (jump,) = written["suspects"]
    assert (jump["kind"], jump["at"], jump["tracks"]) == ("jump", 50, [3]) and written["frames"] == [50]
    assert len(written["sha256"]) == 64 and json.loads((out / "b/c/check.json").read_bytes())["suspects"] == []
    told = CliRunner().invoke(app, ["check", str(out / "a"), "--json", "--kind", "gap,jump"])
    assert [one["kind"] for one in json.loads(told.stdout)[0]["suspects"]] == ["jump"]
    none = CliRunner().invoke(app, ["check", str(out / "a"), "--kind", "gap"])
    assert "nothing suspicious" in none.output


@pytest.mark.parametrize(("odds", "kinds"), [(9.0, []), (2.5, ["shared"]), ("many", ["gap"]), (None, ["gap"])])
def test_joins_are_those_of_the_run(tmp_path, odds, kinds):
    truth = walk(replace(ALONE, frames=(0, 40)), Walker(7, 400.0, frames=(55, 100)))
    write_truth(replace(truth, identity=np.full(len(truth), 3)), tmp_path / TRUTH_FILE)
    join = {"first": 3, "second": 7, "frame": 55, "gap_s": 0.64, "odds": odds, "appearance": None, "motion": 2.0}
    (tmp_path / "run.json").write_text(json.dumps({"input": "clip.mp4", "identities": {"joins": [join]}}))
    told = CliRunner().invoke(app, ["check", str(tmp_path), "--json"])
    assert [one["kind"] for one in json.loads(told.stdout)[0]["suspects"]] == kinds


def test_wrong_input_is_told(out, tmp_path):
    runner = CliRunner()
    assert "no such folder" in runner.invoke(app, ["check", str(tmp_path / "none")]).exception.message
    (tmp_path / "empty").mkdir()
    assert TRUTH_FILE in runner.invoke(app, ["check", str(tmp_path / "empty")]).exception.message
    assert "allowed: jump" in runner.invoke(app, ["check", str(out), "--kind", "odd"]).exception.hint
    (out / "a" / TRUTH_FILE).write_text("[")
    broken = runner.invoke(app, ["check", str(out)])
    assert broken.exit_code == 1 and (out / "b/c/check.json").is_file()
