"""The server of the review page: what it tells, what it does to a clip, and when that is on the disk."""

import json
import os
import shutil
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from jmpose_cli.clips.check import suspects
from jmpose_cli.clips.check_report import check_clip
from jmpose_cli.clips.corrections import Corrections, state_of
from jmpose_cli.clips.dismissals import still_suspicious
from jmpose_cli.clips.edit import edit_clip
from jmpose_cli.clips.layout import TRUTH_FILE
from jmpose_cli.console import Reporter
from jmpose_cli.formats.truth import read_truth, write_truth
from jmpose_cli.review import opening
from jmpose_cli.video.content import facts_of
from tests.clips.clip_assets import FIRST, FRAMES, TRACKS
from tests.clips.walkers import Walker, moved, walk
from tests.review.page_client import HOST, MINE, TOKEN, Page, client_of, make_folder, make_review
from tests.video_assets import make_video, read_number

NOSE = {"nose": [100.5, 50.25, 2]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("made"))


@pytest.fixture
def clip(made, tmp_path):
    """A review of a copy of the clip."""
    folder = shutil.copytree(made[0], tmp_path / "clip")
    review = make_review(folder, made[1])
    yield review
    review.close()


@pytest.fixture
def page(clip):
    return Page(client_of(clip))


def test_a_clip_is_told_with_its_tracks(page):
    assert page.get("") == [{"number": 0, "name": "clip"}]
    told = page.get("/0")
    assert told["frames"] == [[FIRST, FIRST + FRAMES - 1]] and (told["width"], told["height"]) == (640, 360)
    present = {lane["id"]: lane["present"] for lane in told["lanes"]}
    assert present == {track: [[frames.start, frames.stop - 1]] for track, frames in TRACKS.items()}
    assert len(told["joints"]) == 19 and told["undo"] is None


def test_poses_are_those_of_the_truth(page, clip):
    truth = read_truth(clip.folder)
    frames = page.get("/0/poses?first=4&end=7")["frames"]
    assert [frame["n"] for frame in frames] == [4, 5, 6]
    rows = truth.of_frame(2)
    assert [person["id"] for person in frames[0]["people"]] == truth.track_ids[rows].tolist()
    assert np.allclose([person["xy"] for person in frames[0]["people"]], truth.xy[rows])
    assert "512 frames" in page.get("/0/poses?first=0&end=9999", 422)["hint"]


def test_frames_are_exactly_those_asked_for(page):
    for number in (9, 2, 13, 3):
        data = page.get(f"/0/frames/{number}")
        assert read_number(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]) == number
    assert page.get("/0/frames/99", 422)["error"] == "there is no frame 99"


def test_actions_are_on_the_disk_before_they_are_answered(page, clip):
    answer = page.do({"op": "set_joints", "track": 1, "frame": 5, "joints": NOSE})
    assert answer["frames"] == [[5, 5]] and answer["undo"] == "set 1 joints of 1@5"
    assert len((clip.folder / "corrections.jsonl").read_text().splitlines()) == 2  # as if it were killed now
    assert page.get("/0/poses?first=5&end=6")["frames"][0]["people"][0]["xy"][0] == [100.5, 50.25]
    clip.close()
    assert state_of(clip.folder) == "behind"
    with Corrections(clip.folder) as corrections:
        assert len(corrections.done) == 1


def test_it_is_the_same_as_by_commands(page, clip, made, tmp_path):
    page.do({"op": "merge", "tracks": [3, 7]})
    page.do({"op": "swap", "tracks": [1, 8], "frames": [6, None]}, {"op": "review", "frames": [2, 4]})
    assert page.post("render")["notes"] == []
    other = shutil.copytree(made[0], tmp_path / "other")
    edit_clip(other, [("merge", "3,7")], reporter=Reporter(quiet=True))
    edit_clip(other, [("swap", "1,8@6:"), ("review", "2:4")], reporter=Reporter(quiet=True))
    assert (clip.folder / TRUTH_FILE).read_bytes() == (other / TRUTH_FILE).read_bytes()


def test_undo_and_redo_also_after_a_restart(page, clip):
    before = page.get("/0")["lanes"]
    page.do({"op": "delete", "track": 3})
    clip.close()
    page.revision = 1
    assert page.post("undo")["lanes"] == [lane for lane in before if lane["id"] == 3]
    answer = page.post("redo")
    assert answer["gone"] == [3] and answer["redo"] is None
    assert "nothing to redo" in page.post("redo", 422)["hint"]


