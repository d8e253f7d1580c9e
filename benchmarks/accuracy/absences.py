"""Whether people who leave the picture and come back are known again: rendered scenes with people dressed alike.

`python benchmarks/accuracy/absences.py [--reid reid-nano|FILE] [--looks]`

Six people walk in and out of a street, square, hall or park for a minute; each absence lasts 2 to 30 s, and in every
scene two are dressed alike. Boxes are the true ones with what detectors add: jitter, gaps, weak scores of
hidden people, boxes of nobody. Pictures are rendered once and kept in `--cache` as JPEG. Seeds from 0 are measured;
those from 100 (`--seeds 100-103`) are for choosing constants: `--grid` tries what a network's `AppearanceScale` may say
of the cosines of people who come back (`known`, `sure`). Take values around which nothing is joined wrongly either.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np
import torch

from identity import Sequence, tracked
from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.known_weights import choose_reid
from jmpose_cli.people.appearance import Embedder
from jmpose_cli.people.looks import looks_of
from jmpose_cli.people.stitch import Identities, Sightings, stitch
from jmpose_cli.values import Detections, TrackedFrame
from renderer.blocking import random_attention, random_gait, random_gestures
from renderer.camera import Camera
from renderer.casting import random_look, random_physique
from renderer.clothes import Look, dress
from renderer.directing import random_scene
from renderer.film import render
from renderer.scene import Actor, CameraMove, Scene
from renderer.skeleton import Pose, Skeleton
from renderer.walking import Path as Way
from renderer.walking import Walk

FPS, DURATION_S, SIZE = 5.0, 60.0, (480, 270)
PEOPLE, ALIKE = 6, 2
ABSENCES_S = (2.0, 30.0)
KNOWN, SURE = (0.66, 0.7, 0.74, 0.78, 0.82), (0.04, 0.06, 0.08, 0.1)  # tried by --grid
START_SCORE = 0.4


@dataclass(frozen=True)
class Visits:
    """A motion of somebody who comes into the picture several times, each time on a way of their own.

    Attributes:
        walks: One a visit.
        spans_s: From when to when each walk is in the picture, by its own clock; beside the picture nobody moves.
        starts_s: When each walk is at its start; from halfway through the absence before it, it is the one that counts.
        switches_s: These moments, one less than walks.
    """

    walks: tuple[Walk, ...]
    spans_s: tuple[tuple[float, float], ...]
    starts_s: tuple[float, ...]
    switches_s: tuple[float, ...]

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        visit = int(np.searchsorted(self.switches_s, time_s, side="right"))
        first_s, last_s = self.spans_s[visit]
        return self.walks[visit].pose(float(np.clip(time_s - self.starts_s[visit], first_s - 0.8, last_s + 0.8)))


def returning(rng: np.random.Generator, camera: Camera, skeleton: Skeleton) -> Visits:
    """Somebody who crosses the picture again and again until the scene ends."""
    walks, spans_s, starts_s, switches_s = [], [], [], []
    enters_s, left_s = rng.uniform(-4.0, 12.0), -np.inf
    while not walks or enters_s < DURATION_S:
        walk, first_s, last_s = _crossing(rng, camera, skeleton)
        walks.append(walk)
        spans_s.append((first_s, last_s))
        starts_s.append(enters_s - first_s)
        if left_s > -np.inf:
            switches_s.append((left_s + enters_s) / 2)
        left_s = enters_s + last_s - first_s
        enters_s = left_s + float(np.exp(rng.uniform(*np.log(ABSENCES_S))))
    return Visits(tuple(walks), tuple(spans_s), tuple(starts_s), tuple(switches_s))


def _crossing(rng: np.random.Generator, camera: Camera, skeleton: Skeleton) -> tuple[Walk, float, float]:
    """A walk through the view, and when it enters and leaves it."""
    while True:
        depth = rng.uniform(3.5, 8.0)
        half = 0.5 * camera.width / camera.focal_px * depth
        heading = float(rng.choice([0.0, np.pi])) + rng.normal(0, 0.3)
        along = np.array([np.cos(heading), np.sin(heading)])
        start = np.array([rng.uniform(-0.5, 0.5) * half, depth]) - (half + 3.0) * along
        walk = Walk(
            skeleton,
            Way(start, heading),
            random_gait(rng, skeleton, jog=False),
            random_gestures(rng),
            random_attention(rng),
        )
        times = np.arange(0.0, 25.0, 0.1)
        middle = np.array([walk.pose(float(t)).pelvis for t in times])
        xy, distance = camera.project(middle)
        inside = (distance > 2.5) & (np.abs(xy[:, 0] - camera.width / 2) < camera.width / 2 + 20)
        there = np.flatnonzero(inside)
        if len(there) > 15 and not inside[0] and not inside[-1]:
            return walk, float(times[there[0]]), float(times[there[-1]])


def dressed_like(look: Look, other: Look) -> Look:
    """Somebody's own head in another's clothes."""
    return replace(other, face=look.face)


def scene_of(seed: int) -> Scene:
    """People who come and go; the first two are dressed alike."""
    scene = random_scene(seed, width=SIZE[0], height=SIZE[1], people=0, duration_s=DURATION_S)
    actors, first = [], None
    for number in range(PEOPLE):
        rng = np.random.default_rng((seed, 7, number))
        physique = random_physique(rng)
        skeleton, look = Skeleton(physique), random_look(rng, physique)
        first = first or look
        if number < ALIKE:
            look = dressed_like(look, first)
        figure = dress(skeleton, look, int(rng.integers(1 << 30)), detail=0.6)
        actors.append(Actor(number + 1, skeleton, figure, returning(rng, scene.camera, skeleton)))
    return replace(scene, move=CameraMove(), lens=replace(scene.lens, samples=1), actors=tuple(actors))


@dataclass
class Scenery:
    """A rendered scene.

    Attributes:
        pictures: Of each frame, JPEG.
        boxes: Of each frame, `[N, 4]` true boxes.
        ids: Of each frame, `[N]` whose they are.
        shown: Of each frame, `[N]` share that is to be seen.
    """

    pictures: list[np.ndarray]
    boxes: list[np.ndarray]
    ids: list[np.ndarray]
    shown: list[np.ndarray]

    def frames(self) -> Iterator[np.ndarray]:
        """Yield `[H, W, 3]` RGB."""
        for picture in self.pictures:
            yield cv2.cvtColor(cv2.imdecode(picture, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def rendered(seed: int, cache: Path) -> Scenery:
    """Render a scene, or read it."""
    stored_at = cache / f"scene-{seed}.npz"
    if not stored_at.is_file():
        pictures, rows = [], []
        for frame in render(scene_of(seed), frames=int(DURATION_S * FPS), fps=FPS, seed=seed):
            bgr = cv2.cvtColor(frame.frame_rgb, cv2.COLOR_RGB2BGR)
            pictures.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].ravel())
            rows.append((frame.boxes_xyxy, frame.track_ids, frame.shown))
        boxes, ids, shown = zip(*rows, strict=True)
        np.savez(
            stored_at,
            pictures=np.concatenate(pictures),
            lengths=[len(one) for one in pictures],
            counts=[len(one) for one in ids],
            boxes=np.concatenate(boxes),
            ids=np.concatenate(ids),
            shown=np.concatenate(shown),
        )
    stored = np.load(stored_at)
    ends = np.cumsum(stored["counts"])[:-1]
    pictures = np.split(stored["pictures"], np.cumsum(stored["lengths"])[:-1])
    return Scenery(pictures, *(np.split(stored[name], ends) for name in ("boxes", "ids", "shown")))


def detected(scene: Scenery, seed: int) -> tuple[list[Detections], list[np.ndarray]]:
    """What a detector might make of a scene, and of each frame whose boxes they are; 0: nobody's."""
    rng = np.random.default_rng((seed, 11))
    until = dict.fromkeys(range(1, PEOPLE + 1), -1)  # frame up to which somebody is not found
    found, whose = [], []
    for frame, (boxes, ids, shown) in enumerate(zip(scene.boxes, scene.ids, scene.shown, strict=True)):
        out, scores, owners = [], [], []
        for box, who, share in zip(boxes, ids.tolist(), shown, strict=True):
            if rng.random() < 0.01:
                until[who] = frame + int(rng.integers(2, 8))
            size = box[2:] - box[:2]
            if frame <= until[who] or share < 0.25 or rng.random() < 0.03 or size.min() < 8:
                continue
            jitter = rng.normal(0, 0.025, 4) * np.tile([min(size[0], size[1]), size[1]], 2)
            out.append((box + jitter).astype(np.float32))
            owners.append(who)
            scores.append(np.clip(0.9 - 0.6 * (1 - share) + rng.normal(0, 0.08), 0.06, 0.97))
        if rng.random() < 0.02:
            height, x, y = rng.uniform(60, 200), *rng.uniform((0, 0), SIZE)
            out.append(np.array([x, y, x + 0.4 * height, y + height], np.float32))
            scores.append(rng.uniform(0.06, 0.6))
            owners.append(0)
        found.append(Detections(np.array(out, np.float32).reshape(-1, 4), np.array(scores, np.float32)))
        whose.append(np.array(owners, np.int64))
    return found, whose


