import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jmpose_cli.clips.layout import CORRECTIONS_FILE, TRUTH_FILE, replacing_mark
from jmpose_cli.clips.run_record import file_facts
from jmpose_cli.clips.video import frames_in_range
from jmpose_cli.config import DecodeConfig, build_config
from jmpose_cli.errors import JmposeError
from jmpose_cli.runs import plan
from jmpose_cli.runs.inputs import Clip, clip_source, input_stamp
from jmpose_cli.runs.journal import Journal
from jmpose_cli.runs.plan import (
    History,
    PlannedClip,
    Settings,
    of_shard,
    parse_shard,
    plan_clip,
    work_folder,
    work_key,
)
from jmpose_cli.video.content import input_hash

quick = settings(max_examples=40, deadline=None)

SETTINGS = Settings(
    {"people": {"min_box_score": 0.35, "max_people": None}, "output": {"overlay": True, "formats": ["coco", "csv"]}},
    {"model": {"name": "nano", "sha256": "aa"}, "detector": {"name": "person-nano", "sha256": "bb"}},
)
RESULTS = {"posetrack18.json": b"[1, 2]", "run.json": b"{}"}


class Desk:
    """A video, its results and a journal, and what a user may do to them."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.clip = Clip(folder / "a.mp4", "day 1/a")
        self.clip.path.write_bytes(b"film" * 10)
        self.results = self.out / self.clip.name
        self.entries: list[dict[str, Any]] = []
        self.settings = SETTINGS

    def write_results(self) -> None:
        self.results.mkdir(parents=True, exist_ok=True)
        for name, content in RESULTS.items():
            (self.results / name).write_bytes(content)

    def begun(self, run: str = "r1") -> None:
        settings = {"config": self.settings.config, "weights": self.settings.weights}
        self.entries.append({"event": "run", "run": run, **settings})
        self.entries.append({"event": "begin", "name": self.clip.name, "run": run, **self._origin()})

    def done(self, run: str = "r1") -> None:
        self.begun(run)
        self.write_results()
        files = {name: [len(content), hashlib.sha256(content).hexdigest()] for name, content in RESULTS.items()}
        counts = {"frames": 42, "people": 1, "tracks": 1, "wall_s": 1.5, "stage_s": {}, "notes": []}
        facts = {**counts, "sha256": input_hash(self.clip.path), "files": files}
        self._end("done", run, facts)

    def failed(self, run: str = "r1") -> None:
        self.begun(run)
        self._end("failed", run, {"message": "a.mp4 holds audio only", "hint": ""})

    def _end(self, event: str, run: str, facts: dict[str, Any]) -> None:
        self.entries.append(
            {"event": event, "name": self.clip.name, "run": run, **self._origin(), "input": "a.mp4", **facts}
        )

    def _origin(self) -> dict[str, Any]:
        return {"stamp": input_stamp(self.clip), **asdict(clip_source(self.clip))}

    def take_other(self, content: bytes = b"mlif" * 10) -> None:
        """Give a video of the same name from another folder."""
        path = self.clip.path.parent / "cam 2" / "a.mp4"
        path.parent.mkdir()
        path.write_bytes(content)
        facts = self.clip.path.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        self.clip = replace(self.clip, path=path)

    def move_input(self) -> None:
        path = self.clip.path.parent / "archive" / "a.mp4"
        path.parent.mkdir()
        self.clip = replace(self.clip, path=self.clip.path.rename(path))

    def copy_input(self) -> None:
        """Move it in a way that does not keep the time of change."""
        self.move_input()
        self.touch_input()

    def link_input(self) -> None:
        path = self.clip.path.parent / "other name"
        path.symlink_to(self.clip.path)
        self.clip = replace(self.clip, path=path)

    def kept(self) -> None:
        self.entries.append({"event": "kept", "name": self.clip.name, "run": "r9", **self._origin()})

    def begun_replacing(self) -> None:
        """A run was killed when it had replaced some files of the results."""
        self.begun("r2")
        mark = replacing_mark(work_folder(self.out, self.clip.name))
        mark.parent.mkdir(parents=True)
        mark.touch()

    def replace_input(self) -> None:
        self.clip.path.write_bytes(b"another film")
        os.utime(self.clip.path, ns=(0, 0))

    def extend_input(self) -> None:
        """Change the size, but not the time of change."""
        facts = self.clip.path.stat()
        self.clip.path.write_bytes(b"film" * 20)
        os.utime(self.clip.path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    def touch_input(self) -> None:
        facts = self.clip.path.stat()
        os.utime(self.clip.path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))

    def replace_secretly(self) -> None:
        """Change the content, but neither the size nor the time of change."""
        facts = self.clip.path.stat()
        self.clip.path.write_bytes(b"FILM" * 10)
        os.utime(self.clip.path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    def set(self, section: str, **values: Any) -> None:
        config = {**self.settings.config, section: {**self.settings.config[section], **values}}
        self.settings = replace(self.settings, config=config)

    def other_weights(self, **weights: dict[str, str] | None) -> None:
        self.settings = replace(self.settings, weights={**self.settings.weights, **weights})

    def edit_result(self, content: bytes) -> None:
        (self.results / "posetrack18.json").write_bytes(content)

    def write_record(self) -> None:
        """Leave a truth and a `run.json` that tells what the files were like, as runs of this version do."""
        self.write_results()
        (self.results / TRUTH_FILE).write_bytes(b"{}")
        names = ("posetrack18.json", TRUTH_FILE)
        files = {name: file_facts(self.results / name) for name in names}
        (self.results / "run.json").write_text(json.dumps({"input": str(self.clip.path), "config": {}, "files": files}))

    def correct(self) -> None:
        """Write truth and files anew, and what was said, as `jmpose edit` does."""
        self.write_record()
        (self.results / "posetrack18.json").write_bytes(b"[1, 2, 3]")
        (self.results / TRUTH_FILE).write_bytes(b'{"a": 1}')
        files = {name: file_facts(self.results / name) for name in ("posetrack18.json", TRUTH_FILE)}
        (self.results / "run.json").write_text(json.dumps({"input": str(self.clip.path), "config": {}, "files": files}))
        (self.results / CORRECTIONS_FILE).touch()

    def history(self) -> History:
        history = History()
        history.take_in(json.loads(json.dumps(self.entries)))
        return history

    def plan(self, **options: bool) -> PlannedClip:
        return plan_clip(self.clip, self.history(), out=self.out, settings=self.settings, **options)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


CSV_TOO = {"formats": ["coco", "csv", "posetrack18"]}
NOTHING: dict[str, bool] = {}
OTHER = "{results}: holds the results of {folder}/a.mp4, {input} is another video"
CASES = {
    "new": (lambda d: None, NOTHING, "todo", ""),
    "new, overwrite": (lambda d: None, {"overwrite": True}, "todo", ""),
    "begun, then killed": (lambda d: d.begun(), NOTHING, "todo", ""),
    "begun, then killed with some results": (lambda d: (d.begun(), d.write_results()), NOTHING, "todo", ""),
    "done": (lambda d: d.done(), NOTHING, "done", ""),
    "done, retry failed": (lambda d: d.done(), {"retry_failed": True}, "done", ""),
    "done, hash verified": (lambda d: d.done(), {"verify_hash": True}, "done", ""),
    "done, overwrite": (lambda d: d.done(), {"overwrite": True}, "todo", "--overwrite"),
    "done, then begun again and killed": (lambda d: (d.done(), d.begun("r2")), NOTHING, "done", ""),
    "input replaced": (
        lambda d: (d.done(), d.replace_input()),
        NOTHING,
        "todo",
        "the input has changed (time of change)",
    ),
    "input longer": (lambda d: (d.done(), d.extend_input()), NOTHING, "todo", "the input has changed (size)"),
    "input touched": (
        lambda d: (d.done(), d.touch_input()),
        NOTHING,
        "todo",
        "the input has changed (time of change)",
    ),
    "input touched, hash verified": (lambda d: (d.done(), d.touch_input()), {"verify_hash": True}, "done", ""),
    "input replaced in secret": (lambda d: (d.done(), d.replace_secretly()), NOTHING, "done", ""),
    "input replaced in secret, hash verified": (
        lambda d: (d.done(), d.replace_secretly()),
        {"verify_hash": True},
        "todo",
        "the input's content has changed",
    ),
    "weights changed": (
        lambda d: (d.done(), d.other_weights(model={"name": "small", "sha256": "cc"})),
        NOTHING,
        "todo",
        "other weights: model was nano, is small",
    ),
    "weights of the same content under another name": (
        lambda d: (d.done(), d.other_weights(model={"name": "copy", "sha256": "aa"})),
        NOTHING,
        "done",
        "",
    ),
    "weights gone": (
        lambda d: (d.done(), d.other_weights(detector=None)),
        NOTHING,
        "todo",
        "other weights: detector was person-nano, is none",
    ),
    "weights new": (
        lambda d: (d.done(), d.other_weights(extra={"name": "x", "sha256": "dd"})),
        NOTHING,
        "todo",
        "other weights: extra was none, is x",
    ),
    "a number changed": (
        lambda d: (d.done(), d.set("people", min_box_score=0.5)),
        NOTHING,
        "todo",
        "other settings: people.min_box_score was 0.35, is 0.5",
    ),
    "a limit set": (
        lambda d: (d.done(), d.set("people", max_people=3)),
        NOTHING,
        "todo",
        "other settings: people.max_people was none, is 3",
    ),
    "a switch changed": (
        lambda d: (d.done(), d.set("output", overlay=False)),
        NOTHING,
        "todo",
        "other settings: output.overlay was true, is false",
    ),
    "a list changed": (
        lambda d: (d.done(), d.set("output", formats=["coco"])),
        NOTHING,
        "todo",
        "other settings: output.formats was coco,csv, is coco",
    ),
    "a path changed": (
        lambda d: (d.set("people", boxes="/Data/A.json"), d.done(), d.set("people", boxes="/Data/B.json")),
        NOTHING,
        "todo",
        "other settings: people.boxes was /Data/A.json, is /Data/B.json",
    ),
    "a setting that is new in this version": (
        lambda d: (d.done(), d.set("people", new_one=1)),
        NOTHING,
        "todo",
        "other settings: people.new_one was none, is 1",
    ),
    "settings changed and back": (
        lambda d: (d.done(), d.set("people", max_people=3), d.done("r2"), d.set("people", max_people=None)),
        NOTHING,
        "todo",
        "other settings: people.max_people was 3, is none",
    ),
    "settings of a lost run": (
        lambda d: (d.done(), d.entries.pop(0)),
        NOTHING,
        "todo",
        "the settings that it was made with are not known",
    ),
    "result missing": (
        lambda d: (d.done(), (d.results / "run.json").unlink()),
        NOTHING,
        "todo",
        "run.json is missing",
    ),
    "result edited": (
        lambda d: (d.done(), d.edit_result(b"[1, 2, 3]")),
        NOTHING,
        "edited",
        "{results}: posetrack18.json was changed after jmpose wrote it",
    ),
    "result edited, the size is the same, and nothing is to be replaced": (
        lambda d: (d.done(), d.edit_result(b"[1, 9]")),
        NOTHING,
        "done",
        "",
    ),
    "result edited, the size is the same, settings changed": (
        lambda d: (d.done(), d.edit_result(b"[1, 9]"), d.set("people", max_people=3)),
        NOTHING,
        "edited",
        "{results}: posetrack18.json was changed after jmpose wrote it",
    ),
    "result edited, another one missing": (
        lambda d: (d.done(), d.edit_result(b"[1, 9]"), (d.results / "run.json").unlink()),
        NOTHING,
        "edited",
        "{results}: posetrack18.json was changed after jmpose wrote it",
    ),
    "result edited, input replaced": (
        lambda d: (d.done(), d.edit_result(b"[]"), d.replace_input()),
        NOTHING,
        "edited",
        "{results}: posetrack18.json was changed after jmpose wrote it",
    ),
    "result edited, overwrite": (
        lambda d: (d.done(), d.edit_result(b"[]")),
        {"overwrite": True},
        "todo",
        "--overwrite",
    ),
    "results edited, then the video failed": (
        lambda d: (d.done(), d.edit_result(b"[]"), d.failed("r2")),
        {"retry_failed": True},
        "edited",
        "{results}: posetrack18.json was changed after jmpose wrote it",
    ),
    "results of somebody else": (
        lambda d: d.write_results(),
        NOTHING,
        "refused",
        "{results}: holds results that are not in this folder's journal",
    ),
    "results of somebody else, overwrite": (lambda d: d.write_results(), {"overwrite": True}, "todo", ""),
    "a file of somebody else that is no result": (
        lambda d: (d.results.mkdir(parents=True), (d.results / "notes.txt").touch()),
        NOTHING,
        "todo",
        "",
    ),
    "failed before": (lambda d: d.failed(), NOTHING, "failed", "a.mp4 holds audio only"),
    "failed before, retry": (lambda d: d.failed(), {"retry_failed": True}, "todo", "failed before; --retry-failed"),
    "failed before, overwrite": (lambda d: d.failed(), {"overwrite": True}, "todo", "--overwrite"),
    "failed before, input replaced": (
        lambda d: (d.failed(), d.replace_input()),
        NOTHING,
        "todo",
        "failed before; the input has changed (time of change)",
    ),
    "failed before, settings changed": (
        lambda d: (d.failed(), d.set("people", max_people=3)),
        NOTHING,
        "todo",
        "failed before; other settings: people.max_people was none, is 3",
    ),
    "failed before, hash verified": (
        lambda d: d.failed(),
        {"verify_hash": True},
        "failed",
        "a.mp4 holds audio only",
    ),
    "failed, then done": (lambda d: (d.failed(), d.done("r2")), NOTHING, "done", ""),
    "done, then failed": (lambda d: (d.done(), d.failed("r2")), NOTHING, "failed", "a.mp4 holds audio only"),
    "failed with other settings, and those of the results are back": (
        lambda d: (d.done(), d.set("people", max_people=3), d.failed("r2"), d.set("people", max_people=None)),
        NOTHING,
        "done",
        "",
    ),
    "failed with other settings, those of the results are back, retry": (
        lambda d: (d.done(), d.set("people", max_people=3), d.failed("r2"), d.set("people", max_people=None)),
        {"retry_failed": True},
        "done",
        "",
    ),
    "failed with other settings, and again with these": (
        lambda d: (d.done(), d.set("people", max_people=3), d.failed("r2")),
        NOTHING,
        "failed",
        "a.mp4 holds audio only",
    ),
    "killed while results were replaced": (
        lambda d: (d.done(), d.begun_replacing(), d.edit_result(b"[]")),
        NOTHING,
        "todo",
        "posetrack18.json is missing",
    ),
    "another video": (lambda d: (d.done(), d.take_other()), NOTHING, "refused", OTHER),
    "another video of another length": (lambda d: (d.done(), d.take_other(b"x")), NOTHING, "refused", OTHER),
    "another video, other settings": (
        lambda d: (d.done(), d.set("people", max_people=3), d.take_other()),
        NOTHING,
        "refused",
        OTHER,
    ),
    "another video, hash verified": (
        lambda d: (d.done(), d.take_other()),
        {"verify_hash": True},
        "refused",
        OTHER,
    ),
    "another video, after it failed there once": (
        lambda d: (d.done(), d.take_other(), d.failed("r2")),
        {"retry_failed": True},
        "refused",
        OTHER,
    ),
    "another video, overwrite": (
        lambda d: (d.done(), d.take_other()),
        {"overwrite": True},
        "todo",
        "--overwrite, in place of {folder}/a.mp4",
    ),
    "another video, of which nothing is finished": (
        lambda d: (d.begun(), d.take_other(b"x")),
        NOTHING,
        "refused",
        OTHER,
    ),
    "another video, which failed": (lambda d: (d.failed(), d.take_other()), NOTHING, "todo", ""),
    "moved": (lambda d: (d.done(), d.move_input()), NOTHING, "done", ""),
    "moved, begun only": (lambda d: (d.begun(), d.move_input()), NOTHING, "todo", ""),
    "moved, and its time of change was not kept": (lambda d: (d.done(), d.copy_input()), NOTHING, "done", ""),
    "moved, other settings": (
        lambda d: (d.done(), d.move_input(), d.set("people", max_people=3)),
        NOTHING,
        "todo",
        "other settings: people.max_people was none, is 3",
    ),
    "moved, then replaced": (
        lambda d: (d.done(), d.move_input(), d.kept(), d.replace_input()),
        NOTHING,
        "todo",
        "the input has changed (time of change)",
    ),
    "by a link": (lambda d: (d.done(), d.link_input()), NOTHING, "done", ""),
    "input gone": (
        lambda d: (d.done(), d.clip.path.unlink()),
        NOTHING,
        "unreadable",
        "{input}: cannot be read (No such file or directory)",
    ),
    "other output settings": (
        lambda d: (d.done(), d.write_record(), d.set("output", **CSV_TOO)),
        NOTHING,
        "render",
        "other settings: output.formats was coco,csv, is coco,csv,posetrack18",
    ),
    "other output settings, of a version that left no facts": (
        lambda d: (d.done(), d.set("output", **CSV_TOO)),
        NOTHING,
        "todo",
        "other settings: output.formats was coco,csv, is coco,csv,posetrack18",
    ),
    "other output settings and another input": (
        lambda d: (d.done(), d.write_record(), d.set("output", **CSV_TOO), d.replace_input()),
        NOTHING,
        "todo",
        "other settings: output.formats was coco,csv, is coco,csv,posetrack18",
    ),
    "other output settings, truth edited by hand": (
        lambda d: (d.done(), d.write_record(), d.set("output", **CSV_TOO), (d.results / TRUTH_FILE).write_bytes(b"[]")),
        NOTHING,
        "edited",
        "{results}: keypoints.coco.json was changed after jmpose wrote it",
    ),
    "corrected": (lambda d: (d.done(), d.correct()), NOTHING, "edited", "{results}: holds corrections"),
    "corrected, other output settings": (
        lambda d: (d.done(), d.correct(), d.set("output", **CSV_TOO)),
        NOTHING,
        "render",
        "other settings: output.formats was coco,csv, is coco,csv,posetrack18",
    ),
    "corrected, other people settings": (
        lambda d: (d.done(), d.correct(), d.set("people", max_people=2)),
        NOTHING,
        "edited",
        "{results}: holds corrections",
    ),
    "corrected, then killed while it was replaced": (
        lambda d: (d.done(), d.correct(), d.begun_replacing(), d.edit_result(b"[4, 5, 6, 7]")),
        NOTHING,
        "todo",
        "posetrack18.json is missing",
    ),
    "corrected, overwrite": (lambda d: (d.done(), d.correct()), {"overwrite": True}, "todo", "--overwrite"),
    "input gone, overwrite": (
        lambda d: (d.done(), d.clip.path.unlink()),
        {"overwrite": True},
        "unreadable",
        "{input}: cannot be read (No such file or directory)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_happens_to_a_video(desk, case):
    prepare, options, state, reason = CASES[case]
    folder = desk.clip.path.parent
    prepare(desk)
    planned = desk.plan(**options)
    shown = reason.format(results=desk.results, input=desk.clip.path, folder=folder)
    assert (planned.state, planned.reason) == (state, shown)
    assert planned.clip == desk.clip
    own = [entry for entry in desk.entries if entry["event"] in ("done", "failed")]
    assert planned.entry == (own[-1] if own else None)
    assert bool(planned.hint) == (state in ("failed", "refused", "edited"))
    if state != "unreadable":
        assert planned.stamp == input_stamp(desk.clip)


def test_hints_name_the_option_that_helps(desk):
    desk.failed()
    assert "--retry-failed" in desk.plan().hint
    desk.done("r2")
    desk.edit_result(b"[]")
    assert "--overwrite" in desk.plan().hint and "--out" in desk.plan().hint


def test_what_was_found_out_is_said_once(desk):
    """A video that was moved is not hashed by every run, nor does a failure with other settings come back."""
    desk.done()
    assert not desk.plan().is_unrecorded
    desk.copy_input()
    assert desk.plan().is_unrecorded
    desk.kept()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "input_hash", lambda path: pytest.fail("it is known"))
        assert desk.plan().state == "done" and not desk.plan().is_unrecorded
    desk.set("people", max_people=3)
    desk.failed("r2")
    desk.set("people", max_people=None)
    assert desk.plan().state == "done" and desk.plan().is_unrecorded
    desk.kept()
    assert not desk.plan().is_unrecorded and desk.history().last[desk.clip.name]["event"] == "done"


def test_an_address_with_another_token_is_the_same_video(desk, monkeypatch):
    marks = {"size": 3, "ETag": "x"}
    monkeypatch.setattr(plan, "input_stamp", lambda clip, storage: dict(marks))
    desk.done()
    desk.entries[-1] |= {"stamp": dict(marks), "source": "https://h/a.mp4?token=1", "real": "https://h/a.mp4?token=1"}
    desk.clip = replace(desk.clip, url="https://h/a.mp4?token=2")
    assert desk.plan().state == "done"
    marks["ETag"] = "y"
    assert desk.plan().state == "refused" and "https://h/a.mp4?token=1" in desk.plan().reason
    del marks["ETag"], desk.entries[-1]["stamp"]["ETag"]
    assert desk.plan().state == "refused"  # the size alone says nothing


def test_journals_that_do_not_say_where_a_video_was(desk):
    desk.done()
    for entry in desk.entries:
        entry.pop("source", None), entry.pop("real", None)
    assert desk.plan().state == "done"
    desk.entries[-1]["input"] = "cam1/a.mp4"  # as it was named
    assert desk.plan().state == "done"
    desk.replace_input()
    assert desk.plan().state == "refused" and "cam1/a.mp4" in desk.plan().reason


@pytest.mark.parametrize("odd", [{}, {"source": ["x"], "real": {}, "stamp": []}, {"source": None, "stamp": 3}])
def test_entries_that_lack_what_they_should_have_are_no_accident(desk, odd):
    desk.begun()
    for key in ("source", "real", "stamp"):
        desk.entries[-1].pop(key)
    desk.entries[-1] |= odd
    assert desk.plan().state == ("refused" if odd else "todo")
    desk.done("r2")
    desk.entries.append({"event": "kept", "name": desk.clip.name, "run": "r3", **odd})
    assert desk.plan().state == ("done" if odd else "todo")


def test_a_done_video_tells_its_frames(desk):
    desk.done()
    assert desk.plan().frames == 42


def test_a_video_with_a_problem_is_not_even_looked_at(desk):
    desk.clip = Clip(desk.clip.path / "none", "x", problem="list.txt, line 3: no such file")
    for options in (NOTHING, {"overwrite": True}):
        planned = desk.plan(**options)
        assert (planned.state, planned.reason) == ("unreadable", "list.txt, line 3: no such file")


def test_an_address_that_cannot_be_reached_fails_alone(desk, monkeypatch):
    def fail(clip: Clip, storage: object) -> None:
        raise JmposeError(f"{clip.url}: cannot be read (timeout)", hint="check the address")

    monkeypatch.setattr(plan, "input_stamp", fail)
    desk.clip = Clip(Path("bucket/a.mp4"), "a", url="s3://bucket/a.mp4")
    planned = desk.plan()
    assert planned.state == "unreadable" and planned.hint == "check the address"
    assert planned.reason == "s3://bucket/a.mp4: cannot be read (timeout)"


def test_an_input_that_cannot_be_hashed_fails_alone(desk, monkeypatch):
    def fail(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    desk.done()
    monkeypatch.setattr(plan, "input_hash", fail)
    planned = desk.plan(verify_hash=True)
    assert planned.state == "unreadable" and "Permission denied" in planned.reason


def test_an_address_is_compared_by_its_marks_even_when_hashes_are_asked_for(desk, monkeypatch):
    marks = {"size": 3, "ETag": "x"}
    monkeypatch.setattr(plan, "input_stamp", lambda clip, storage: dict(marks))
    desk.done()
    desk.clip = replace(desk.clip, url="s3://bucket/a.mp4")
    desk.entries[-1] |= {"stamp": dict(marks), **asdict(clip_source(desk.clip))}
    monkeypatch.setattr(plan, "input_hash", lambda path: pytest.fail("nothing is to be fetched"))
    assert desk.plan(verify_hash=True).state == "done"
    marks["ETag"] = "y"
    planned = desk.plan(verify_hash=True)
    assert (planned.state, planned.reason) == ("todo", "the input has changed (ETag)")


def test_results_of_several_runs_are_judged_by_the_last(desk):
    desk.done("r1")
    desk.set("people", max_people=3)
    desk.done("r2")
    assert desk.plan().state == "done"


def test_a_video_of_another_name_is_another_video(desk):
    desk.done()
    desk.clip = replace(desk.clip, name="day 2/a")
    assert (desk.plan().state, desk.plan().reason) == ("todo", "")


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["decode.frames=[5, null]", "decode.time=[0.1, 2]"],
        ["people.lost_after_s=1e-7", "pose.smooth=true"],
        ["people.boxes=/Data/Boxes ž.json"],
        ["people.lost_after_s=.inf"],
    ],
)
def test_the_same_settings_are_the_same_after_the_journal(desk, tmp_path, assignments):
    config = build_config(file=None, assignments=assignments, options={}).of_results()
    desk.settings = Settings(config, SETTINGS.weights)
    desk.done()
    journal, history = Journal(tmp_path / "journal.jsonl"), History()
    for entry in desk.entries:
        journal.add(**entry)
    history.take_in(journal.news())
    journal.close()
    planned = plan_clip(desk.clip, history, out=desk.out, settings=desk.settings)
    assert (planned.state, planned.reason) == ("done", "")


def test_news_are_taken_in_piece_by_piece(desk):
    desk.failed()
    desk.done("r2")
    history = History()
    states = []
    for entry in desk.entries:
        history.take_in([entry])
        states.append(plan_clip(desk.clip, history, out=desk.out, settings=desk.settings).state)
    assert states == ["refused", "todo", "failed", "failed", "failed", "done"]
    assert not history.is_open(desk.clip.name) and history.is_open("other")


def clips_of(count: int) -> list[Clip]:
    return [Clip(Path(f"{number}.mp4"), f"v{number * 7919 % 101:03}") for number in range(count)]


@quick
@given(st.integers(0, 100), st.integers(1, 30), st.randoms())
def test_parts_are_disjoint_and_complete_whatever_the_order(count, parts, random):
    clips = clips_of(count)
    names = []
    for number in range(1, parts + 1):
        random.shuffle(clips)  # each machine lists its inputs in its own order
        names.append([clip.name for clip in of_shard(clips, (number, parts))])
    assert sorted(name for part in names for name in part) == sorted(clip.name for clip in clips)
    assert max(map(len, names)) - min(map(len, names)) <= 1


def test_without_parts_the_order_is_kept():
    clips = clips_of(9)
    assert of_shard(clips, None) == clips


@pytest.mark.parametrize(
    ("text", "part"), [(None, None), ("1/1", (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8)), ("010/12", (10, 12))]
)
def test_a_part_is_read(text, part):
    assert parse_shard(text) == part


@pytest.mark.parametrize(
    "text", ["", "/", "1", "1/", "/2", "0/3", "4/3", "0/0", "-1/3", "1/-3", "1.0/2", "1/2/3", "a/b", "1 / 2", "²/3"]
)
def test_what_is_no_part_is_refused(text):
    with pytest.raises(JmposeError, match="not a part") as caught:
        parse_shard(text)
    assert "2/8" in caught.value.hint


@quick
@given(st.text(min_size=1))
@example("..")
@example("a" * 5000)
@example("视频" * 100)
@example("\U0001d5d5" * 100)  # letters of four bytes, as in fancy titles
def test_a_work_key_is_a_short_plain_file_name(name):
    key = work_key(name)
    assert len(f"{key}.claim".encode()) <= 255
    assert not {"/", "\\", "\0", "\n", " "} & set(key)
    assert not key.startswith(".")
    assert work_key(name) == key


def test_a_name_that_is_no_utf8_has_a_work_key():
    """Linux has such file names: old archives, memory cards of cameras."""
    assert work_key(os.fsdecode(b"caf\xe9")) != work_key(os.fsdecode(b"caf\xe8"))


@quick
@given(st.sets(st.text("ab/._ \\AB", min_size=1, max_size=8), max_size=20))
@example({"a/b", "a_b", "a b", "A/b", "a//b", ".a/b", "..a/b"})
@example({"x" * 100 + "y" * 60, "z" * 100 + "y" * 60})
def test_work_keys_differ_where_names_do(names):
    assert len({work_key(name).casefold() for name in names}) == len(names)


def test_a_work_key_can_be_recognised():
    assert work_key("day 1/street").startswith("day_1_street-")


@pytest.mark.parametrize(
    ("claimed", "frames", "time", "expected"),
    [
        (100, None, None, 100),
        (None, None, None, None),
        (100, (10, 30), None, 20),
        (100, (None, 30), None, 30),
        (100, (10, None), None, 90),
        (100, (90, 200), None, 10),
        (100, (100, 200), None, 0),
        (100, (150, 200), None, 0),
        (None, (10, 30), None, 20),
        (None, (None, 30), None, 30),
        (None, (10, None), None, None),
        (100, None, (1.0, 3.0), 50),
        (100, None, (None, 3.0), 75),
        (100, None, (None, 60.0), 100),
        (None, None, (1.0, 3.0), 50),
        (100, (10, 30), (None, 1.0), 15),
        (None, (10, None), (None, 1.0), 15),
        (100, (40, 60), (None, 1.0), 0),
    ],
)
def test_frames_in_range_at_25_a_second(claimed, frames, time, expected):
    assert frames_in_range(claimed, 25.0, DecodeConfig(frames=frames, time=time)) == expected
    if claimed is not None:
        assert frames_in_range(claimed, None, DecodeConfig(frames=frames, time=time)) == expected
        assert frames_in_range(claimed, None, DecodeConfig(frames=frames, time=time, fps=25)) == expected


def test_the_rate_given_counts_where_the_file_has_none():
    assert frames_in_range(None, None, DecodeConfig(time=(1, 3), fps=10)) == 20
    assert frames_in_range(None, 50.0, DecodeConfig(time=(1, 3), fps=10)) == 100
