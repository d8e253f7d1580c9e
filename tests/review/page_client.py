"""A clip with a video, the application that reviews it, and a client that may talk to it."""

import json
from pathlib import Path

from starlette.testclient import TestClient

from jmpose_cli.review.app import make_app
from jmpose_cli.review.clip import ReviewClip
from jmpose_cli.review.estimate import Estimator
from jmpose_cli.review.guard import Guard
from jmpose_cli.video.source import ChildPool
from tests.clips.clip_assets import META, make_clip
from tests.video_assets import make_video

TOKEN, HOST = "a-token", "127.0.0.1:8000"
MINE = {"x-jmpose-token": TOKEN, "origin": f"http://{HOST}"}


def make_folder(folder: Path) -> tuple[Path, Path]:
    """Write a clip of frames 2 to 13, and its video beside it."""
    video = folder / "video.mp4"
    make_video(video, frames=16, size=(META.width, META.height))
    return make_clip(folder / "clip"), video


def make_review(folder: Path, video: Path | None) -> ReviewClip:
    return ReviewClip(folder, "clip", video=video, children=ChildPool())


def guarded(*clips: ReviewClip, port: int = 8000, is_open: bool = False) -> Guard:
    return Guard(make_app(clips, Estimator()), token=TOKEN, port=port, hosts=frozenset({"localhost"}), is_open=is_open)


def client_of(*clips: ReviewClip, is_open: bool = False) -> TestClient:
    """Return a client whose requests have no token unless they are given it."""
    app = guarded(*clips, is_open=is_open)
    return TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False)


class Page:
    """What the page does: requests with the token, actions with the revision that it knows."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.revision = client, 1

    def get(self, path: str, expect: int = 200):
        answer = self.client.get(f"/api/clips{path}", headers=MINE)
        assert answer.status_code == expect, answer.text
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.content

    def post(self, path: str, expect: int = 200, **body):
        content = json.dumps({"revision": self.revision} | body)
        headers = MINE | {"content-type": "application/json"}
        answer = self.client.post(f"/api/clips/0/{path}", content=content, headers=headers)
        assert answer.status_code == expect, answer.text
        if expect == 200 and "revision" in answer.json():
            self.revision = answer.json()["revision"]
        return answer.json()

    def do(self, *operations: dict, expect: int = 200):
        return self.post("operations", expect, operations=list(operations))
