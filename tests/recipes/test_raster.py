import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.raster import nearest, rasterise

SIZE = {"width": 8, "height": 8}


def draw(xy, depth, faces):
    return rasterise(np.array(xy, np.float32), np.array(depth, np.float32), np.array(faces), **SIZE)


def test_a_triangle_covers_the_pixels_whose_centres_it_contains() -> None:
    found = draw([(0, 0), (0, 3), (3, 0)], [1, 1, 1], [(0, 1, 2)])
    expected = {(x, y) for x in range(4) for y in range(4) if x + y <= 3}
    assert {(p % 8, p // 8) for p in found.pixel.tolist()} == expected


def test_a_triangle_seen_from_behind_is_left_out() -> None:
    assert len(draw([(0, 0), (3, 0), (0, 3)], [1, 1, 1], [(0, 1, 2)])) == 0


def test_a_triangle_nearer_than_the_near_plane_is_left_out() -> None:
    assert len(draw([(0, 0), (0, 3), (3, 0)], [1, 1, 0.1], [(0, 1, 2)])) == 0


def test_two_triangles_that_share_an_edge_leave_no_hole() -> None:
    found = draw([(0.3, 0.3), (0.3, 6.6), (6.6, 6.6), (6.6, 0.3)], [1] * 4, [(0, 1, 2), (0, 2, 3)])
    assert set(found.pixel.tolist()) == {y * 8 + x for x in range(1, 7) for y in range(1, 7)}


def test_what_lies_outside_the_picture_is_cut_off() -> None:
    found = draw([(-20, -20), (-20, 40), (40, -20)], [1, 1, 1], [(0, 1, 2)])
    assert sorted(found.pixel.tolist()) == list(range(64))


def test_the_nearer_triangle_hides_the_farther_one_pixel_by_pixel() -> None:
    # The second is nearer on the left and farther on the right.
    xy = [(0, 0), (0, 7), (7, 7), (7, 0)] * 2
    found = draw(xy, [2, 2, 2, 2, 1, 1, 3.4, 3.4], [(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)])
    seen = nearest(found, 64)
    assert len(seen) == 64
    column = seen.pixel % 8
    assert (seen.face[column <= 2] >= 2).all()
    assert (seen.face[column >= 3] < 2).all()


@given(st.lists(st.tuples(st.floats(-3, 11), st.floats(-3, 11)), min_size=3, max_size=3))
def test_shares_give_back_the_pixel(corners) -> None:
    xy = np.array(corners, np.float32)
    found = draw(xy, [1, 1, 1], [(0, 1, 2)])
    if len(found):
        back = found.share @ xy
        assert back == pytest.approx(np.stack([found.pixel % 8, found.pixel // 8], 1), abs=2e-2)
        assert found.share.sum(1) == pytest.approx(1, abs=1e-5)
