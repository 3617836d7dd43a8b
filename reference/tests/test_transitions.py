"""Transitions: what they refuse, subsets, selections and normalisation."""

from dataclasses import fields

import pytest
import torch

from seem.errors import InputError
from seem.transitions import STATE_EPSILON, Transitions

NAMES = [field.name for field in fields(Transitions)]


def arrays(rows: int = 12, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Fields with three state and two action components; every row carries its number in its reward."""
    generator = torch.Generator().manual_seed(0)
    observations, following = torch.randn(2, rows, 3, generator=generator, dtype=dtype)
    return {
        "observations": observations,
        "actions": torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1,
        "rewards": torch.arange(rows, dtype=dtype),
        "next_observations": following,
        "terminals": (torch.arange(rows) % 4 == 0).to(dtype),
    }


def equal(first: Transitions, second: Transitions) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in NAMES)


def constructed(made: dict[str, torch.Tensor]) -> Transitions:
    """As without jaxtyping's checks, which stand before the class's own in the tests and nowhere else."""
    bare = object.__new__(Transitions)
    for name, values in made.items():
        object.__setattr__(bare, name, values)
    bare.__post_init__()
    return bare


def test_sizes():
    transitions = Transitions(**arrays())
    assert (len(transitions), transitions.observation_dim, transitions.action_dim) == (12, 3, 2)


def test_select_takes_whole_rows_in_the_given_order():
    made = arrays()
    chosen = Transitions(**made).select(torch.tensor([5, 0, 5]))
    for name in NAMES:
        assert torch.equal(getattr(chosen, name), torch.stack([made[name][5], made[name][0], made[name][5]]))


def test_a_subset_has_different_rows_and_depends_on_the_generator_alone():
    transitions = Transitions(**arrays())
    for rows in (1, 7, 12):
        subset = transitions.subset(rows, torch.Generator().manual_seed(3))
        drawn = subset.rewards.long()
        assert len(drawn.unique()) == len(subset) == rows
        assert equal(subset, transitions.select(drawn))
        assert equal(subset, transitions.subset(rows, torch.Generator().manual_seed(3)))
    other = transitions.subset(12, torch.Generator().manual_seed(4))
    assert not torch.equal(other.rewards, subset.rewards)


def test_a_subset_draws_the_rows_of_a_cpu_permutation_whatever_the_dtype():
    made = arrays()
    drawn = Transitions(**made).subset(5, torch.Generator().manual_seed(0)).rewards
    narrow = Transitions(**made).to(dtype=torch.float32).subset(5, torch.Generator().manual_seed(0)).rewards
    assert torch.equal(narrow.double(), drawn)
    assert torch.equal(drawn.long(), torch.randperm(12, generator=torch.Generator().manual_seed(0))[:5])


@pytest.mark.parametrize("rows", [0, -1, 13])
def test_a_subset_of_impossible_size_is_refused(rows):
    with pytest.raises(InputError, match="ask for 1 to 12"):
        Transitions(**arrays()).subset(rows, torch.Generator())


def test_normalised_follows_its_formula_with_the_statistics_of_s_for_both_states():
    made = arrays()
    normalised = Transitions(**made).normalised()
    for column in range(3):
        values = made["observations"][:, column].tolist()
        mean = sum(values) / 12
        scale = (sum((value - mean) ** 2 for value in values) / 12) ** 0.5 + STATE_EPSILON
        for name in ("observations", "next_observations"):
            expected = torch.tensor([(v - mean) / scale for v in made[name][:, column].tolist()], dtype=torch.float64)
            # 1e-14: a dozen float64 operations on numbers of size 1.
            torch.testing.assert_close(getattr(normalised, name)[:, column], expected, rtol=0, atol=1e-14)
    for name in ("actions", "rewards", "terminals"):
        assert torch.equal(getattr(normalised, name), made[name])


def test_a_constant_state_component_is_normalised_to_zero():
    made = arrays()
    made["observations"][:, 1] = 0.5  # a power of two, whose mean is exact
    assert torch.equal(Transitions(**made).normalised().observations[:, 1], torch.zeros(12, dtype=torch.float64))


def test_to_changes_the_dtype_of_every_field():
    made = arrays()
    narrow = Transitions(**made).to(dtype=torch.float32)
    assert all(torch.equal(getattr(narrow, name), made[name].float()) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_another_length_is_refused(name):
    made = arrays()
    made[name] = made[name][:-1]
    with pytest.raises(InputError, match="pass arrays of one length"):
        constructed(made)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_another_number_of_dimensions_is_refused(name):
    """Rewards of shape (M, 1) would broadcast the TD target to (M, M) without a word."""
    for change in (lambda values: values[..., None], lambda values: values.sum()):
        made = arrays()
        made[name] = change(made[name])
        with pytest.raises(InputError, match=rf"{name} have shape"):
            constructed(made)


def test_states_of_two_sizes_are_refused():
    made = arrays()
    made["next_observations"] = made["next_observations"][:, :2]
    with pytest.raises(InputError, match="pass arrays of one shape"):
        constructed(made)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_value_that_is_not_finite_is_named(name, value):
    made = arrays()
    made[name][7] = value
    made[name].reshape(12, -1)[4, -1] = value
    with pytest.raises(InputError, match=f"{name} are not finite in row 4:"):
        Transitions(**made)


def test_a_value_outside_the_range_of_a_dtype_is_refused_by_to():
    made = arrays()
    made["rewards"][9] = 1e200
    with pytest.raises(InputError, match="rewards are not finite in row 9"):
        Transitions(**made).to(dtype=torch.float32)


def test_no_rows_are_valid_and_stay_so():
    empty = Transitions(**{name: values[:0] for name, values in arrays().items()})
    assert len(empty.select(torch.arange(0))) == 0