def test_a_second_window_is_told_what_the_first_has_done(page, clip):
    other = Page(client_of(clip))
    page.do({"op": "delete", "track": 8, "frames": [10, 12]})
    assert "another window" in other.do({"op": "delete", "track": 1}, expect=409)["error"]
    seen = other.get("/0/changes?since=1")
    assert (seen["revision"], seen["frames"]) == (2, [[10, 11]])
    assert other.get("/0/changes?since=2")["frames"] == [] and other.get("/0/changes?since=0")["frames"] is None


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"op": "delete", "track": 99}, "there is no track 99"),
        ({"op": "delete", "track": "3"}, "not an operation: delete.track: Input should be a valid integer"),
        ({"op": "open", "path": "/etc/passwd"}, "not an operation"),
        ({"op": "set_joints", "track": 1, "frame": 5, "joints": {"nose": [1e99, 0, 2]}}, "not an operation"),
        ([], "not an operation"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(page, clip, operation, said):
    assert said in page.do(operation, expect=422)["error"]
    assert page.get("/0/changes?since=1")["frames"] == []


@pytest.mark.parametrize("body", ["", "[]", "{", '{"revision": 1}', '{"revision": "1", "operations": [{}]}'])
def test_bodies_that_are_no_actions(page, body):
    headers = MINE | {"content-type": "application/json"}
    assert page.client.post("/api/clips/0/operations", content=body, headers=headers).status_code == 422


def test_a_truth_that_another_program_changes_is_left_alone(page, clip):
    page.do({"op": "delete", "track": 3})
    path = clip.folder / TRUTH_FILE
    path.write_bytes(path.read_bytes() + b"\n")
    changed = path.read_bytes()
    assert "another program" in page.do({"op": "delete", "track": 8}, expect=422)["error"]
    assert "another program" in page.post("render", 422)["error"]
    assert path.read_bytes() == changed
    clip.close()
    assert "--accept-edits" in page.get("/0", 422)["hint"]


def test_a_clip_that_another_process_corrects(page, clip):
    with Corrections(clip.folder):
        assert "is correcting this clip" in page.get("/0", 422)["error"]
    page.get("/0")


def test_a_video_that_was_moved(clip, made):
    lost = make_review(clip.folder, made[1].with_name("gone.mp4"))
    page = Page(client_of(lost))
    answer = page.get("/0/frames/3", 422)
    assert "gone.mp4: the video is not there" in answer["error"] and "--video" in answer["hint"]
    assert str(made[1].parent) in answer["error"]  # where it was looked for
    assert page.get("/0/poses?first=3&end=4")["frames"][0]["people"]
    lost.close()


@pytest.mark.parametrize(
    ("size", "frames", "said"),
    [
        ((320, 180), 16, "has frames of 320x180, the poses are of a video with 640x360"),
        ((640, 360), 15, "has 15 frames"),
    ],
)
def test_a_video_that_was_changed(clip, tmp_path, size, frames, said):
    make_video(tmp_path / "other.mp4", frames=frames, size=size)
    record = {"input": str(tmp_path / "other.mp4"), "config": {}, "video": {"frames_claimed": 16}}
    (clip.folder / "run.json").write_text(json.dumps(record))
    changed = make_review(clip.folder, None)
    page = Page(client_of(changed))
    answer = page.get("/0/frames/3", 422)
    assert said in answer["error"] and "--video" in answer["hint"]
    assert page.do({"op": "delete", "track": 3})["steps"] == 1  # poses can be corrected all the same
    changed.close()


def test_a_video_that_was_changed_and_looks_the_same(clip, made, tmp_path):
    video = shutil.copy(made[1], tmp_path / "video.mp4")
    record = {"input": str(video), "config": {}, "input_facts": facts_of(video)}
    (clip.folder / "run.json").write_text(json.dumps(record))
    data = bytearray(video.read_bytes())
    os.utime(video, ns=(0, 0))
    copied = make_review(clip.folder, None)
    Page(client_of(copied)).get("/0/frames/3")  # the content is the same
    copied.close()
    data[-1] ^= 1
    video.write_bytes(data)
    changed = make_review(clip.folder, None)
    answer = Page(client_of(changed)).get("/0/frames/3", 422)
    assert "its content has changed" in answer["error"] and "--video" in answer["hint"]
    changed.close()
    named = make_review(clip.folder, video)
    Page(client_of(named)).get("/0/frames/3")
    named.close()


def test_frames_that_cannot_be_decoded(clip, made, tmp_path):
    data = bytearray(made[1].read_bytes())
    begin = data.index(b"mdat") + 4
    middle = begin + (len(data) - begin) * 2 // 5
    data[middle : middle + len(data) // 5] = bytes(len(data) // 5)
    (tmp_path / "damaged.mp4").write_bytes(data)
    damaged = make_review(clip.folder, tmp_path / "damaged.mp4")
    page = Page(client_of(damaged))
    answers = {n: page.client.get(f"/api/clips/0/frames/{n}", headers=MINE) for n in range(FIRST, FIRST + FRAMES)}
    assert {answer.status_code for answer in answers.values()} <= {200, 422} and answers[FIRST].status_code == 200
    assert all(answer.json()["error"] for answer in answers.values() if answer.status_code == 422)
    assert page.do({"op": "delete", "track": 3})["steps"] == 1  # it goes on
    damaged.close()


def looked_at(page):
    """The suspects when all of the clip has been looked at."""
    deadline = time.monotonic() + 60
    while not (told := page.get("/0/suspects"))["is_all"] and time.monotonic() < deadline:
        time.sleep(0.05)
    return told


def test_suspects_are_those_of_the_check(page):
    told = looked_at(page)
    assert told["revision"] == 1 and {"kind", "reason", "at", "tracks", "try"} <= told["suspects"][0].keys()


def test_the_worst_suspects_are_told_and_how_many_there_are(page):
    every = looked_at(page)
    worst = page.get("/0/suspects?most=1")
    assert len(every["suspects"]) == every["total"] == worst["total"] > 1
    assert worst["suspects"] == every["suspects"][:1] and worst["is_all"]


def test_how_far_clips_are_is_told_without_a_look_at_their_truths(page, clip):
    config = {"decode": {"frames": [FIRST, None]}, "output": {"overlay": False}}
    (clip.folder / "run.json").write_text(json.dumps({"input": "lost.mp4", "frames": FRAMES, "config": config}))
    assert page.get("/progress") == [{"frames": FRAMES, "reviewed": 0, "suspects": None}] and not clip.is_open
    page.do({"op": "review", "frames": [None, 6]})
    page.do({"op": "review", "frames": [4, 5], "reviewed": False})
    page.do({"op": "review"})
    page.post("undo")
    count = looked_at(page)["total"]
    known = {"frames": FRAMES, "reviewed": 3, "suspects": count}
    assert page.get("/progress") == [known]
    page.post("render")
    clip.close()
    assert page.get("/progress") == [known | {"suspects": None}] and not clip.is_open
    check_clip(clip.folder)
    assert page.get("/progress") == [known]
    check_clip(clip.folder, kinds=["jump"])  # not all that there are
    assert page.get("/progress") == [known | {"suspects": None}]
    (clip.folder / "corrections.jsonl").write_bytes(b"0 nothing\n")
    assert page.get("/progress") == [{"frames": FRAMES, "reviewed": None, "suspects": None}]


def test_a_large_truth_is_parsed_by_a_process_of_its_own(page, clip, monkeypatch, tmp_path):
    monkeypatch.setattr("jmpose_cli.clips.parsed_truth.LEAST_BYTES", 1)
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    began = []
    ended = SimpleNamespace(returncode=-9)
    monkeypatch.setattr(opening.subprocess, "run", lambda words, **_: began.append(words) or ended)
    assert "ended by signal 9" in page.get("/0", 422)["error"]
    assert began[0][-2:] == ["jmpose_cli.review.opening", str(clip.folder)]
    with Corrections(clip.folder):  # what the process does
        pass
    assert page.get("/0")["name"] == "clip" and len(began) == 1


def test_suspects_come_with_what_mends_them(page, clip):
    leap = looked_at(page)["suspects"][0]
    assert leap["try"] == "--split 8@9" and leap["fix"] == [{"op": "split", "track": 8, "frame": 9}]
    page.do(*leap["fix"])
    assert leap["reason"] not in {one["reason"] for one in looked_at(page)["suspects"]}


def test_what_is_right_is_told_no_more_also_by_the_check(page, clip):
    one = looked_at(page)["suspects"][0]
    tracks, at = one["tracks"], one["at"]
    page.do({"op": "dismiss", "kind": one["kind"], "tracks": tracks, "frames": [at, at + 1]})
    assert (one["kind"], tuple(tracks), at) not in {
        (other["kind"], tuple(other["tracks"]), other["at"]) for other in looked_at(page)["suspects"]
    }
    answer = page.do({"op": "dismiss", "tracks": [1, 3, 7, 8]})
    assert answer["right"] == [1, 3, 7, 8] and looked_at(page)["suspects"] == []
    page.post("render")
    assert check_clip(clip.folder)[1] == []
    assert page.post("undo")["right"] == []


def test_suspects_of_a_kind_are_mended_at_once(page, clip):
    before = page.get("/0")["lanes"]
    answer = page.post("fix", kind="shared")
    assert answer["steps"] == 1 and len(page.get("/0")["lanes"]) == len(before) + 5
    page.post("undo")
    assert page.get("/0")["lanes"] == before
    assert "nothing to do" in page.post("fix", 422, kind="limb")["error"]
    assert "there is no kind" in page.post("fix", 422, kind=["gap"])["error"]


def test_the_model_is_asked_for_a_pose(page, clip):
    box = [30, 20, 110, 160]
    found = page.post("estimate", frame=4, box=box, track=3)["operation"]
    assert (found["op"], found["track"], found["box"]) == ("estimated", 3, box) and len(found["joints"]) == 19
    assert page.get("/0/changes?since=1")["frames"] == []  # only told
    page.do(found, {"op": "review", "frames": [4, 5]})
    (person,) = [one for one in page.get("/0/poses?first=4&end=5")["frames"][0]["people"] if one["id"] == 3]
    # Thousandths become hundredths, in single precision: a tie may go either way.
    assert person["xy"][0] == pytest.approx(found["joints"]["nose"][:2], abs=0.0051) and set(person["src"]) == {0}
    for wrong, said in (({"frame": 99, "box": box}, "no frame 99"), ({"frame": 4, "box": [1, 2, 1, 5]}, "empty")):
        assert said in page.post("estimate", 422, **wrong)["error"]
    assert "not a box of a frame: box" in page.post("estimate", 422, frame=4)["error"]


def test_an_action_is_answered_with_what_it_has_changed(page, clip):
    before = {lane["id"]: lane for lane in page.get("/0")["lanes"]}
    answer = page.do({"op": "set_joints", "track": 1, "frame": 5, "joints": NOSE})
    (lane,) = answer["lanes"]
    assert lane == before[1] | {"corrected": [[5, 5]]} and answer["gone"] == []
    assert page.do({"op": "review", "frames": [2, 4]})["lanes"] == []
    answer = page.do({"op": "merge", "tracks": [3, 7]})
    assert answer["gone"] == [7] and [lane["present"] for lane in answer["lanes"]] == [[[2, 7], [9, 13]]]
    assert answer["frames"] == [[9, 13]]
    told = page.get("/0/changes?since=2")
    assert (told["frames"], told["gone"], told["lanes"]) == ([[2, 3], [9, 13]], [7], answer["lanes"])
    assert page.get("/0/changes?since=4")["lanes"] == []
    wanted = {track: one for track, one in before.items() if track != 7} | {1: lane, 3: answer["lanes"][0]}
    clip.close()
    assert {one["id"]: one for one in page.get("/0")["lanes"]} == wanted


def test_the_frame_that_is_looked_at_is_answered_with_the_action(page):
    answer = page.post("operations", operations=[{"op": "delete", "track": 3}], frame=FIRST + 4)
    assert answer["here"] == page.get(f"/0/poses?first={FIRST + 4}&end={FIRST + 5}")["frames"]
    assert 3 not in {person["id"] for person in answer["here"][0]["people"]}
    assert 3 in {person["id"] for person in page.post("undo", frame=FIRST + 4)["here"][0]["people"]}


def test_suspects_follow_the_corrections(tmp_path, monkeypatch):
    monkeypatch.setattr("jmpose_cli.review.clip.LONGEST_LOOK_S", 60.0)
    walkers = (
        Walker(1, 200),
        Walker(2, 500, speed=-60),
        Walker(5, 700, frames=(0, 40)),
        Walker(6, 700, frames=(46, 100)),
    )
    write_truth(moved(walk(*walkers), 1, [30, 60], ["left_wrist"], (160.0, -80.0)), tmp_path / TRUTH_FILE)
    review = make_review(tmp_path, None)
    page = Page(client_of(review))
    steps = [
        {"op": "set_joints", "track": 2, "frame": 70, "joints": {"nose": [5, 5, 2], "left_knee": [900, 5, 2]}},
        {"op": "merge", "tracks": [5, 6]},
        {"op": "review", "frames": [55, 65]},
        {"op": "swap", "tracks": [1, 2], "frames": [80, None]},
        {"op": "delete", "track": 5},
    ]
    assert {one["kind"] for one in looked_at(page)["suspects"]} >= {"jump", "gap"}
    for operation in steps:
        page.do(operation)
        told = looked_at(page)
        wanted = still_suspicious(suspects(review._open.corrections.truth), review._open.corrections.done)
        assert told["is_all"] and told["total"] == len(wanted)
        assert [one | {"fix": 0} for one in told["suspects"]] == [one.as_json() | {"fix": 0} for one in wanted]
    review.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"x-jmpose-token": "wrong"}, 403),
        ({"cookie": f"jmpose-review-8000={TOKEN}"}, 200),
        ({"cookie": f"jmpose-review-8001={TOKEN}"}, 403),
        (MINE, 200),
        (MINE | {"origin": "http://evil.example"}, 403),
        (MINE | {"origin": "null"}, 403),
        (MINE | {"host": "evil.example"}, 403),
        (MINE | {"host": "192.168.1.2:8000", "origin": "http://192.168.1.2:8000"}, 403),
        (MINE | {"sec-fetch-site": "cross-site"}, 403),
        (MINE | {"host": "localhost:9000", "origin": "http://localhost:9000"}, 200),  # through a tunnel
    ],
)
def test_who_is_answered(page, headers, status):
    assert page.client.get("/api/clips", headers=headers).status_code == status


