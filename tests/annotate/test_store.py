import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose_cli.annotate.store import ClipStore
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import RecordFile
from jmpose_cli.values import CameraState, CutState, Detections, FramePoses, Observation, TrackedFrame

IDENTITY = {"version": "1", "stamp": {"size": 3, "mtime_ns": 2**60}, "settings": {"formats": ["coco"], "s": 0.1}}
JOINTS = 15
Frame = tuple[Observation, FramePoses]


def make_frame(number: int, *, found: int | None = 2, with_ids: bool = False, people: int = 2) -> Frame:
    """Make a frame with random content; `found` None: nobody looked at it."""
    random = np.random.default_rng(number)

    def some(*shape: int) -> np.ndarray:
        return random.random(shape, np.float32)

    detections = None if found is None else Detections(some(found, 4), some(found))
    ids = random.integers(1, 2**40, found) if with_ids and found is not None else None
    state = CutState(some(27, 48), some(512), float(random.random()))
    index, time_s = 3 + 2 * number, float(number / 29.97)
    tracked = TrackedFrame(
        index=index,
        time_s=time_s,
        boxes_xyxy_px=some(people, 4),
        scores=some(people),
        track_ids=random.integers(1, 2**40, people),
        observed=random.random(people) < 0.5,
        segment=number // 3,
    )
    seen = Observation(
        *(index, time_s, bool(number % 3 == 0), detections, ids, state, 1 + number % 4),
        camera=some(2, 3) if number % 2 else None,
        camera_state=CameraState(random.integers(0, 256, (9, 16)).astype(np.uint8), some(5, 2)),
    )
    return seen, FramePoses(
        tracked,
        some(people, JOINTS, 2),
        some(people, JOINTS),
        some(people),
        covariances=some(people, JOINTS, 3) if number % 4 else None,
        probabilities=some(people, JOINTS) if number % 3 else None,
    )


