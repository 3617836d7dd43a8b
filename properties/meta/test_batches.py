"""Batches are what their recipe says: valid, reproducible, with every kind of row, and they shrink well."""

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.batches import Batch, batches

PLAIN = Batch(observation_dim=1, action_dim=1, terminals=(False,), saturated=(False,), repeats=(0,), seed=0)


@given(batch=batches())
def test_the_recipe_says_what_is_drawn(batch):
    transitions = batch.draw()
    assert (len(transitions), transitions.observation_dim, transitions.action_dim) == (
        batch.rows,
        batch.observation_dim,
        batch.action_dim,
    )
    assert transitions.observations.dtype == torch.float64
    assert transitions.actions.abs().max() <= 1
    assert transitions.terminals.tolist() == [float(flag) for flag in batch.terminals]
    for row, back in enumerate(batch.repeats):
        corner = bool((transitions.actions[row].abs() == 1).all())
        assert corner == batch.saturated[row - back]
        for values in (transitions.observations, transitions.actions, transitions.rewards):
            assert torch.equal(values[row], values[row - back])


@given(batch=batches())
def test_a_recipe_draws_the_same_twice_and_survives_its_repr(batch):
    again = eval(repr(batch))  # noqa: S307 - the repr is what a failure prints
    assert again == batch
    assert torch.equal(again.draw().rewards, batch.draw().rewards)


@given(data=st.data(), smallest=st.integers(1, 4), more=st.integers(0, 3))
def test_arguments_are_kept(data, smallest, more):
    terminals = data.draw(st.sampled_from(("none", "all")), label="terminals")
    batch = data.draw(
        batches(rows=(smallest, smallest + more), observation_dim=2, action_dim=3, terminals=terminals), label="batch"
    )
    assert smallest <= batch.rows <= smallest + more
    assert (batch.observation_dim, batch.action_dim) == (2, 3)
    assert set(batch.terminals) == {terminals == "all"}
    assert batch.state_scale == batch.reward_scale == 1


@given(batch=batches(extreme=True))
def test_extreme_batches_are_finite_and_so_are_products_of_two_numbers(batch):
    transitions = batch.draw()
    assert torch.isfinite(transitions.observations @ transitions.next_observations.T).all()
    assert torch.isfinite(transitions.rewards.square()).all()


KINDS = {
    "a terminal": lambda batch: any(batch.terminals),
    "terminals and others": lambda batch: len(set(batch.terminals)) == 2,
    "a repeated row": lambda batch: any(batch.repeats),
    "all rows the same": lambda batch: batch.rows > 2 and all(batch.repeats[1:]),
    "a saturated action": lambda batch: any(batch.saturated),
    "five rows": lambda batch: batch.rows == 5,
    "huge states": lambda batch: batch.state_scale > 1e140,
    "tiny rewards": lambda batch: batch.reward_scale < 1e-140,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_batch_is_found(kind):
    # find raises when the profile's number of examples does not hold one.
    assert KINDS[kind](find(batches(extreme=True), KINDS[kind]))


def test_shrinks_to_one_plain_row():
    assert find(batches(extreme=True), lambda _: True) == PLAIN


def test_a_repeated_row_shrinks_to_two_plain_rows():
    smallest = find(batches(), lambda batch: any(batch.repeats))
    assert smallest == Batch(1, 1, (False, False), (False, False), (0, 1), seed=0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rows": (0, 2)},
        {"rows": (3, 2)},
        {"observation_dim": 0},
        {"action_dim": -1},
        {"terminals": "some"},
    ],
    ids=str,
)
def test_an_impossible_argument_is_named(arguments):
    with pytest.raises(InvalidArgument, match=next(iter(arguments))):
        batches(**arguments)