def observed(seed: int, embedder: Embedder | None, cache: Path) -> tuple[Scenery, Sequence, list[np.ndarray]]:
    """A scene, what is found in it, and of each frame whose boxes these are."""
    scene = rendered(seed, cache)
    people, whose = detected(scene, seed)
    looks = [np.zeros((len(one), 1), np.float32) for one in people]
    if embedder is not None:
        looks_at = cache / f"looks-{seed}-{embedder.sha256[:8]}.npy"
        if not looks_at.is_file():
            each = [looks_of(frame, some, embedder) for frame, some in zip(scene.frames(), people, strict=True)]
            np.save(looks_at, np.concatenate(each))
        looks = np.split(np.load(looks_at).astype(np.float32), np.cumsum([len(one) for one in people])[:-1])
    scale = None if embedder is None else embedder.scale
    return scene, Sequence(cache, FPS, SIZE, people, looks, START_SCORE, scale), whose


@dataclass(frozen=True)
class Outcome:
    """What became of the absences of some scenes.

    Attributes:
        absences: How many there were, of 2 s and more between visits in which the person had a track for a second.
        known: After how many the person had the same identity as before.
        single: How many of the absences were of people with nobody dressed alike.
        single_known: After how many of those.
        joins: Joins.
        wrong: Those of two people, or with a track of nobody.
        mixed: Raw tracks that show a second person for a second or more.
    """

    absences: int
    known: int
    single: int
    single_known: int
    joins: int
    wrong: int
    mixed: int

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def outcome(
    scene: Scenery, sequence: Sequence, whose: list[np.ndarray], frames: list[TrackedFrame], found: Identities
) -> Outcome:
    """Compare who was said to be whom with the truth."""
    rows = []  # frame, person (0: nobody), track, identity
    for frame in frames:
        boxes = sequence.people[frame.index].boxes_xyxy_px
        identities = found.of(frame.track_ids, np.full(len(frame), frame.index))
        for place in np.flatnonzero(frame.observed):
            person = whose[frame.index][(boxes == frame.boxes_xyxy_px[place]).all(1)][0]
            rows.append((frame.index, person, frame.track_ids[place], identities[place]))
    table = np.array(rows)

    def most(values: np.ndarray) -> int:
        kinds, counts = np.unique(values, return_counts=True)
        return int(kinds[counts.argmax()])

    mixed = 0
    for track in np.unique(table[:, 2]):
        people = table[(table[:, 2] == track) & (table[:, 1] > 0), 1]
        mixed += int((np.sort(np.bincount(people))[::-1][1:] >= FPS).sum()) if len(people) else 0
    wrong = 0
    for join in found.joins:
        before = table[(table[:, 2] == join.first) & (table[:, 0] < join.frame), 1]
        after = table[(table[:, 2] == join.second) & (table[:, 0] >= join.frame), 1]
        wrong += most(before) != most(after) or most(after) == 0
    absences = known = single = single_known = 0
    for person in range(1, PEOPLE + 1):
        present = np.array([f for f, ids in enumerate(scene.ids) if person in ids])
        visits = np.split(present, np.flatnonzero(np.diff(present) >= ABSENCES_S[0] * FPS) + 1)
        names = []
        for visit in visits:
            mine = table[(table[:, 1] == person) & np.isin(table[:, 0], visit), 3] if len(visit) else visit
            names.append(most(mine) if len(mine) >= FPS else 0)
        for one, other in pairwise([name for name in names if name]):
            absences, known = absences + 1, known + (one == other)
            if person > ALIKE:
                single, single_known = single + 1, single_known + (one == other)
    return Outcome(absences, known, single, single_known, len(found.joins), wrong, mixed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reid", default="reid-nano", help="reid-nano, none, or a .pth of OSNet.")
    parser.add_argument("--seeds", default="0-9", help="First and last scene.")
    parser.add_argument("--cache", type=Path, default=Path("out/absences"))
    parser.add_argument("--each", action="store_true", help="A line for each scene as well.")
    parser.add_argument("--grid", action="store_true", help="Also try other values of a network's scale.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    path = choose_reid(args.reid)
    embedder = open_embedder(path, device="cpu") if path else None
    first, _, last = args.seeds.partition("-")
    runs: list[tuple[Scenery, Sequence, list[np.ndarray], list[TrackedFrame], Sightings]] = []
    total = Outcome(0, 0, 0, 0, 0, 0, 0)
    print(
        "| scene | absences | known again | of those not dressed alike | known | joins | wrong | mixed tracks |\n"
        + "|---" * 8
        + "|"
    )
    for seed in range(int(first), int(last or first) + 1):
        scene, sequence, whose = observed(seed, embedder, args.cache)
        frames, seen = tracked(sequence)
        runs.append((scene, sequence, whose, frames, seen))
        one = outcome(scene, sequence, whose, frames, stitch(seen, sequence.scale))
        total += one
        if args.each:
            print("|", seed, "|", " | ".join(map(str, vars(one).values())), "|", flush=True)
    print("| all |", " | ".join(map(str, vars(total).values())), "|")
    for known, sure in product(KNOWN, SURE) if args.grid and embedder else ():
        scale = replace(embedder.scale, known=known, sure=sure)
        found = [outcome(*run, stitch(seen, scale)) for *run, seen in runs]
        one = sum(found, Outcome(0, 0, 0, 0, 0, 0, 0))
        print(f"known {known}, sure {sure}:", one)
    shares = [100 * a / max(b, 1) for a, b in ((total.known, total.absences), (total.single_known, total.single))]
    print(f"known again: {shares[0]:.0f} %, of those not dressed alike {shares[1]:.0f} %")


if __name__ == "__main__":
    main()
