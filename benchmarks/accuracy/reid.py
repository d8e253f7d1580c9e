"""How well appearance tells people apart: real tracks with ground-truth ids, and nothing but crops to go by.

`python benchmarks/accuracy/reid.py --data ../shared/data reid-nano ../shared/data/teachers/osnet_x0_25_msmt17.pth`

The figure is the area under the ROC curve of the cosine between two crops of one sequence: whether two of one person
are more alike than two of different people. `mean of 10` compares means of ten frames in a row instead. Crops are the
boxes of the ground truth as they are, also of people who are half hidden.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.formats.mot import read_mot
from jmpose_cli.known_weights import choose_reid
from jmpose_cli.people.appearance import Embedder
from jmpose_cli.people.crops import person_crops
from jmpose_cli.video.source import open_video

SEQUENCES = {  # pictures, ground truth
    "TUD-Campus": ("TUD-Campus/img1", "TUD-Campus/gt/gt.txt"),
    "TUD-Stadtmitte": ("TUD-Stadtmitte/img1", "TUD-Stadtmitte/gt/gt.txt"),
    "PETS09-S2L1": ("PETS09-S2L1/vtest.mp4", "PETS09-S2L1/gt.txt"),
}
IN_A_ROW = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="reid-nano, or files")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| network | sequence | single crops | mean of {IN_A_ROW} | ms a crop, processor |")
    print("|---|---|---|---|---|")
    for name in args.networks:
        embedder = open_embedder(choose_reid(name), device="cpu")
        for sequence, (pictures, truth) in SEQUENCES.items():
            root = args.data / "tracking"
            ids, vectors, spent_s = embed_sequence(embedder, root / pictures, root / truth)
            single, mean = area(ids, vectors), area(*means(ids, vectors))
            cost = 1e3 * spent_s / len(ids)
            print(f"| {embedder.name} | {sequence} | {single:.3f} | {mean:.3f} | {cost:.1f} |", flush=True)


def embed_sequence(embedder: Embedder, pictures: Path, truth: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Describe everybody in every frame: ids `[N]` in order of id and time, vectors `[N, D]`, and processor seconds."""
    people = read_mot(truth)
    ids, vectors, spent_s = [], [], 0.0
    with open_video(pictures) as video:
        for batch in video:
            for index, frame in zip(batch.index.tolist(), batch.frames, strict=True):
                rows = np.flatnonzero(people.image_row == index)
                began = time.process_time()
                boxes = people.boxes_xyxy_px[rows].astype(np.float32)
                crops = person_crops(frame, boxes, height=embedder.crop_size[0], width=embedder.crop_size[1])
                vectors.append(embedder.embed(crops))
                spent_s += time.process_time() - began
                ids.append(people.track_ids[rows])
    joined = np.concatenate(ids)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(vectors)[order], spent_s


def means(ids: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join each person's frames ten by ten: ids `[M]` and unit vectors `[M, D]`."""
    found = []
    for person in np.unique(ids):
        rows = np.flatnonzero(ids == person)
        for start in range(0, len(rows) - IN_A_ROW + 1, IN_A_ROW):
            mean = vectors[rows[start : start + IN_A_ROW]].mean(0)
            found.append((person, mean / np.linalg.norm(mean)))
    return np.array([person for person, _ in found]), np.stack([mean for _, mean in found])


def area(ids: np.ndarray, vectors: np.ndarray) -> float:
    """Area under the ROC curve of all pairs: the share of pairs of pairs in the right order."""
    above = np.triu_indices(len(ids), 1)
    same = (ids[:, None] == ids)[above]
    ranks = rankdata((vectors @ vectors.T)[above])
    positives, negatives = same.sum(), (~same).sum()
    return float((ranks[same].sum() - positives * (positives + 1) / 2) / (positives * negatives))


if __name__ == "__main__":
    main()
