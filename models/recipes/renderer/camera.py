"""A pin-hole camera in the world."""

from dataclasses import dataclass, replace

import numpy as np

from .transforms import Array, rot_x, rot_y, rot_z


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and looks.

    Attributes:
        position: `[3]` metres, z up.
        yaw: Viewing direction, radians from world x towards y.
        tilt: Radians; positive looks down.
        roll: Radians; positive turns the picture clockwise.
        focal_px: Focal length in pixels.
        width: Picture width, pixels.
        height: Picture height, pixels.
    """

    position: Array
    yaw: float
    tilt: float
    roll: float
    focal_px: float
    width: int
    height: int

    @property
    def rotation(self) -> Array:
        """World to camera axes (x right, y down, z into the picture), `[3, 3]`."""
        body = rot_z(self.yaw) @ rot_y(self.tilt) @ rot_x(-self.roll)
        forward, left, up = body.T
        return np.stack([-left, -up, forward])

    @property
    def intrinsics(self) -> Array:
        """`[3, 3]`; (0, 0) is the centre of the top-left pixel."""
        f = self.focal_px
        return np.array([[f, 0.0, (self.width - 1) / 2], [0.0, f, (self.height - 1) / 2], [0.0, 0.0, 1.0]])

    def project(self, points: Array) -> tuple[Array, Array]:
        """Picture position and depth of world points.

        Args:
            points: `[..., 3]` metres.

        Returns:
            `(xy [..., 2] pixels, depth [...] metres along the optical axis)`. Points behind the camera have a
            depth of 0 or less and a meaningless position.
        """
        local = (points - self.position) @ self.rotation.T
        depth = local[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return local[..., :2] / safe[..., None] * self.focal_px + centre, depth

    def rays(self, xy: Array) -> Array:
        """World directions (not normalised; unit depth) through picture positions `[..., 2]`."""
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        local = np.concatenate([(xy - centre) / self.focal_px, np.ones((*xy.shape[:-1], 1))], axis=-1)
        return np.asarray(local @ self.rotation)

    def ground_homography(self) -> Array:
        """`[3, 3]` from ground (x, y, 1) in metres to picture pixels."""
        r = self.rotation
        return np.asarray(self.intrinsics @ np.stack([r[:, 0], r[:, 1], -r @ self.position], axis=1))

    def turned(self, *, yaw: float = 0.0, tilt: float = 0.0, roll: float = 0.0, zoom: float = 1.0) -> "Camera":
        """This camera turned about its own place, and zoomed."""
        return replace(
            self,
            yaw=self.yaw + yaw,
            tilt=self.tilt + tilt,
            roll=self.roll + roll,
            focal_px=self.focal_px * zoom,
        )

    def homography_from(self, other: "Camera") -> Array:
        """`[3, 3]` from pixels of `other`, standing at the same place, to pixels of this camera."""
        turn = self.rotation @ other.rotation.T
        return np.asarray(self.intrinsics @ turn @ np.linalg.inv(other.intrinsics))
