"""Render the demonstration clip and its exact ground truth.

    python examples/render_clip.py --out examples/street.mp4 --seed 7

writes `street.mp4` (H.264) and beside it `street.posetrack18.json`.
"""
