from pathlib import Path

import numpy as np
import pytest

import real_video
from jmpose_cli.values import TrackedFrame


def test_people_of_a_video_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def frame(index: int, *ids: int, segment: int = 0) -> TrackedFrame:
        boxes = np.array([(10 * i, 1, 10 * i + 5, 30) for i in ids], np.float32).reshape(-1, 4)
        scores, tracks = np.linspace(0.5, 0.9, len(ids), dtype=np.float32), np.array(ids, np.int64)
        return TrackedFrame(index, index / 25, boxes, scores, tracks, scores > 0.6, segment)

    film = [frame(0, 1, 2), frame(1), frame(2, 2, segment=1), frame(3, 3, 2, 5, segment=1)]
    asked = []

    def find(video: Path, detector: Path) -> tuple[float, list[TrackedFrame]]:
        asked.append((video, detector))
        return 25.0, film

    monkeypatch.setattr(real_video, "find_tracks", find)
    for _ in range(2):
        assert real_video.load_tracks("film", tmp_path / "data", cache=tmp_path / "cache") == (25.0, film)
    assert asked == [(tmp_path / "data/videos/film.mp4", tmp_path / "data" / real_video.DETECTOR)]