def same_array(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def same_state(one: CutState, other: CutState) -> bool:
    arrays = same_array(one.thumbnail, other.thumbnail) and same_array(one.histogram, other.histogram)
    return arrays and one.usual == other.usual


def same_observation(one: Observation, other: Observation) -> bool:
    """Compare all but the states of what compares frames."""
    if (one.detections is None) != (other.detections is None):
        return False
    if one.detections is not None and not (
        same_array(one.detections.boxes_xyxy_px, other.detections.boxes_xyxy_px)
        and same_array(one.detections.scores, other.detections.scores)
    ):
        return False
    facts = [(f.index, f.time_s, f.cut, f.since_detection) for f in (one, other)]
    arrays = same_array(one.ids, other.ids) and same_array(one.camera, other.camera)
    return arrays and facts[0] == facts[1]


def same_poses(one: FramePoses, other: FramePoses) -> bool:
    people = ("boxes_xyxy_px", "scores", "track_ids", "observed")
    facts = [(p.people.index, p.people.time_s, p.people.segment) for p in (one, other)]
    return (
        facts[0] == facts[1]
        and all(same_array(getattr(one.people, name), getattr(other.people, name)) for name in people)
        and all(
            same_array(getattr(one, name), getattr(other, name))
            for name in ("xy_image", "scores", "person_scores", "covariances", "probabilities")
        )
    )


def assert_holds(store: ClipStore, frames: list[Frame]) -> None:
    """Check that these frames, and no others, are committed."""
    assert store.frames == len(frames)
    seen, poses = list(store.observations()), list(store.poses())
    assert len(seen) == len(poses) == len(frames)
    assert all(same_observation(read, made) for read, (made, _) in zip(seen, frames, strict=True))
    assert all(same_poses(read, made) for read, (_, made) in zip(poses, frames, strict=True))
    assert [store.index_at(n) for n in range(len(frames))] == [made.index for made, _ in frames]
    if not frames:
        assert store.last is None and store.fps is None and store.index_at(0) == 0
        return
    last = frames[-1][0]
    assert store.index_at(len(frames)) == store.index_at(len(frames) + 9) == last.index + 1
    assert same_observation(store.last, last) and same_state(store.last.cut_state, last.cut_state)
    for name in ("grey", "corners"):
        assert same_array(getattr(store.last.camera_state, name), getattr(last.camera_state, name))


def write(path: Path, *chunks: list[Frame], identity: dict = IDENTITY) -> None:
    with ClipStore(path, identity) as store:
        for chunk in chunks:
            for frame in chunk:
                store.add(*frame)
            store.commit(fps=29.97)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "poses.records"


@pytest.fixture
def frames() -> list[Frame]:
    """Ten frames: with people, without, not looked at."""
    kinds = [{}, {"found": None}, {"found": 0, "people": 0}, {"found": 3, "people": 1}, {"found": None, "people": 0}]
    return [make_frame(number, **kinds[number % 5]) for number in range(10)]


def test_a_new_store_is_empty(path):
    with ClipStore(path, IDENTITY) as store:
        assert_holds(store, [])
        assert store.ending is None and store.waiting == 0
        store.commit(fps=25.0)  # nothing waits
        assert_holds(store, [])


def test_frames_count_when_they_are_committed(path, frames):
    with ClipStore(path, IDENTITY) as store:
        for frame in frames[:3]:
            store.add(*frame)
        assert store.waiting == 3
        assert_holds(store, [])
        store.commit(fps=29.97)
        assert store.waiting == 0 and store.fps == 29.97
        assert_holds(store, frames[:3])
        store.add(*frames[3])
        assert_holds(store, frames[:3])
    with ClipStore(path, IDENTITY) as store:
        assert store.fps == 29.97
        assert_holds(store, frames[:3])


def test_frames_committed_meanwhile_do_not_come_to_one_who_reads(path, frames):
    with ClipStore(path, IDENTITY) as store:
        store.add(*frames[0])
        store.commit(fps=25.0)
        seen, poses = store.observations(), store.poses()
        next(seen), next(poses)
        store.add(*frames[1])
        store.commit(fps=25.0)
        assert list(seen) == list(poses) == []


frame_kinds = st.fixed_dictionaries(
    {"found": st.none() | st.integers(0, 3), "with_ids": st.booleans(), "people": st.integers(0, 3)}
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(frame_kinds, min_size=1, max_size=5), max_size=5), st.sets(st.integers(0, 5)))
def test_chunks_of_any_size_give_back_the_same_frames(chunks, reopened_behind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        store, made = ClipStore(path, IDENTITY), []
        for number, chunk in enumerate(chunks):
            for kind in chunk:
                made.append(make_frame(len(made), **kind))
                store.add(*made[-1])
            store.commit(fps=25.0)
            if number in reopened_behind:
                with store:
                    pass
                store = ClipStore(path, IDENTITY)
        with store:
            assert_holds(store, made)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {**IDENTITY, "version": "2"},
        {**IDENTITY, "stamp": {"size": 3, "mtime_ns": 2**60 + 1}},
        {**IDENTITY, "settings": {"formats": ["coco", "csv"], "s": 0.1}},
    ],
)
def test_what_was_made_otherwise_does_not_count(path, frames, other):
    write(path, frames)
    with ClipStore(path, other) as store:
        assert_holds(store, [])
        assert store.dropped == IDENTITY
        store.add(*frames[0])
        store.commit(fps=25.0)
        assert_holds(store, frames[:1])
    with ClipStore(path, other) as store:
        assert_holds(store, frames[:1])
        assert store.dropped is None
    with ClipStore(path, IDENTITY) as store:
        assert_holds(store, [])
    with ClipStore(path, other) as store:
        assert store.dropped is None  # nothing was done


@pytest.mark.parametrize("left", [b"", b"JMR1", b"a film about nothing" * 10])
def test_a_file_without_a_whole_record_is_begun_anew(path, frames, left):
    path.write_bytes(left)
    write(path, frames[:2])
    with ClipStore(path, IDENTITY) as store:
        assert_holds(store, frames[:2])


