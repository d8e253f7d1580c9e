"""Painted trees and hedges, leaf by leaf."""

import cv2
import numpy as np

from .noise import noise2
from .textures import PX, finish
from .transforms import Array, Floats


def tree(rng: np.random.Generator, width: float, height: float) -> Floats:
    """A trunk that forks, and a round crown lit from above."""
    h, w = round(height * PX), round(width * PX)
    picture, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    bark = np.array([0.33, 0.27, 0.21]) * rng.uniform(0.8, 1.15)
    thick = max(2, int(0.024 * w))
    for _ in range(6):
        tip = (int(w * rng.uniform(0.25, 0.75)), int(h * rng.uniform(0.15, 0.45)))
        fork = (int(w * rng.uniform(0.48, 0.52)), int(h * rng.uniform(0.50, 0.70)))
        for start, end, width_px in (((w // 2, h), fork, 2 * thick), (fork, tip, thick)):
            cv2.line(picture, start, end, (bark * rng.uniform(0.85, 1.1)).tolist(), width_px, cv2.LINE_AA)
            cv2.line(cover, start, end, 1.0, width_px, cv2.LINE_AA)
    green = np.array([rng.uniform(0.22, 0.42), rng.uniform(0.40, 0.52), rng.uniform(0.14, 0.24)])
    middle, half = (w // 2, int(0.36 * h)), (int(0.40 * w), int(0.29 * h))
    cv2.ellipse(picture, middle, half, 0, 0, 360, (0.45 * green).tolist(), -1, cv2.LINE_AA)
    cv2.ellipse(cover, middle, half, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    count = 2400
    radius, angle = np.sqrt(rng.uniform(0, 1, count)), rng.uniform(0, 2 * np.pi, count)
    x, y = (0.5 + 0.46 * radius * np.cos(angle)) * w, (0.36 + 0.34 * radius * np.sin(angle)) * h
    # Boughs are lumps of light and shade; the crown is darker below.
    light = 0.88 - 0.28 * radius * np.sin(angle) + 0.22 * _at(noise2(h, w, 0.16 * w, rng, 2), x, y)
    light += rng.normal(0, 0.08, count)
    _leaves(picture, cover, rng, np.stack([x, y], axis=1), green, light, 0.065 * PX)
    return finish(picture, cover)


def hedge(rng: np.random.Generator, width: float, height: float) -> Floats:
    """Clipped leaves with an uneven top edge; low hedges are seen from near and have finer leaves."""
    scale, leaf_m = (110.0, 0.022) if height < 1.0 else (PX, 0.06)
    h, w, leaf = round(height * scale), round(width * scale), leaf_m * scale
    green = np.array([rng.uniform(0.20, 0.30), rng.uniform(0.36, 0.46), rng.uniform(0.12, 0.20)])
    picture, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    picture[int(0.2 * h) :], cover[int(0.2 * h) :] = 0.25 * green, 1.0
    count = int(3.0 * h * w / (np.pi * leaf * leaf))
    x, depth = rng.uniform(0, w, count), rng.uniform(0, 1, count)
    edge = 0.03 * h + 0.04 * h * _at(noise2(1, w, 0.4 * scale, rng), x, np.zeros(count))
    y = leaf + edge + depth * (h - leaf)
    light = 1.0 - 0.6 * depth + 0.28 * _at(noise2(h, w, 0.16 * scale, rng, 2), x, y) + rng.normal(0, 0.14, count)
    _leaves(picture, cover, rng, np.stack([x, y], axis=1), green, light, leaf)
    return finish(picture, cover)


def _at(picture: Floats, x: Array, y: Array) -> Array:
    """Values of a picture at positions, those outside moved to its edge."""
    h, w = picture.shape
    return np.asarray(picture[np.clip(y.astype(int), 0, h - 1), np.clip(x.astype(int), 0, w - 1)])


def _leaves(
    picture: Floats, cover: Floats, rng: np.random.Generator, xy: Array, green: Array, light: Array, size_px: float
) -> None:
    """Draw leaves, on the whole the dark ones first, in place."""
    count = len(xy)
    tints = np.clip(green * np.clip(light, 0.1, 1.6)[:, None] + rng.normal(0, 0.018, (count, 3)), 0, 1)
    axes = size_px * rng.uniform(0.6, 1.7, count)[:, None] * np.stack([np.ones(count), rng.uniform(0.4, 0.8, count)], 1)
    turns = rng.uniform(0, 180, count)
    for i in np.argsort(light + rng.normal(0, 0.2, count)):
        centre, half = xy[i].astype(int).tolist(), np.maximum(axes[i], 1).astype(int).tolist()
        cv2.ellipse(picture, centre, half, turns[i], 0, 360, tints[i].tolist(), -1, cv2.LINE_AA)
        cv2.ellipse(cover, centre, half, turns[i], 0, 360, 1.0, -1, cv2.LINE_AA)
