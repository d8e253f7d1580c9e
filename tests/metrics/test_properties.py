"""What must hold for any data."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose.keypoints import POSETRACK18
from jmpose_cli.formats.records import ImageRecord, PoseRecords
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs

PROTOCOLS = st.sampled_from(["posetrack17", "posetrack18", "posetrack21"])
TABLES = ("ap", "precision", "recall", "mota", "motp", "mot_precision", "mot_recall", "hota", "det_a", "ass_a", "loc_a")
EARS = [POSETRACK18.joints.index(joint) for joint in ("left_ear", "right_ear")]
quick = settings(max_examples=40, deadline=None)


def records_of(rng, frames, *, near=None):
    """Random people in some frames; with `near`, a disturbed copy of its people."""
    n_joints = len(POSETRACK18)
    if near is None:
        per_frame = rng.integers(1, 5, frames)
        image_row = np.repeat(np.arange(frames), per_frame)
        tracks = np.concatenate([rng.permutation(6)[:count] for count in per_frame])
        xy = rng.uniform(50, 400, (len(image_row), 1, 2)) + rng.uniform(0, 60, (len(image_row), n_joints, 2))
        present = rng.random((len(image_row), n_joints)) < 0.8
        present[:, 0] = True
    else:
        kept = rng.random(len(near)) < 0.85
        image_row, xy = near.image_row[kept], near.xy[kept] + rng.normal(0, 4, near.xy[kept].shape)
        tracks = (near.track_ids[kept] + (image_row > frames // 2) * rng.integers(0, 2)) % 7
        for frame in range(frames):  # ids must differ within a frame
            rows = image_row == frame
            if len(set(tracks[rows])) < rows.sum():
                tracks[rows] = near.track_ids[kept][rows]
        present = near.present[kept] & (rng.random(near.present[kept].shape) < 0.9)
    present = present.copy()
    present[:, EARS] = False
    xy = np.where(present[..., None], xy, 0.0)
    n = len(image_row)
    corner = xy.max((1, 2))[:, None] * 0
    images = tuple(ImageRecord(100 + f, f"images/v/{f:06d}.jpg", None, None, None, None) for f in range(frames))
    return PoseRecords(
        path=Path("made.json"),
        kind="posetrack18",
        joints=POSETRACK18.joints,
        images=images,
        image_row=image_row,
        ids=np.arange(n),
        track_ids=tracks.astype(np.int64),
        person_ids=np.full(n, -1),
        xy=xy,
        visibility=present.astype(float),
        present=present,
        scores=rng.random((n, n_joints)),
        person_scores=np.ones(n),
        boxes_xyxy_px=np.concatenate([corner, corner, corner + 50, corner + 90], 1),
        head_boxes_xyxy_px=np.concatenate([corner, corner, corner + 12, corner + 16], 1),
        areas=np.full(n, np.nan),
        joint_counts=np.zeros(n, np.int64),
        is_crowd=np.zeros(n, bool),
        integer_coordinates=np.zeros(frames, bool),
    )


@st.composite
def pairs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = draw(st.integers(2, 5))
    truth = records_of(rng, frames)
    return truth, records_of(rng, frames, near=truth)


def evaluate(*videos, protocol="posetrack18", hota_rule="devkit"):
    inputs = [pair_inputs(name, truth, predicted, protocol=protocol) for name, truth, predicted in videos]
    return evaluate_posetrack(inputs, protocol=protocol, hota_rule=hota_rule).as_json()


def take(records, rows):
    """The people of `rows` in that order."""
    n = len(records)
    columns = {
        field.name: getattr(records, field.name)[rows]
        for field in dataclasses.fields(records)
        if isinstance(getattr(records, field.name), np.ndarray)
        and len(getattr(records, field.name)) == n
        and field.name != "integer_coordinates"
    }
    return replace(records, **columns)


@quick
@given(pair=pairs(), protocol=PROTOCOLS)
def test_ground_truth_against_itself_is_100_where_it_is_defined(pair, protocol):
    truth, _ = pair
    truth = replace(truth, scores=np.ones_like(truth.scores))
    found = evaluate(("a", truth, truth), protocol=protocol)
    annotated = {joint for j, joint in enumerate(POSETRACK18.joints) if truth.present[:, j].any()}
    # The last frame is no part of MOTA.
    tracked = {
        joint
        for j, joint in enumerate(POSETRACK18.joints)
        if truth.present[truth.image_row < len(truth.images) - 1, j].any()
    }
    for name in TABLES:
        joints = tracked if name.startswith("mot") else annotated
        assert {round(found[name][joint], 9) for joint in joints} == {100.0}, name


@quick
@given(pair=pairs(), seed=st.integers(0, 2**32 - 1), protocol=PROTOCOLS)
def test_order_of_people_and_names_of_tracks_do_not_matter(pair, seed, protocol):
    truth, predicted = pair
    rng = np.random.default_rng(seed)
    plain = evaluate(("a", truth, predicted), protocol=protocol)
    names = rng.permutation(100)
    shuffled = [take(records, rng.permutation(len(records))) for records in (truth, predicted)]
    renamed = [replace(records, track_ids=names[records.track_ids]) for records in shuffled]
    other = evaluate(("a", *renamed), protocol=protocol)
    for name in TABLES:
        for joint, value in plain[name].items():
            same = other[name][joint]
            assert (same is None) == (value is None)
            assert value is None or abs(same - value) < 1e-9, (name, joint)


@quick
@given(one=pairs(), two=pairs())
def test_order_of_videos_does_not_matter(one, two):
    there, back = evaluate(("a", *one), ("b", *two)), evaluate(("b", *two), ("a", *one))
    for name in TABLES:
        for joint, value in there[name].items():
            assert back[name][joint] == value or abs(back[name][joint] - value) < 1e-9
    assert there["videos"] == back["videos"]


@quick
@given(pair=pairs(), protocol=PROTOCOLS, score=st.floats(0, 1))
def test_a_far_away_false_positive_never_raises_ap_mota_or_hota(pair, protocol, score):
    truth, predicted = pair
    if not len(predicted):
        return
    stranger = take(predicted, np.array([0]))
    everywhere = np.ones_like(stranger.present)
    everywhere[:, EARS] = False
    stranger = replace(
        stranger,
        xy=np.where(everywhere[..., None], np.full_like(stranger.xy, 90_000.0), 0.0),
        present=everywhere,
        track_ids=np.array([99]),
        scores=np.full_like(stranger.scores, score),
    )
    more = {
        field.name: np.concatenate([getattr(predicted, field.name), getattr(stranger, field.name)])
        for field in dataclasses.fields(predicted)
        if isinstance(getattr(predicted, field.name), np.ndarray) and field.name != "integer_coordinates"
    }
    before = evaluate(("a", truth, predicted), protocol=protocol)
    after = evaluate(("a", truth, replace(predicted, **more)), protocol=protocol)
    for name in ("ap", "mota", "hota"):
        for joint, value in before[name].items():
            if joint == "total" and None in (*before[name].values(), *after[name].values()):
                continue  # a joint became defined or undefined, as in the official kits
            if value is not None and after[name][joint] is not None:
                assert after[name][joint] <= value + 1e-9, (name, joint)


@quick
@given(pair=pairs(), hota_rule=st.sampled_from(["devkit", "standard"]))
def test_percentages(pair, hota_rule):
    found = evaluate(("a", *pair), hota_rule=hota_rule)
    for name in set(TABLES) - {"mota"}:
        assert all(value is None or -1e-9 <= value <= 100 + 1e-9 for value in found[name].values()), name
    assert all(value is None or value <= 100 for value in found["mota"].values())
