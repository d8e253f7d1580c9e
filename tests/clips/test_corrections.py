"""The corrections of a clip: kept whatever happens, taken back to the byte, and nobody else's."""

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jmpose.files import file_sha256
from jmpose_cli.clips.corrections import CORRECTIONS_FILE, MODEL_FILE, Corrections, state_of
from jmpose_cli.clips.operations import Delete, Merge, Rename, Review, SetJoints, SwapSides, changed_frames
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.formats.truth import CORRECTED, TRUTH_FILE, read_truth
from tests.clips.clip_assets import make_clip
from tests.clips.some_operations import operations
from tests.conftest import ROOT

ONE, TWO, THREE = [Merge(tracks=(3, 7))], [SwapSides(track=1, frames=(4, 6)), Review()], [Delete(track=8)]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Disks are slow, and no test here pulls the plug."""
    monkeypatch.setattr("jmpose.files.os.fsync", lambda _: None)


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_clip(tmp_path / "clip")


def content(folder: Path) -> bytes:
    return (folder / TRUTH_FILE).read_bytes()


def test_what_is_done_is_in_the_truth_and_the_log(folder):
    model = content(folder)
    with Corrections(folder) as corrections:
        corrections.do(ONE)
        corrections.do(TWO)
        assert corrections.done == (tuple(ONE), tuple(TWO)) and corrections.undone == ()
        truth = corrections.truth
    assert (folder / MODEL_FILE).read_bytes() == model != content(folder)
    assert changed_frames(read_truth(folder), truth) == {}
    assert sorted(os.listdir(folder)) == [CORRECTIONS_FILE, TRUTH_FILE, MODEL_FILE]
    assert state_of(folder) == "current"
    with Corrections(folder) as again:
        assert again.done == (tuple(ONE), tuple(TWO)) and not again.is_behind
        assert changed_frames(again.truth, truth) == {}


def test_undo_and_redo(folder):
    states = [content(folder)]
    with Corrections(folder) as corrections:
        for step in (ONE, TWO, THREE):
            corrections.do(step)
            states.append(content(folder))
        corrections.undo(2)
        assert content(folder) == states[1]
        corrections.redo()
        assert content(folder) == states[2]
    with Corrections(folder) as corrections:  # after a restart
        corrections.undo(2)
        assert content(folder) == states[0]
        corrections.redo(3)
        assert content(folder) == states[3]
        corrections.undo()
        corrections.do([Rename(track=8, new=5)])
        with pytest.raises(JmposeError, match=r"cannot redo 1: .* has 0 corrections taken back"):
            corrections.redo()
        with pytest.raises(JmposeError, match=r"cannot undo 4: .* has 3 corrections"):
            corrections.undo(4)
    with Corrections(make_clip(folder / "other")) as corrections, pytest.raises(JmposeError, match="cannot undo 1"):
        corrections.undo()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), plain=st.booleans())
def test_any_operations_taken_back_leave_the_bytes_of_the_model(tmp_path_factory, data, plain):
    folder = make_clip(tmp_path_factory.mktemp("clip"), plain=plain)
    model = content(folder)
    with Corrections(folder) as corrections:
        for _ in range(data.draw(st.integers(1, 4))):
            try:
                corrections.do([data.draw(operations(corrections.truth))], write=data.draw(st.booleans()))
            except JmposeError:
                continue
        corrections.write()
        corrected, steps = content(folder), len(corrections.done)
    with Corrections(folder) as again:  # made anew from the log, it is the same to the byte
        (folder / TRUTH_FILE).unlink()
        again._seen, again._disk = None, ""
        again.write() if steps else None
        assert not steps or content(folder) == corrected
        if steps:
            again.undo(steps)
            assert content(folder) == model


def test_what_is_asked_for_again_is_not_done_again(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE, key="a", write=False)
        corrections.do(THREE, key="b", write=False)
    with Corrections(folder) as corrections:  # the answer was lost, and the server is another one
        corrections.do(THREE, key="b")
        corrections.undo(key="c")
        corrections.undo(key="c")
        corrections.do(THREE, key="b")
        assert corrections.done == (tuple(ONE),) and corrections.has("c") and not corrections.has("d")


def test_one_that_cannot_be_applied_leaves_all_as_it_was(folder):
    before = content(folder)
    with Corrections(folder) as corrections, pytest.raises(JmposeError, match="there is no track 3"):
        corrections.do([*ONE, Delete(track=3), Delete(track=3)])
    assert content(folder) == before and os.listdir(folder) == [TRUTH_FILE]


def test_killed_at_any_write_the_truth_is_the_old_or_the_new_one_and_all_that_was_done_is_there(tmp_path):
    """Each process dies at one call more of fsync and replace than the one before."""
    states = []
    clean = make_clip(tmp_path / "clean")
    with Corrections(clean) as corrections:
        states.append(content(clean))
        for step in (ONE, THREE):
            corrections.do(step)
            states.append(content(clean))
    survived, left = False, 0
    while not survived:
        folder = tmp_path / str(left)
        folder.mkdir()
        (folder / TRUTH_FILE).write_bytes(states[0])
        pid = os.fork()
        if not pid:
            _work_until_killed(folder, left)
        _, status = os.waitpid(pid, 0)
        survived = os.waitstatus_to_exitcode(status) == 0
        acknowledged = len((folder / "acknowledged").read_bytes()) if (folder / "acknowledged").exists() else 0
        assert content(folder) in states[acknowledged : acknowledged + 2]
        assert state_of(folder) != "changed"
        with Corrections(folder) as again:
            assert acknowledged <= len(again.done) <= acknowledged + 1
            again.write()
            assert content(folder) == states[len(again.done)]
        assert state_of(folder) in ("current", "untouched")
        left += 1
    assert left > 10


def _work_until_killed(folder: Path, left: int) -> None:
    """Correct a clip in a forked process that dies at the call of fsync or replace after `left` others."""
    calls = [left]

    def counted(real):
        def call(*args):
            calls[0] -= 1
            if calls[0] < 0:
                os._exit(9)
            return real(*args)

        return call

    os.fsync, os.replace = counted(lambda _: None), counted(os.replace)
    with Corrections(folder) as corrections:
        for step in (ONE, THREE):
            corrections.do(step)
            with (folder / "acknowledged").open("ab") as file:
                file.write(b"x")
    os._exit(0)


@pytest.mark.parametrize("place", range(10))
def test_a_disk_that_is_full_leaves_the_old_truth_or_the_new_one(folder, monkeypatch, place):
    states = [content(folder)]
    calls = [0]
    with Corrections(folder) as corrections:
        corrections.do(ONE)
        states.append(content(folder))

        def full(real):
            def call(*args):
                calls[0] += 1
                if calls[0] > place:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return real(*args)

            return call

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full(lambda _: None))
            patch.setattr("os.replace", full(os.replace))
            try:
                corrections.do(TWO)
                done = True
            except OutputError as error:
                assert ("the step is kept" in error.hint) == (len(corrections.done) == 2)
                done = len(corrections.done) == 2  # the line was written, the truth was not
        assert content(folder) in states if calls[0] > place else content(folder) not in states
        corrections.do(THREE)
        assert len(corrections.done) == 2 + done
    assert state_of(folder) == "current" and sorted(os.listdir(folder)) == [CORRECTIONS_FILE, TRUTH_FILE, MODEL_FILE]
    with Corrections(folder) as again:
        assert len(again.done) == 2 + done


def test_a_log_that_is_ahead_is_written_to_the_truth(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE, write=False)
        corrections.do(TWO, write=False)
        assert corrections.is_behind and state_of(folder) == "behind"
        before = content(folder)
    assert content(folder) == before == (folder / MODEL_FILE).read_bytes()
    with Corrections(folder) as again:
        assert again.is_behind
        again.write()
        assert not again.is_behind and state_of(folder) == "current"
        written = content(folder)
    (folder / TRUTH_FILE).unlink()
    assert state_of(folder) == "behind"
    with Corrections(folder) as again:
        again.write()
    assert content(folder) == written


def edit(folder: Path, change) -> None:
    data = orjson.loads(content(folder))
    change(data)
    (folder / TRUTH_FILE).write_bytes(orjson.dumps(data))


def test_what_another_program_changed_is_noticed_and_taken_when_the_owner_says_so(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
        before = corrections.truth

    def change(data):
        person = data["annotations"][0]
        person["keypoints"][0] += 5
        del data["annotations"][1]
        for one in data["annotations"]:
            del one["covariance"]
        data["images"][3]["reviewed"] = True

    edit(folder, change)
    assert state_of(folder) == "changed"
    with pytest.raises(JmposeError, match="another program has changed it") as caught:
        Corrections(folder)
    assert "--accept-edits" in caught.value.hint
    with Corrections(folder, accept_edits=True) as corrections:
        assert corrections.edits is not None and [one.frame for one in corrections.edits.frames] == [2, 5]
        corrections.do([corrections.edits, *THREE])
        truth = corrections.truth
    assert truth.reviewed.tolist() == [place == 3 for place in range(12)]
    assert truth.xy[0, 0, 0] == before.xy[0, 0, 0] + 5 and truth.sources[0].tolist() == [CORRECTED] + [0] * 18
    assert truth.scores[0, 0] == 1 and (truth.covariances[0, 1] == before.covariances[0, 1]).all()
    assert truth.track_ids[:3].tolist() == [1, 1, 3]
    with Corrections(folder) as corrections:
        assert corrections.edits is None
        corrections.undo()
        assert changed_frames(corrections.truth, before) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data["annotations"][1].update(track_id=1), "is of track 1, as"),
        (lambda data: data["categories"][0]["keypoints"].__setitem__(0, "nase"), "other joints"),
        (lambda data: data["images"].pop(), "other frames|annotations"),
    ],
)
def test_edits_that_contradict_themselves_are_not_taken(folder, change, said):
    with Corrections(folder) as corrections:
        corrections.do(THREE)
    edit(folder, change)
    with pytest.raises(JmposeError, match=said):
        Corrections(folder, accept_edits=True)


def test_a_change_while_the_clip_is_open_is_not_overwritten(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
        edit(folder, lambda data: data["annotations"].pop())
        changed = content(folder)
        with pytest.raises(JmposeError, match="just changed it"):
            corrections.do(TWO)
    assert content(folder) == changed


def test_two_processes_do_not_correct_one_clip(folder):
    script = "import sys; from pathlib import Path; from jmpose_cli.clips.corrections import Corrections\n"
    script += "with Corrections(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(JmposeError, match=f"(process {other.pid}|another process) is correcting this clip"):
            Corrections(folder)
        assert (folder / CORRECTIONS_FILE).exists()
        other.communicate(b"")
    with Corrections(folder) as corrections:
        corrections.do(ONE)


def lines(folder: Path) -> list[bytes]:
    return (folder / CORRECTIONS_FILE).read_bytes().splitlines(keepends=True)


def test_a_torn_line_counts_for_nothing_and_a_damaged_one_is_an_error(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
        first = content(folder)
        corrections.do(TWO)
    log = lines(folder)
    (folder / CORRECTIONS_FILE).write_bytes(b"".join(log[:2]) + log[2][:-9])
    (folder / TRUTH_FILE).write_bytes(first)
    with Corrections(folder) as corrections:
        assert corrections.done == (tuple(ONE),)
        corrections.do(THREE)
    with Corrections(folder) as corrections:
        assert corrections.done == (tuple(ONE), tuple(THREE))
    (folder / CORRECTIONS_FILE).write_bytes(b"".join((log[0], log[1][:-9] + b"\n", log[2])))
    with pytest.raises(JmposeError, match="line 1 is missing or damaged"):
        Corrections(folder)


@pytest.mark.parametrize(
    "line",
    [
        {"n": 1, "event": "done", "when": "now", "operations": []},
        {"n": 1, "event": "done", "when": "now", "operations": [{"op": "delete", "track": "8"}]},
        {"n": 1, "event": "done", "when": "now", "operations": [{"op": "delete", "track": 99}]},
        {"n": 1, "event": "undo", "when": "now", "steps": 1},
        {"n": 1, "event": "undo", "when": "now", "steps": 10**30},
        {"n": 1, "event": "written", "truth": "../x", "over": ""},
        {"n": 1, "event": "burn"},
        {"n": 1, "event": "begin", "model": "0" * 64},
        ["n"],
    ],
)
def test_lines_that_are_no_corrections_are_refused(folder, line):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
    text = orjson.dumps(line) if "10" not in str(line) else str(line).replace("'", '"').encode()
    log = lines(folder)[0] + b"%08x %s\n" % (zlib.crc32(text), text)
    (folder / CORRECTIONS_FILE).write_bytes(log)
    with pytest.raises(JmposeError):
        Corrections(folder)


def test_files_that_are_gone_are_named(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
    (folder / MODEL_FILE).rename(folder / "kept")
    with pytest.raises(JmposeError, match=r"model\.coco\.json: missing"):
        Corrections(folder)
    (folder / MODEL_FILE).write_bytes(content(folder))
    with pytest.raises(JmposeError, match="not the file that was corrected"):
        Corrections(folder)
    (folder / CORRECTIONS_FILE).unlink()
    (folder / "kept").rename(folder / MODEL_FILE)
    with pytest.raises(JmposeError, match=r"corrections\.jsonl is missing"):
        Corrections(folder)
    with pytest.raises(JmposeError, match=r"holds no keypoints\.coco\.json"):
        Corrections(folder / "nothing")


def test_a_clip_of_an_older_version_is_corrected(folder):
    edit(folder, lambda data: [one.pop(name) for one in data["annotations"] for name in ("identity", "attributes")])
    model = content(folder)
    with Corrections(folder) as corrections:
        corrections.do([SetJoints(track=1, frame=2, joints={"nose": (1, 2, 2)})])
        assert np.array_equal(read_truth(folder).xy[0, 0], [1, 2])
        corrections.undo()
    assert content(folder) == model


def test_the_log_says_which_truth_follows(folder):
    with Corrections(folder) as corrections:
        corrections.do(ONE)
    begin, done = (orjson.loads(line.partition(b" ")[2]) for line in lines(folder))
    assert begin["event"] == "begin" and begin["model"] == file_sha256(folder / MODEL_FILE) == done["over"]
    assert done["truth"] == file_sha256(folder / TRUTH_FILE) and done["operations"][0] == {
        "op": "merge",
        "tracks": [3, 7],
    }


def test_a_large_clip_is_prepared_for_its_first_correction(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jmpose_cli.clips.corrections.LEAST_BYTES", 0)
    monkeypatch.setattr("jmpose_cli.clips.parsed_truth.LEAST_BYTES", 0)
    model = content(folder)
    with Corrections(folder) as corrections:
        corrections.prepare()
        assert (folder / MODEL_FILE).read_bytes() == model
    assert os.listdir(folder) == [TRUTH_FILE]  # nobody has corrected anything
    states = []
    for _ in range(2):  # parsed, and then from the cache
        with Corrections(folder) as corrections:
            corrections.prepare()
            corrections.do(TWO)
            corrections.do(ONE)
            states.append(content(folder))
            corrections.undo(2)
            assert content(folder) == model
    assert states[0] == states[1] != model
    (cached,) = (tmp_path / "cache/truths").iterdir()
    cached.write_bytes(cached.read_bytes()[:5000])  # damaged: parsed again
    with Corrections(folder) as corrections:
        corrections.redo(2)
    assert content(folder) == states[0]