def test_a_torn_chunk_is_dropped_and_done_again(path, frames):
    write(path, frames[:4])
    begin = path.stat().st_size
    write(path, frames[4:6])
    data = path.read_bytes()
    for end in (begin, begin + 1, begin + 16, begin + 100, (begin + len(data)) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        write(path)
        assert path.stat().st_size == begin
        write(path, frames[4:5], frames[5:])
        with ClipStore(path, IDENTITY) as store:
            assert_holds(store, frames)


def record_of(path: Path, number: int) -> tuple[dict, dict]:
    with RecordFile(path) as records:
        return list(records)[number]


SPOILT = [
    *({"drop": name} for name in ("index", "found_ids", "thumbnail", "xy", "usual", "people", "covariances")),
    *(
        {"cut": name}
        for name in (
            "time_s",
            "found_boxes",
            "boxes",
            "joint_scores",
            "histogram",
            "usual",
            "has_covariances",
            "probabilities",
        )
    ),
    *({"text": name} for name in ("index", "xy", "cut", "thumbnail")),
    {"negative": "people"},
    {"negative": "found"},
    *({"fps": fps} for fps in (None, "25", 0, -1, {})),
]


@pytest.mark.parametrize("spoil", SPOILT, ids=str)
def test_a_whole_record_that_is_no_chunk_is_dropped_with_what_follows(path, frames, spoil):
    write(path, frames[:3], frames[3:6])
    first, (values, arrays) = record_of(path, 1), record_of(path, 2)
    if "fps" in spoil:
        values = {**values, **spoil}
    for how, name in spoil.items():
        if how == "drop":
            del arrays[name]
        elif how == "cut":
            arrays[name] = arrays[name][:-1]
        elif how == "text":
            arrays[name] = arrays[name].astype("U8")
        elif how == "negative":
            arrays[name] = arrays[name] - 10
    whole = path.stat().st_size
    with RecordFile(path) as records:
        records.append(values, arrays)
        records.append(*first)
    with ClipStore(path, IDENTITY) as store:
        assert_holds(store, frames[:6])
    assert path.stat().st_size == whole


@pytest.mark.parametrize("ending", [None, [], {}, {"notes": "x", "video": {}}, {"notes": []}])
def test_an_ending_without_its_fields_is_none(path, frames, ending):
    write(path, frames[:3])
    with RecordFile(path) as records:
        records.append({"ending": ending})
    with ClipStore(path, IDENTITY) as store:
        assert store.ending is None and store.frames == 3


def test_the_ending_is_kept(path, frames):
    ending = {"notes": ["two frames are missing"], "video": {"fps": 29.97, "width": 96}}
    with ClipStore(path, IDENTITY) as store:
        store.add(*frames[0])
        store.commit(fps=29.97)
        store.finish(ending)
        assert store.ending == ending
    with ClipStore(path, IDENTITY) as store:
        assert store.ending == ending
        assert_holds(store, frames[:1])


def test_a_torn_ending_is_none(path, frames):
    write(path, frames[:2])
    with ClipStore(path, IDENTITY) as store:
        store.finish({"notes": []})
    path.write_bytes(path.read_bytes()[:-1])
    with ClipStore(path, IDENTITY) as store:
        assert store.ending is None
        assert_holds(store, frames[:2])


def test_begun_anew_nothing_is_remembered(path, frames):
    with ClipStore(path, IDENTITY) as store:
        store.add(*frames[0])
        store.commit(fps=25.0)
        store.finish({"notes": []})
        store.add(*frames[1])
        store.restart(IDENTITY)
        assert store.ending is None and store.waiting == 0
        assert_holds(store, [])
        store.add(*frames[2])
        store.commit(fps=25.0)
    with ClipStore(path, IDENTITY) as store:
        assert store.ending is None
        assert_holds(store, frames[2:3])


def test_a_full_disk_loses_only_what_was_not_committed(path, frames, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ClipStore(path, IDENTITY) as store:
        store.add(*frames[0])
        store.commit(fps=25.0)
        store.add(*frames[1])
        with monkeypatch.context() as patched:
            patched.setattr(RecordFile, "append", fail)
            with pytest.raises(OutputError, match=r"poses\.records: No space left"):
                store.commit(fps=25.0)
            with pytest.raises(OutputError, match=r"poses\.records: No space left"):
                store.finish({"notes": []})
        assert store.ending is None and store.waiting == 1
        assert_holds(store, frames[:1])
        store.commit(fps=25.0)
        assert_holds(store, frames[:2])
    with ClipStore(path, IDENTITY) as store:
        assert_holds(store, frames[:2])


def test_a_chunk_is_on_the_disk_before_it_counts(path, frames, monkeypatch):
    with ClipStore(path, IDENTITY) as store:
        counted = []
        monkeypatch.setattr(os, "fsync", lambda _: counted.append((store.frames, path.stat().st_size)))
        store.add(*frames[0])
        store.commit(fps=25.0)
        assert counted == [(0, path.stat().st_size)]
        store.finish({})
        assert counted[1:] == [(1, path.stat().st_size)]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(JmposeError, match=r"cannot write .*none/r: No such file"):
        ClipStore(tmp_path / "none" / "r", IDENTITY)
