"""Print who is in a video, and what the library says about it: `python examples/annotate.py VIDEO [--frames A:B]`."""

import argparse

from jmpose_cli import Annotator


def main() -> None:
    """Annotate a video frame by frame."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("video")
    options.add_argument("--model", default="auto", help="as for jmpose infer")
    options.add_argument("--frames", default=None, metavar="A:B", help="only these frames")
    given = options.parse_args()

    with Annotator(given.model) as annotator:
        joints = annotator.keypoints.joints
        for poses in annotator.frames(given.video, frames=given.frames):
            print(f"{poses.time_s:8.3f} s: {len(poses)} people")
            for track, xy, scores in zip(poses.people.track_ids, poses.xy_image, poses.scores, strict=True):
                surest = scores.argmax()
                x, y = xy[surest]
                print(f"  {track:3d}: {joints[surest]} at {x:.1f}, {y:.1f}, score {scores[surest]:.2f}")
        for note in annotator.notes:
            print(f"note: {note}")


if __name__ == "__main__":
    main()
