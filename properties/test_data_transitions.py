"""Transitions: rows stay whole, subsets are drawn without replacement, and normalisation is one affine map.

Hypotheses of the normalisation: squares of the states do not overflow. What would be 0 everywhere is refused.
"""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.strategies.batches import Batch, batches
from seem.errors import InputError
from seem.transitions import STATE_EPSILON, Transitions

NAMES = [field.name for field in fields(Transitions)]
SEEDS = st.integers(0, 2**32 - 1)


def table(transitions: Transitions) -> torch.Tensor:
    """All fields side by side, one row a transition."""
    columns = [getattr(transitions, name) for name in NAMES]
    return torch.cat([column if column.ndim == 2 else column[:, None] for column in columns], dim=1)


def labelled(transitions: Transitions) -> Transitions:
    """The transitions with their row number as reward, so that a row can be told from its copies."""
    return replace(transitions, rewards=torch.arange(len(transitions), dtype=torch.float64))


@given(batch=batches(extreme=True), data=st.data())
def test_selected_rows_are_whole_and_in_order(batch, data):
    transitions = batch.draw()
    chosen = data.draw(st.lists(st.integers(0, batch.rows - 1), max_size=8), label="rows")
    found = transitions.select(torch.tensor(chosen, dtype=torch.int64))
    assert torch.equal(table(found), table(transitions)[chosen])
    assert len(found) == len(chosen)


@given(batch=batches(), seed=SEEDS, data=st.data())
def test_a_subset_holds_different_rows_and_follows_from_its_seed(batch, seed, data):
    transitions = labelled(batch.draw())
    count = data.draw(st.integers(1, batch.rows), label="count")
    found, again = (transitions.subset(count, torch.Generator().manual_seed(seed)) for _ in range(2))
    rows = found.rewards.long().tolist()
    assert len(set(rows)) == len(rows) == count
    assert torch.equal(table(found), table(transitions)[rows])
    assert torch.equal(table(again), table(found))
    larger = transitions.subset(batch.rows, torch.Generator().manual_seed(seed))
    assert larger.rewards[:count].long().tolist() == rows, "a smaller subset is the beginning of a larger one"


@given(batch=batches(), seed=SEEDS, count=st.integers(-2, 8))
def test_more_rows_than_there_are_or_none_are_refused(batch, seed, count):
    transitions, generator = batch.draw(), torch.Generator().manual_seed(seed)
    if 1 <= count <= batch.rows:
        assert len(transitions.subset(count, generator)) == count
    else:
        with pytest.raises(InputError, match="ask for 1 to"):
            transitions.subset(count, generator)


@given(batch=batches(rows=(1, 8), extreme=True))
def test_normalised_states_have_mean_zero_and_a_deviation_just_below_one(batch):
    found = batch.draw().normalised().observations
    # States of size one, whose scaling by a power of two is exact, whatever the scale.
    plain = replace(batch, state_scale=1.0).draw().observations
    deviation = plain.std(0, correction=0) * batch.state_scale
    # Mean and deviation are wrong by a few dozen roundings of the largest state.
    slack = 1e-14 * (1 + plain.abs().amax(0) * batch.state_scale / (deviation + STATE_EPSILON))
    assert (found.mean(0).abs() <= slack).all()
    assert ((found.std(0, correction=0) - deviation / (deviation + STATE_EPSILON)).abs() <= slack).all()


@given(batch=batches(rows=(1, 8)))
def test_normalisation_is_the_same_map_for_states_and_successors_and_leaves_the_rest(batch):
    transitions = batch.draw()
    found = transitions.normalised()
    scale = transitions.observations.std(0, correction=0) + STATE_EPSILON
    step = (transitions.next_observations - transitions.observations) / scale
    # 1e-12 as above, of differences of size ten at most, over 1e-3 at least.
    torch.testing.assert_close(found.next_observations - found.observations, step, rtol=1e-12, atol=1e-11)
    for name in ("actions", "rewards", "terminals"):
        assert torch.equal(getattr(found, name), getattr(transitions, name))


@given(batch=batches(rows=(2, 8)), shift=st.floats(-8.0, 8.0))
def test_normalisation_forgets_where_the_states_were(batch, shift):
    transitions = batch.draw()
    moved = replace(
        transitions,
        observations=transitions.observations + shift,
        next_observations=transitions.next_observations + shift,
    )
    expected = transitions.normalised()
    size = 20 + expected.observations.abs().max() + expected.next_observations.abs().max()
    # A state of size twenty and a deviation are each wrong by a few roundings, over a deviation of ε at least.
    slack = 1e-14 * float(size) / STATE_EPSILON
    torch.testing.assert_close(table(moved.normalised()), table(expected), rtol=0, atol=slack)


def test_normalisation_does_not_forget_the_scale_because_of_its_epsilon():
    transitions = Batch(1, 1, (False, False), (False, False), (0, 0), seed=0).draw()
    tiny = replace(transitions, observations=transitions.observations * 2.0**-10)
    assert (tiny.normalised().observations - transitions.normalised().observations).abs().max() > 0.1


def test_states_whose_squares_overflow_are_refused():
    huge = Batch(1, 1, (False, False), (False, False), (0, 0), seed=0, state_scale=2.0**600).draw()
    with pytest.raises(InputError, match="too large to be normalised"):
        huge.normalised()


@given(batch=batches())
def test_every_float32_survives_float64(batch):
    narrow = batch.draw().to(dtype=torch.float32)
    assert torch.equal(table(narrow.to(dtype=torch.float64).to(dtype=torch.float32)), table(narrow))
    assert table(narrow).dtype == torch.float32


@given(batch=batches(), data=st.data())
def test_a_number_that_is_not_finite_is_refused_with_its_field_and_row(batch, data):
    name = data.draw(st.sampled_from(NAMES), label="field")
    row = data.draw(st.integers(0, batch.rows - 1), label="row")
    value = data.draw(st.sampled_from((float("nan"), float("inf"), -float("inf"))), label="value")
    transitions = batch.draw()
    spoilt = getattr(transitions, name).clone()
    spoilt.reshape(batch.rows, -1)[row, -1] = value
    with pytest.raises(InputError, match=rf"^{name} are not finite in row {row}: "):
        replace(transitions, **{name: spoilt})


@given(batch=batches(), data=st.data())
def test_shapes_that_do_not_fit_are_refused(batch, data):
    name = data.draw(st.sampled_from(NAMES), label="field")
    transitions = batch.draw()
    values = getattr(transitions, name)
    changes = {
        "another axis": values[..., None],
        "no axis": values.sum(),
        "one row more": torch.cat((values, values[:1])),
        "no rows": values[:0],
    }
    if name.endswith("observations"):
        changes["another component"] = torch.cat((values, values[:, :1]), dim=1)
    change = data.draw(st.sampled_from(sorted(changes)), label="change")
    event(change)
    with pytest.raises(InputError, match="pass "):
        replace(transitions, **{name: changes[change]})
