"""A small software renderer of people in a street, with exact 2-D keypoints. NumPy and OpenCV only."""

from .directing import random_scene, render_scene
from .scene import RenderedFrame, Scene
from .skeleton import JOINTS

__all__ = ["JOINTS", "RenderedFrame", "Scene", "random_scene", "render_scene"]
