"""jmpose: videos of people in, tracked multi-person keypoints out."""

__version__ = "0.1.0"
