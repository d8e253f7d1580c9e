"""The page in a real browser: what a reviewer does by mouse and by keys reaches the clip, and is shown."""

import json
import re
import shutil
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import expect, sync_playwright

from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.operations import Propagate, Review, SetJoints
from jmpose_cli.review.estimate import Estimator
from jmpose_cli.review.serve import listening, server_of
from jmpose_cli.values import FramePoses, TrackedFrame
from tests.clips.clip_assets import FIRST, FRAMES
from tests.review.page_client import TOKEN, guarded, make_folder, make_review

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium")
LOADED_MS = 30_000


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("made"))


@pytest.fixture
def review(made, tmp_path):
    review = make_review(shutil.copytree(made[0], tmp_path / "clip"), made[1])
    yield review
    review.close()


@pytest.fixture
def address(review):
    with serving(review) as address:
        yield address


@contextmanager
def serving(*clips):
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        server = server_of(guarded(*clips, port=port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{port}/?token={TOKEN}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def page(browser, address):
    """The page with the clip; a fault in its scripts fails the test."""
    page = browser.new_page(viewport={"width": 1200, "height": 760})
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]", timeout=LOADED_MS)
    yield page
    page.close()
    assert faults == []


def truth_of(review):
    return review._open.corrections.truth


def wait_for_steps(page, count):
    expect(page.locator("#progress")).to_contain_text(f"· {count} correction", timeout=LOADED_MS)


def at(page, x, y):
    """Return where an image pixel is on the screen."""
    box = page.locator("#picture").bounding_box()
    scale = min(box["width"] / 640, box["height"] / 360)
    left, top = (box["width"] - 640 * scale) / 2, (box["height"] - 360 * scale) / 2
    return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale


def test_a_joint_is_dragged_hidden_and_taken_back(page, review):
    truth = truth_of(review)
    nose = truth.keypoints.joints.index("nose")
    (row,) = [row for row in range(len(truth)) if truth.frame[row] == 0 and truth.track_ids[row] == 3]
    page.locator("#people button", has_text="3").click()
    page.locator("#joints button", has_text="nose").click()
    page.mouse.move(*at(page, *truth.xy[row, nose]))
    page.mouse.down()
    page.mouse.move(*at(page, 400, 200), steps=4)
    page.mouse.up()
    wait_for_steps(page, 1)
    assert abs(truth_of(review).xy[row, nose] - (400, 200)).max() < 1.5
    page.keyboard.press("h")
    wait_for_steps(page, 2)
    assert truth_of(review).visibility[row, nose] == 1
    for left in (1, 0):
        page.keyboard.press("z")
        wait_for_steps(page, left)
    assert (truth_of(review).xy == truth.xy).all()


def test_keys_that_come_faster_than_answers_are_all_done(page, review):
    nose = truth_of(review).keypoints.joints.index("nose")
    begin = truth_of(review).xy[0, nose, 0]
    page.locator("#people button", has_text="1").click()
    page.locator("#joints button", has_text="nose").click()
    for _ in range(10):
        page.keyboard.press("Alt+ArrowRight")
    wait_for_steps(page, 10)
    assert truth_of(review).xy[0, nose, 0] == pytest.approx(begin + 10, abs=0.011)


def test_legs_are_exchanged_by_a_key(page, review):
    before = truth_of(review)
    ankles = [before.keypoints.joints.index(f"{side}_ankle") for side in ("left", "right")]
    page.locator("#people button", has_text="1").click()
    page.keyboard.press("Shift+L")
    wait_for_steps(page, 1)
    (operation,) = review._open.corrections.done[0]
    assert operation.around == FIRST and operation.joints == ("left_hip", "left_knee", "left_ankle")
    assert (truth_of(review).xy[0, ankles] == before.xy[0, ankles[::-1]]).all()
    page.keyboard.press("i")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    page.keyboard.press("Shift+F")
    wait_for_steps(page, 2)
    assert review._open.corrections.done[1][0].frames == (FIRST, FIRST + 2)


def test_tracks_are_merged_and_frames_reviewed_by_keys(page, review):
    page.locator("#people button", has_text="3").click()
    page.keyboard.press("m")
    page.locator("#ask-value").fill("7")
    page.keyboard.press("Enter")
    wait_for_steps(page, 1)
    assert 7 not in truth_of(review).track_ids
    page.keyboard.press("i")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    page.keyboard.press("r")
    wait_for_steps(page, 2)
    assert page.locator("#progress").inner_text().startswith(f"4 of {FRAMES} reviewed")
    assert truth_of(review).reviewed.tolist() == [True] * 4 + [False] * 8


def drag(page, frame, track, joint, to):
    """Put a joint somewhere with the mouse."""
    page.locator("#frame").fill(str(frame))
    page.keyboard.press("Enter")
    page.locator("#people button", has_text=str(track)).click()
    page.locator(f"#joints button[data-name={joint}]").click()
    box = page.locator(f"#joints button[data-name={joint}][aria-pressed=true]")
    expect(box).to_have_count(1, timeout=LOADED_MS)
    page.mouse.move(*at(page, *to))
    page.keyboard.press("q")


def test_a_joint_is_propagated_at_once_until_accepted_or_taken_back(page, review):
    before = truth_of(review)
    nose, mine = before.keypoints.joints.index("nose"), before.track_ids == 1

    def sources():
        return truth_of(review).sources[mine, nose].tolist()

    def propagated(frame, truth):
        put = SetJoints(track=1, frame=frame, joints={"nose": (300, 200, 2)}).apply(truth)
        return Propagate(track=1, joints=("nose",), around=frame).apply(put)

    frame = next(frame for frame in range(FIRST, FIRST + FRAMES) if 2 in propagated(frame, before).sources)
    drag(page, frame, 1, "nose", (300, 200))
    wait_for_steps(page, 1)
    spread = sources()
    assert spread == propagated(frame, before).sources[mine, nose].tolist()
    page.keyboard.press("z")
    wait_for_steps(page, 0)
    assert sources() == [0] * FRAMES
    page.keyboard.press("Shift+Z")
    wait_for_steps(page, 1)
    for key, left in (("Shift+G", 0), ("a", 1)):
        page.keyboard.press(key)
        wait_for_steps(page, 2)
        assert sources() == [left if source == 2 else source for source in spread]
        page.keyboard.press("z")
        wait_for_steps(page, 1)
    page.keyboard.press("z")
    page.keyboard.press("Shift+P")
    drag(page, frame, 1, "nose", (300, 200))
    wait_for_steps(page, 1)
    assert sum(sources()) == 1


@pytest.mark.parametrize("size", [(1201, 762), (1440, 900)])
def test_a_joint_lands_where_the_pointer_is_and_is_drawn_there(page, review, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    picture = page.locator("#picture").bounding_box()
    assert max(abs(picture[side] - round(picture[side])) for side in ("width", "height")) > 0.3
    drag(page, FIRST, 1, "nose", (400, 200))
    wait_for_steps(page, 1)
    nose = truth_of(review).keypoints.joints.index("nose")
    assert truth_of(review).xy[0, nose] == pytest.approx([400, 200], abs=0.011)
    for canvas in map(page.locator, ("#picture", "#lanes", "#plot")):
        box = canvas.bounding_box()
        drawn = canvas.evaluate(_DRAWN)
        assert drawn == pytest.approx([box["width"], box["height"]], abs=0.01)


# How wide and high, in CSS pixels, the canvas is for those who draw on it.
_DRAWN = """canvas => {
  const { a, d } = canvas.getContext("2d").getTransform();
  return [canvas.width / a, canvas.height / d];
}"""


def test_a_suspect_takes_one_key(page, review):
    page.keyboard.press("n")
    first = page.locator("#suspects [aria-current=true]")
    assert "split 8@9" in first.inner_text()
    page.keyboard.press("Enter")
    wait_for_steps(page, 1)
    assert 9 in truth_of(review).track_ids
    expect(page.locator("#note")).to_contain_text("split 8@9")
    second = page.locator("#suspects [aria-current=true] .advice").inner_text()
    page.keyboard.press("v")
    wait_for_steps(page, 2)
    assert review._open.corrections.done[-1][0].op == "dismiss"
    expect(page.locator("#suspects .advice", has_text=second)).to_have_count(0, timeout=LOADED_MS)
    page.keyboard.press("z")
    wait_for_steps(page, 1)
    page.keyboard.press("n")
    page.keyboard.press("Shift+Enter")
    wait_for_steps(page, 2)
    assert len(set(truth_of(review).track_ids.tolist())) > 6


@pytest.fixture
def _slow_model(monkeypatch):
    """A model that finds all joints at one place, after a while."""

    def pose(_, video, config, fps, frame, boxes):
        time.sleep(1)
        people = TrackedFrame(frame, 0.0, np.array([boxes[frame]]), np.ones(1), np.ones(1, np.int64), np.ones(1, bool))
        return COCO17_HEAD, FramePoses(people, np.full((1, 19, 2), 77.0), np.full((1, 19), 0.9), np.ones(1))

    monkeypatch.setattr(Estimator, "pose", pose)


@pytest.mark.usefixtures("_slow_model")
def test_boxes_are_drawn_and_the_model_is_asked(page, review):
    page.locator("#people button", has_text="1").click()
    page.keyboard.press("Shift+H")
    wait_for_steps(page, 1)
    assert truth_of(review).occluded[truth_of(review).of_frame(0)].tolist() == [True, False]
    page.keyboard.press("Shift+B")
    expect(page.locator("#note")).to_contain_text("Draw the box of 1 anew")
    page.mouse.move(*at(page, 20, 30))
    page.mouse.down()
    page.mouse.move(*at(page, 120, 230), steps=3)
    page.mouse.up()
    wait_for_steps(page, 2)
    assert abs(truth_of(review).boxes_xyxy_px[0] - (20, 30, 120, 230)).max() < 1.5
    page.keyboard.press("Shift+E")
    expect(page.locator("#note")).to_contain_text("Loading the model")
    page.keyboard.press("End")  # the page goes on meanwhile
    assert page.locator("#frame").input_value() == str(FIRST + FRAMES - 1)
    wait_for_steps(page, 3)
    assert truth_of(review).xy[0, 3].tolist() == [77, 77] and truth_of(review).index[0] == FIRST


def test_the_timeline_is_zoomed_and_the_theme_chosen(page):
    lanes = page.locator("#lanes").bounding_box()
    page.keyboard.press("End")
    page.mouse.click(lanes["x"] + lanes["width"] - 4, lanes["y"] + 40)
    assert page.locator("#frame").input_value() == str(FIRST + FRAMES - 1)
    back = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(f"() => {back}")}
    for _ in range(2):
        page.keyboard.press("Shift+T")
        seen.add(page.evaluate(f"() => {back}"))
    assert len(seen) == 2 and page.evaluate("() => document.documentElement.dataset.theme") == "light"


def test_what_cannot_be_done_is_said(page):
    page.locator("#people button", has_text="1").click()
    page.keyboard.press("t")
    expect(page.locator("#said")).to_contain_text("there is no gap", timeout=LOADED_MS)
    page.keyboard.press("Escape")
    assert page.locator("#said").is_hidden()


def test_a_second_window_sees_what_the_first_does(page, browser, address, review):
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector("html[data-ready=yes]", timeout=LOADED_MS)
    page.locator("#people button", has_text="1").click()
    page.keyboard.press("Shift+D")
    wait_for_steps(page, 1)
    wait_for_steps(other, 1)
    expect(other.locator("#people button", has_text="1")).to_have_count(0, timeout=LOADED_MS)
    other.close()


def test_more_suspects_are_fetched_where_the_worst_end(page):
    def worst_only(route):
        told = route.fetch().json()
        route.fulfill(json=told | {"suspects": told["suspects"][:1]})

    page.route("**/suspects?most=1000", worst_only)
    with page.expect_response("**/suspects?most=1000") as response:
        page.reload()
    total = response.value.json()["total"]
    expect(page.locator("#progress")).to_contain_text(f"{total} suspects left", timeout=LOADED_MS)
    expect(page.locator("#suspects li").last).to_have_text(f"and {total - 1} more")
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(page.locator("#suspects [aria-current=true]")).to_have_attribute("data-name", "1")
    expect(page.locator("#suspects button")).to_have_count(total)


def test_all_of_a_long_list_of_suspects_can_be_reached_by_mouse(page):
    def many(route):
        told = route.fetch().json()
        suspects = (told["suspects"] * 170)[:170]
        route.fulfill(json=told | {"suspects": suspects, "total": 170, "is_all": True})

    page.route("**/suspects?most=1000", many)
    page.reload()
    expect(page.locator("#progress")).to_contain_text("170 suspects left", timeout=LOADED_MS)
    first = page.locator("#suspects button[data-name]").first
    for _ in range(2):
        page.locator("#suspects .turn").last.click()
    expect(first).to_have_attribute("data-name", "100")
    page.locator('#suspects button[data-name="169"]').click()
    expect(page.locator("#suspects [aria-current=true]")).to_have_attribute("data-name", "169")
    for _ in range(2):
        page.locator("#suspects .turn").first.click()
    expect(first).to_have_attribute("data-name", "0")


def test_the_next_clip_is_one_that_is_not_finished(browser, made, tmp_path):
    clips = [make_review(shutil.copytree(made[0], tmp_path / f"clip{number}"), made[1]) for number in range(3)]
    for clip in clips:
        clip.name = clip.folder.name
        (clip.folder / "run.json").write_text(
            json.dumps({"frames": FRAMES, "config": {"decode": {"frames": [FIRST, 14]}}})
        )
    with Corrections(clips[1].folder) as corrections:
        corrections.do([Review()])
    with serving(*clips) as address, browser.new_page() as page:
        page.route("**/api/clips/2", lambda route: (time.sleep(1), route.continue_()))
        page.goto(address)
        page.wait_for_selector("html[data-ready=yes]", timeout=LOADED_MS)
        options = page.locator("#clips option")
        expect(options.nth(1)).to_have_text(f"clip1 · ✓ · {FRAMES} of {FRAMES} reviewed")
        expect(options.nth(2)).to_have_text(f"clip2 · 0 of {FRAMES} reviewed")
        page.keyboard.press("PageDown")
        expect(page.locator("#note")).to_contain_text("Opening clip2", timeout=LOADED_MS)
        expect(page).to_have_title(re.compile("^clip2 "), timeout=LOADED_MS)
        expect(page.locator("#note")).to_be_hidden()
    for clip in clips:
        clip.close()


def test_suspects_lead_to_their_frames_and_keys_are_told(page):
    with page.expect_request("**/soon") as soon:
        page.keyboard.press("n")
    assert page.locator("#suspects [aria-current=true]").count() == 1
    following = [one["at"] for one in page.evaluate("fetch('/api/clips/0/suspects').then((a) => a.json())")["suspects"]]
    assert soon.value.post_data_json == {"frames": following[1:4]}
    assert FIRST <= int(page.locator("#frame").input_value()) < FIRST + FRAMES
    page.keyboard.press("?")
    assert page.locator("#help").is_visible() and page.locator("#keys dt").count() > 40
    page.keyboard.press("Escape")
    unnamed = "button:not([aria-label]):not([title])"
    named = page.eval_on_selector_all(unnamed, "all => all.filter((one) => !one.textContent).length")
    assert named == 0