def test_actions_need_the_origin_and_json(page):
    body = {"content": json.dumps({"revision": 1}), "headers": {"x-jmpose-token": TOKEN}}
    assert page.client.post("/api/clips/0/undo", **body).status_code == 403
    body["headers"] |= {"origin": f"http://{HOST}", "content-type": "text/plain"}
    assert page.client.post("/api/clips/0/undo", **body).status_code == 415
    body["content"] = b" " * (2**20 + 1)
    body["headers"] |= {"content-type": "application/json"}
    assert page.client.post("/api/clips/0/undo", **body).status_code == 413


def test_the_first_load_gives_the_cookie_and_strict_headers(page):
    assert page.client.get("/").status_code == 403
    assert page.client.get("/?token=wrong").status_code == 403
    answer = page.client.get(f"/?token={TOKEN}", headers={"sec-fetch-site": "cross-site"})  # a link in a notebook
    assert answer.status_code == 200 and "<html" in answer.text
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert page.client.get("/api/clips").status_code == 200  # the client has kept the cookie


@pytest.mark.parametrize("path", ["/page/../clip.py", "/page/..%2fclip.py", "/page/%2fetc%2fpasswd", "/page/none.js"])
def test_no_path_reaches_a_file(page, path):
    assert page.client.get(path, headers=MINE).status_code == 404


def test_with_an_open_host_addresses_are_its_own(clip):
    headers = MINE | {"host": "192.168.1.2:8000", "origin": "http://192.168.1.2:8000"}
    assert client_of(clip, is_open=True).get("/api/clips", headers=headers).status_code == 200
    headers = MINE | {"host": "evil.example", "origin": "http://evil.example"}
    assert client_of(clip, is_open=True).get("/api/clips", headers=headers).status_code == 403


def test_all_of_a_short_clip_is_read_ahead_also_what_lies_before(page, clip):
    page.get("/0/frames/11")
    cache = clip._open.frames
    deadline = time.monotonic() + 60
    while len(cache._images) < FIRST + FRAMES and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(cache._images) >= set(range(FIRST, FIRST + FRAMES))
    assert read_number(cv2.imdecode(np.frombuffer(cache.image(2), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]) == 2


def test_frames_that_may_be_asked_for_soon(page, clip):
    page.post("soon", frames=[9, 5, 11, 3, 2])
    assert clip._open.frames._soon == (9, 5, 11, 3)
    assert "not a list of numbers" in page.post("soon", 422, frames=["9"])["error"]
