"""Does the temporal model hold where single frames fail? Joints on spoilt real video, scored against the sharp one.

`python benchmarks/accuracy/robustness.py [--model nano] [--data ../shared/data] [--out FILE] [--quick]`

Clips of people in videos that no training sees (the split stands in `real_video.py`) are spoilt in six ways, at three
strengths, in bursts and throughout (`degradation.py`). Five answers are scored on the same boxes:

- `teacher`: PP-TinyPose, averaged with its mirrored answer, on the spoilt frames;
- `single`: the model's initial heatmaps, which see one frame;
- `temporal`: its final heatmaps, which see the window;
- `smooth single`, `smooth temporal`: both behind the zero-phase filter of `jmpose infer --smooth`; at the middle
  strength only, as it needs an answer in every frame.

PCK@0.1 is the share of joints within a tenth of the box size, the root of the box area, of the labels of the sharp
frame. In bursts the spoilt frames are scored, else every second frame. An overall figure is the mean over the six ways.
Intervals are paired percentile bootstraps of 95 %: over videos, and over the tracks of all videos, as videos are few.

Writes the tables to `--out`, a plot to a `.png` beside it, and all figures to a `.json` in `--cache`, where the clips
are kept too. `--quick` takes one clip of each real video and the middle strength, to see that all works.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import torch

from degradation import KINDS, LEVELS, REGIMES, Condition, Shown, spoil
from jmpose.files import file_sha256
from jmpose.keypoints import COCO17
from jmpose_cli.known_weights import choose_model
from jmpose_cli.metrics.bootstrap import LEVEL, REPLICATES, Difference
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.values import Bytes, Ids
from on_teacher import put_on_teacher
from real_video import (
    STEADY_FPS,
    TEST,
    TRAINING,
    Clip,
    Teacher,
    ask_about_clip,
    at_most,
    command,
    commit,
    estimate_clip,
    load_clips,
    table,
)

OUTPUTS = ("teacher", "single", "temporal", "smooth single", "smooth temporal")
CLEAN = Condition("clean", 0, "throughout")
MIDDLE = 2
SMOOTHED = (0, MIDDLE)  # levels
NEAR = 0.1  # of the box size
LENGTH = 24  # frames of a clip
CLIPS, RENDERED_CLIPS = 5, 1  # a video, a rendered scene
PARTS = ("face", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PART_OF = tuple(next((p for p in PARTS if joint.endswith(p)), "face") for joint in COCO17.joints)


@dataclass(frozen=True)
class Tally:
    """Joints of one clip under one condition.

    Attributes:
        known: `[17]` joints scored.
        right: `[5, 17]` those within reach, by output.
    """

    known: Ids
    right: Ids


Scores = dict[Condition, Tally]


class Scorer:
    """Scores clips with one model.

    Args:
        model: Weights of the model.
        data: Folder with the teacher.
        device: torch device name.
        on_teacher: Put the model's temporal part on the teacher's heatmaps instead of its own backbone's.
    """

    def __init__(self, model: Path, data: Path, device: str, on_teacher: bool) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._teacher = Teacher(data)
        settings = EstimatorSettings(device=device)
        if on_teacher:
            moved = put_on_teacher(model, data)
            self._estimator = TorchEstimator(moved, settings, name="on the teacher", sha256=file_sha256(model))
        else:
            self._estimator = TorchEstimator.load(model, settings)

    def score(self, clip: Clip, foreign: Bytes, levels: Sequence[int]) -> Scores:
        """Score a clip as it is and in every condition; `foreign` is the picture that occluders are cut from."""
        everywhere = np.ones(len(clip), bool)
        scores = {CLEAN: self._tally(clip, CLEAN, Shown(clip.frames, everywhere, everywhere))}
        for condition, shown in spoil(clip, foreign, levels=levels):
            scores[condition] = self._tally(clip, condition, shown)
        return scores

    def _tally(self, clip: Clip, condition: Condition, shown: Shown) -> Tally:
        scored = clip.scored & shown.hit & shown.present
        if condition.regime == "throughout" and len(clip) >= LENGTH:
            scored &= np.arange(len(clip)) % 2 == 0
        wanted = None if condition.level in SMOOTHED else scored
        found = estimate_clip(self._estimator, clip, shown.frames, present=shown.present, wanted=wanted)
        found["teacher"] = ask_about_clip(self._teacher, clip, shown.frames, scored)
        known = clip.known & scored[:, None]
        right = [is_near(found[output], clip) & known for output in OUTPUTS]
        return Tally(known.sum(0), np.stack(right).sum(1))


def is_near(xy: np.ndarray, clip: Clip) -> np.ndarray:
    """Say `[n, 17]` which joints `[n, 17, 2]` are within a tenth of the box size of their labels."""
    away = np.linalg.norm(xy - clip.xy, axis=2)
    return np.asarray(away < NEAR * clip.size_px[:, None])  # False for NaN


_scorer: list[Scorer] = []  # of a worker process


def set_up(model: Path, data: Path, device: str, on_teacher: bool) -> None:
    _scorer.append(Scorer(model, data, device, on_teacher))


def work(clip: Clip, foreign: Bytes, levels: Sequence[int]) -> Scores:
    return _scorer[0].score(clip, foreign, levels)


class Results:
    """Joints counted over clips.

    Args:
        clips: The clips.
        scores: Their scores.
    """

    def __init__(self, clips: Sequence[Clip], scores: Sequence[Scores]) -> None:
        self._clips, self._scores = list(clips), list(scores)
        self.conditions = list(scores[0])

    def of(self, wanted: Callable[[Clip], bool]) -> "Results":
        """Only some clips."""
        pairs = [(c, s) for c, s in zip(self._clips, self._scores, strict=True) if wanted(c)]
        return Results(*zip(*pairs, strict=True))

    @property
    def videos(self) -> list[str]:
        """The video of each clip."""
        return [clip.video for clip in self._clips]

    @property
    def tracks(self) -> list[str]:
        """Video and track of each clip."""
        return [f"{clip.video} {clip.track}" for clip in self._clips]

    def names(self) -> list[str]:
        """The videos, each once."""
        return list(dict.fromkeys(self.videos))

    def counts(self, condition: Condition, part: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Known joints `[clips]` and right ones `[clips, 5]`, of all joints or of one part of the body."""
        columns = [k for k in range(len(COCO17)) if part in (None, PART_OF[k])]
        tallies = [scores[condition] for scores in self._scores]
        known = np.array([tally.known[columns].sum() for tally in tallies])
        return known, np.array([tally.right[:, columns].sum(1) for tally in tallies])

    def _counts(self, conditions: Sequence[Condition], part: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`counts` of several conditions, stacked."""
        known, right = zip(*(self.counts(condition, part) for condition in conditions), strict=True)
        return np.stack(known), np.stack(right)

    def pck(self, conditions: Sequence[Condition], part: str | None = None) -> np.ndarray:
        """Per cent `[5]` by output, the mean over conditions; NaN for what was not smoothed."""
        once = np.ones((1, len(self._clips)), np.int64)
        pck = mean_pck(*self._counts(conditions, part), once)[0]
        if any(condition.level not in SMOOTHED for condition in conditions):
            pck[[output.startswith("smooth") for output in OUTPUTS]] = np.nan
        return pck

    def gain(self, conditions: Sequence[Condition], units: Sequence[str], *, over: str = "single") -> Difference:
        """Temporal output minus another one, points, with the interval of a bootstrap over `units` (one a clip)."""
        which = np.unique(units, return_inverse=True)[1]
        number = int(which.max()) + 1
        draws = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=REPLICATES)
        pair = [OUTPUTS.index("temporal"), OUTPUTS.index(over)]
        value = np.subtract(*self.pck(conditions)[pair])
        drawn = np.subtract(*mean_pck(*self._counts(conditions), draws[:, which]).T[pair])
        low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if number > 1 else (np.nan, np.nan)
        return Difference(float(value), float(low), float(high))


def mean_pck(known: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return per cent `[R, 5]`, the mean over conditions.

    Args:
        known: `[conditions, clips]` joints scored.
        right: `[conditions, clips, 5]` right ones by output.
        weights: `[R, clips]` how often each clip counts.
    """
    total = np.einsum("rc,kc->rk", weights, known)
    hits = np.einsum("rc,kco->rko", weights, right)
    shares = hits / np.maximum(total, 1)[..., None]
    with np.errstate(invalid="ignore"):  # no joint in any condition: NaN
        return 100 * shares.sum(1) / (total > 0).sum(1)[:, None]


def at_level(level: int, regime: str) -> list[Condition]:
    return [Condition(kind, level, regime) for kind in KINDS]


def with_interval(difference: Difference) -> str:
    return f"{difference.value:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def overall(results: Results, level: int) -> list[str]:
    """Clean, and the mean of the six ways at one level."""
    rows = []
    for name, conditions in (("clean", [CLEAN]), *((regime, at_level(level, regime)) for regime in REGIMES)):
        gains = [results.gain(conditions, units) for units in (results.videos, results.tracks)]
        teacher = results.gain(conditions, results.tracks, over="teacher")
        rows.append([name, *results.pck(conditions).tolist(), *map(with_interval, (*gains, teacher))])
    gains_header = ["temporal - single, videos drawn", "the same, tracks drawn", "temporal - teacher, tracks drawn"]
    return table(["", *OUTPUTS, *gains_header], rows)


def by_kind(results: Results, regime: str) -> list[str]:
    """Every way and strength of one regime."""
    rows = []
    for condition in (c for c in results.conditions if c.regime == regime and c != CLEAN):
        joints = int(results.counts(condition)[0].sum())
        gain = with_interval(results.gain([condition], results.tracks))
        rows.append([condition.kind, condition.level, joints, *results.pck([condition]).tolist(), gain])
    rows.sort(key=lambda row: (KINDS.index(str(row[0])), row[1]))
    return table(["", "strength", "joints", *OUTPUTS, "temporal - single, tracks drawn"], rows)


def by_part(results: Results, level: int) -> list[str]:
    """Every part of the body, the mean of the six ways."""
    rows = []
    for regime in REGIMES:
        for part in PARTS:
            pck = results.pck(at_level(level, regime), part)
            rows.append([regime, part, *pck.tolist(), f"{pck[2] - pck[1]:+.1f}"])
    return table(["", "joints", *OUTPUTS, "temporal - single"], rows)


def by_video(results: Results, level: int) -> list[str]:
    """Every video, the mean of the six ways."""
    rows = []
    for video in results.names():
        only = results.of(lambda clip, video=video: clip.video == video)
        for regime in REGIMES:
            pck = only.pck(at_level(level, regime))
            clean = only.pck([CLEAN])
            change = [f"{p[2] - p[1]:+.1f}" for p in (pck, clean)]
            rows.append([video, len(only.videos), regime, *pck.tolist(), *change])
    return table(["", "clips", "", *OUTPUTS, "temporal - single", "the same, clean"], rows)


def report(real: Results, rendered: Results | None, about: dict[str, object]) -> str:
    """Return the page."""
    gains = {regime: real.gain(at_level(MIDDLE, regime), real.videos) for regime in REGIMES}
    clean = real.gain([CLEAN], real.videos)
    said = "; ".join(f"{regime} {with_interval(gain)}" for regime, gain in gains.items())
    lines = [
        f"# Robustness of {about['model']} on spoilt real video",
        "",
        f"`{about['command']}`, {about['machine']}, {about['date']}, commit {about['commit']}, {about['seconds']} s; "
        f"weights sha256 {about['sha256']}.",
        "",
        "PCK@0.1 in per cent: joints within a tenth of the box size (the root of the box area) of the soft labels, "
        "which are the best teacher's on the sharp frames. Same boxes for all. How it is spoilt, scored and split is "
        "told in `robustness.py`, `degradation.py` and `real_video.py`.",
        "",
        f"- Test: {', '.join(real.names())}; {len(real.videos)} clips of {len(set(real.tracks))} tracks.",
        f"- Never here, for training only: {', '.join(TRAINING)}.",
        "- Brackets: 95 % intervals of paired bootstraps, over videos or over the tracks of all videos.",
        "- `mmpose_street_5frames` and `mmtracking_street` have 5 and 3 frames a second: neighbours are within 0.25 s "
        "at 5 (only the next ones) and never at 3, where temporal equals single.",
        "- The labels are the teacher's own answers, which flatters the teacher.",
        "",
        f"**Temporal against single-frame, middle strength, points: {said}; clean {with_interval(clean)}.**",
        "",
        "![plot](" + str(about["plot"]) + ")",
        "",
        "## Real video, middle strength, mean of the six ways",
        "",
        *overall(real, MIDDLE),
        "## The same, without the videos of 5 and 3 frames a second",
        "",
        *overall(real.of(lambda clip: clip.fps >= STEADY_FPS), MIDDLE),
    ]
    for regime in REGIMES:
        lines += [f"## Real video, {regime}", "", *by_kind(real, regime)]
    lines += ["## Parts of the body, middle strength", "", *by_part(real, MIDDLE)]
    lines += ["## Videos, middle strength", "", *by_video(real, MIDDLE)]
    if rendered:
        lines += [
            "## Rendered scenes, exact labels, middle strength, mean of the six ways",
            "",
            *overall(rendered, MIDDLE),
        ]
        for regime in REGIMES:
            lines += [f"## Rendered scenes, {regime}", "", *by_kind(rendered, regime)]
    return "\n".join(lines).rstrip() + "\n"


def figures(results: Results) -> list[dict[str, object]]:
    """Everything counted: a row a condition and video."""
    rows: list[dict[str, object]] = []
    for video in results.names():
        only = results.of(lambda clip, video=video: clip.video == video)
        for condition in results.conditions:
            parts = {}
            for part in PARTS:
                known, right = only.counts(condition, part)
                by_output = zip(OUTPUTS, right.sum(0).tolist(), only.pck([condition]).tolist(), strict=True)
                parts[part] = {"known": int(known.sum()), **{name: n for name, n, pck in by_output if pck == pck}}
            rows.append({"video": video, **vars(condition), "joints": parts})
    return rows


PANEL_WIDTH, PANEL_HEIGHT, EDGE = 300, 230, 34
COLOURS = ((130, 130, 130), (240, 140, 30), (30, 90, 220), (250, 200, 140), (150, 185, 245))  # RGB, by output


def draw_plot(results: Results, path: Path) -> None:
    """Draw PCK over strength, a panel a way and regime, and write it as PNG."""
    canvas = np.full((len(REGIMES) * PANEL_HEIGHT + 40, len(KINDS) * PANEL_WIDTH, 3), 255, np.uint8)
    for row, regime in enumerate(REGIMES):
        for column, kind in enumerate(KINDS):
            steps = [CLEAN, *(c for c in results.conditions if (c.kind, c.regime) == (kind, regime))]
            curves = np.stack([results.pck([c]) for c in steps])
            at = np.s_[row * PANEL_HEIGHT : (row + 1) * PANEL_HEIGHT, column * PANEL_WIDTH : (column + 1) * PANEL_WIDTH]
            draw_panel(canvas[at], f"{kind.replace('_', ' ')}, {regime}", [c.level for c in steps], curves)
    for place, (name, colour) in enumerate(zip(OUTPUTS, COLOURS, strict=True)):
        x, y = EDGE + 250 * place, len(canvas) - 16
        cv2.line(canvas, (x, y), (x + 40, y), colour, 3, cv2.LINE_AA)
        write(canvas, name, (x + 50, y + 5))
    cv2.imwrite(str(path), canvas[:, :, ::-1])


def draw_panel(panel: Bytes, title: str, levels: Sequence[int], curves: np.ndarray) -> None:
    """Draw curves `[levels, 5]`, per cent, from 0 to 100."""
    inner_width, inner_height = PANEL_WIDTH - EDGE - 14, PANEL_HEIGHT - 2 * EDGE

    def place(level: float, pck: float) -> tuple[int, int]:
        return round(EDGE + inner_width * level / max(LEVELS)), round(EDGE + inner_height * (1 - pck / 100))

    write(panel, title, (EDGE, EDGE - 14))
    for tick in (0, 25, 50, 75, 100):
        cv2.line(panel, place(0, tick), place(max(LEVELS), tick), (225, 225, 225), 1)
        write(panel, str(tick), (4, place(0, tick)[1] + 4))
    for tick, name in enumerate(("clean", "1", "2", "3")):
        write(panel, name, (place(tick, 0)[0] - (14 if tick == 0 else 4), PANEL_HEIGHT - EDGE + 18))
    for output, colour in enumerate(COLOURS):
        curve = zip(levels, curves[:, output].tolist(), strict=True)
        points = [place(level, pck) for level, pck in curve if not np.isnan(pck)]
        cv2.polylines(panel, [np.array(points)], False, colour, 2, cv2.LINE_AA)


def write(picture: Bytes, text: str, at: tuple[int, int]) -> None:
    """Write black text on a white picture."""
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)


