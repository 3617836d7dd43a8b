"""Scales, step sizes and discounts: within their bounds, ends included, validated, shrinking to the plain case."""

import math

import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.scales import DISCOUNTS, discounts, scales, step_sizes


@given(data=st.data(), exponents=st.lists(st.integers(-60, 60), min_size=2, max_size=2).map(sorted))
def test_scales_lie_between_the_powers(data, exponents):
    smallest, largest = exponents
    factor = data.draw(scales(smallest, largest), label="factor")
    assert 2.0**smallest <= factor <= 2.0**largest


@given(data=st.data(), bounds=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_discounts_lie_between_the_bounds(data, bounds):
    assert bounds[0] <= data.draw(discounts(*bounds), label="discount") <= bounds[1]


@given(multiple=step_sizes())
def test_step_sizes_are_positive(multiple):
    assert 0 < multiple <= 2


@pytest.mark.parametrize("discount", DISCOUNTS)
def test_special_discounts_are_found(discount):
    assert find(discounts(), lambda drawn: drawn == discount) == discount


def test_both_sides_of_the_overshoot_are_found():
    assert find(step_sizes(), lambda multiple: multiple > 1) > 1
    assert find(step_sizes(), lambda multiple: multiple < 1) < 1


def test_most_scales_round():
    # A factor that is no power of two is what `powers_of_two` cannot give.
    assert find(scales(), lambda factor: math.frexp(factor)[0] != 0.5)


def test_they_shrink_to_the_plain_case():
    assert find(scales(), lambda _: True) == 1
    assert find(discounts(), lambda _: True) == 0
    assert find(step_sizes(), lambda _: True) == 1
    assert find(scales(), lambda factor: factor > 1.5) == 2


@pytest.mark.parametrize(
    ("strategy", "bounds"),
    [
        (scales, (2, 1)),
        (scales, (-1023, 0)),
        (step_sizes, (0.0, 1.0)),
        (step_sizes, (1.0, 0.5)),
        (discounts, (-0.1, 1.0)),
        (discounts, (0.5, 1.5)),
    ],
)
def test_impossible_bounds_are_named(strategy, bounds):
    with pytest.raises(InvalidArgument, match=f"{bounds[0]} to {bounds[1]}"):
        strategy(*bounds)
