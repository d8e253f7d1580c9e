"""jmpose: videos of people in, tracked multi-person keypoints out."""

__version__ = "0.2.0"
