"""Server and browser are killed while somebody works: what the page has shown as done is there afterwards, once."""

import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import suppress

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import Error, sync_playwright

from jmpose_cli.clips.corrections import Corrections
from tests.review.page_client import make_folder
from tests.review.test_page import CHROMIUM, LOADED_MS
from tests.review.test_serve import started

pytestmark = pytest.mark.browser
TRACK, JOINT = 1, "nose"


def chromium(profile):
    """Start Chromium in a process group of its own; return it and where it is controlled."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if found := re.search(r"ws://\S+", line):
            return process, found[0]
    raise AssertionError("Chromium has ended without an address")


def killed(browser, server, kill):
    """Kill both: at once, or the one a moment before the other."""
    ends = [lambda: os.killpg(browser.pid, signal.SIGKILL), server.kill]
    for end in ends if kill % 2 else ends[::-1]:
        end()


def nudged(page, before, timer):
    """Move the joint by a pixel again and again until everything is dead; return the steps that the page has told.

    The timer starts when there are more of them than before.
    """
    said = before
    page.locator(f'#people button[data-name="{TRACK}"]').click()
    page.locator(f'#joints button[data-name="{JOINT}"]').click()
    with suppress(Error):
        while True:
            page.keyboard.press("Alt+ArrowRight")
            told = re.search(r"· (\d+) correction", page.locator("#progress").text_content())
            if told and int(told[1]) > said:
                if said == before:
                    timer.start()
                said = int(told[1])
    return said


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_what_the_page_has_shown_as_done_outlives_kills_of_server_and_browser(tmp_path, kills):
    folder, video = make_folder(tmp_path)
    with Corrections(folder) as corrections:
        truth = corrections.truth
        begin = truth.xy[(truth.frame == 0) & (truth.track_ids == TRACK), truth.keypoints.joints.index(JOINT), 0].item()
    said, kept = 0, []
    for kill in range(kills):
        server, address = started(folder, "--video", video)
        browser, control = chromium(tmp_path / f"profile{kill}")
        timer = threading.Timer(0.07 * (kill % 7), killed, (browser, server, kill))
        with sync_playwright() as playwright:
            page = playwright.chromium.connect_over_cdp(control).new_page()
            page.goto(address)
            page.wait_for_selector("html[data-ready=yes]", timeout=LOADED_MS)
            said = nudged(page, len(kept), timer)
        timer.join()
        for process in (server, browser):
            process.wait()
            process.stderr.close()
        shutil.rmtree(tmp_path / f"profile{kill}", ignore_errors=True)
        with Corrections(folder) as corrections:
            kept = [step[0].joints[JOINT][0] for step in corrections.done]
        assert len(kept) >= said
        assert kept == pytest.approx([begin + 1 + number for number in range(len(kept))], abs=0.011)
    assert len(kept) >= kills
