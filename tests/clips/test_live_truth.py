"""Operations in place: what they make of a few people is what they make of the whole clip, and can be taken back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jmpose_cli.clips.live_truth import LiveTruth
from jmpose_cli.clips.operation import changed_frames, settled
from jmpose_cli.clips.operations import AddPerson, Delete, Replace
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import Truth, read_truth, write_truth
from tests.clips.clip_assets import make_clip
from tests.clips.some_operations import operations


def base_of(folder, **how) -> Truth:
    read = settled(read_truth(make_clip(folder, **how)))
    return replace(read, model_xy=np.where(read.present[..., None], read.xy, np.nan))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return {plain: base_of(tmp_path_factory.mktemp("clip"), plain=plain) for plain in (False, True)}


def live_of(base: Truth) -> LiveTruth:
    return LiveTruth(replace(base, **{name: column.copy() for name, column in base.row_columns().items()}))


def outcome(act) -> tuple:
    try:
        return act(), None
    except JmposeError as error:
        return None, (error.message, error.hint)


def assert_same(one: Truth, other: Truth) -> None:
    assert one.row_columns().keys() == other.row_columns().keys()
    for name, column in one.row_columns().items():
        np.testing.assert_array_equal(column, getattr(other, name), err_msg=name)
    np.testing.assert_array_equal(one.reviewed, other.reviewed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), plain=st.booleans())
def test_in_place_it_is_the_same_as_on_the_whole(bases, data, plain):
    truth = bases[plain]
    live, states, changes = live_of(truth), [truth], []
    for _ in range(data.draw(st.integers(1, 12))):
        if changes and data.draw(st.integers(0, 3)) == 0:
            live.revert(changes.pop())
            states.pop()
            truth = states[-1]
            assert_same(live.truth(), truth)
        operation = data.draw(
            st.one_of(operations(bases[plain]), operations(truth)) if len(truth) else operations(bases[plain])
        )
        wanted, refused = outcome(lambda: operation.apply(truth))  # noqa: B023
        change, said = outcome(lambda: live.apply([operation]))  # noqa: B023
        assert said == refused
        if wanted is not None:
            assert change.places.tolist() == sorted(changed_frames(truth, wanted))
            states.append(wanted)
            changes.append(change)
            truth = wanted
        assert_same(live.truth(), truth)
    for change in reversed(changes):
        live.revert(change)
    assert_same(live.truth(), bases[plain])


def test_several_operations_are_applied_together_or_not_at_all(bases):
    live = live_of(bases[False])
    with pytest.raises(JmposeError, match="no track 99"):
        live.apply([Delete(track=3), Delete(track=99)])
    assert_same(live.truth(), bases[False])
    change = live.apply([Delete(track=3), Delete(track=8, frames=(11, None))])
    assert change.tracks.tolist() == [3, 8] and change.places.tolist() == [0, 1, 2, 3, 4, 5, 9]


def test_a_clip_without_people_can_be_left_and_filled(bases, tmp_path):
    live, whole = live_of(bases[False]), bases[False]
    steps = [*(Delete(track=track) for track in (1, 3, 7, 8)), AddPerson(frame=3, box=(1, 2, 30, 40))]
    changes = []
    for operation in steps:
        whole = operation.apply(whole)
        changes.append(live.apply([operation]))
        assert_same(live.truth(), whole)
    for name, truth in (("live", live.truth()), ("whole", whole)):
        write_truth(truth, tmp_path / name)
    assert (tmp_path / "live").read_bytes() == (tmp_path / "whole").read_bytes()
    for change in reversed(changes):
        live.revert(change)
    assert_same(live.truth(), bases[False])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_of_another_program_replace_in_place(bases, data):
    base = bases[False]
    other = base
    for _ in range(3):
        other = outcome(lambda: data.draw(operations(base)).apply(other))[0] or other  # noqa: B023
    operation = Replace.between(base, other, origin="x")
    live = live_of(base)
    live.apply([operation])
    assert_same(live.truth(), operation.apply(base))