def main() -> None:
    """Score all clips and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, help="not given: robustness.md or robustness_on_teacher.md here")
    parser.add_argument("--cache", type=Path, default=Path("runs/robustness"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread; 1 on a GPU")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of a video, at most %(default)s")
    parser.add_argument("--on-teacher", action="store_true", help="put the temporal part on the teacher's heatmaps")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    args.out = args.out or Path(f"benchmarks/accuracy/robustness{'_on_teacher' if args.on_teacher else ''}.md")
    model = choose_model(args.model).path
    most, levels, rendered = (1, (MIDDLE,), 0) if args.quick else (args.clips, LEVELS, RENDERED_CLIPS)
    clips = load_clips(args.data, cache=args.cache, length=LENGTH, most=CLIPS, rendered=rendered)
    clips = at_most(clips, most)
    started, context = time.perf_counter(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context, set_up, (model, args.data, args.device, args.on_teacher)) as pool:
        jobs = []
        for clip in clips:
            other = next((c for c in clips if c.video != clip.video), clip)  # what occluders are cut from
            jobs.append(pool.submit(work, clip, other.frames[0], levels))
        scores = []
        for number, (clip, job) in enumerate(zip(clips, jobs, strict=True), 1):
            scores.append(job.result())
            print(f"{number} of {len(clips)}: {clip.name}, {time.perf_counter() - started:.0f} s", flush=True)
    everything = Results(clips, scores)
    real = everything.of(lambda clip: not clip.is_rendered)
    about = {
        "model": f"the temporal part of {args.model} on the teacher" if args.on_teacher else args.model,
        "sha256": file_sha256(model)[:12],
        "command": command(),
        "machine": f"{os.cpu_count()}-core CPU" if args.device == "cpu" else torch.cuda.get_device_name(args.device),
        "date": date.today().isoformat(),
        "commit": commit(),
        "seconds": round(time.perf_counter() - started),
        "outputs": OUTPUTS,
        "test": TEST,
        "training": TRAINING,
        "plot": args.out.with_suffix(".png").name,
    }
    page = report(real, everything.of(lambda clip: clip.is_rendered) if rendered else None, about)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page)
    (args.cache / f"{args.out.stem}.json").write_text(json.dumps({**about, "figures": figures(everything)}) + "\n")
    draw_plot(real, args.out.with_suffix(".png"))
    print(page)


if __name__ == "__main__":
    main()
