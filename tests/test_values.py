import numpy as np
import pytest

from jmpose_cli.values import FramePoses, TrackedFrame


def poses(people: int = 3, **fields: np.ndarray) -> FramePoses:
    rng = np.random.default_rng(1)
    tracked = TrackedFrame(0, 0.0, rng.random((people, 4)), np.ones(people), np.arange(people), np.ones(people, bool))
    given = {"covariances": rng.random((people, 2, 3)), "probabilities": rng.random((people, 2)), **fields}
    return FramePoses(tracked, rng.random((people, 2, 2)), np.ones((people, 2)), np.ones(people), **given)


@pytest.mark.parametrize(
    "wrong", [{"covariances": np.zeros((3, 2, 2))}, {"covariances": np.zeros((3, 3, 3))}, {"probabilities": np.ones(3)}]
)
def test_what_is_known_of_joints_has_their_shape(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        poses(**wrong)


def test_some_people_keep_all_that_is_known_of_their_joints():
    every, kept = poses(), np.array([True, False, True])
    some = every.only(kept)
    assert (some.covariances == every.covariances[kept]).all()
    assert (some.probabilities == every.probabilities[kept]).all()
    assert some.xy_raw_image is None


def test_covariances_stretch_with_the_picture():
    every = poses()
    rng, (xx, xy, yy) = np.random.default_rng(2), every.covariances[1, 0] + [1, 0, 1]
    error = rng.multivariate_normal([0, 0], [[xx, xy], [xy, yy]], 50_000) * [1.5, 1]
    given = poses(covariances=np.broadcast_to([xx, xy, yy], (3, 2, 3)))
    wide = given.in_square_pixels(1.5).covariances[1, 0]
    assert np.cov(error.T)[[0, 0, 1], [0, 1, 1]] == pytest.approx(wide, abs=0.1)
