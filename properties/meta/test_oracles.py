"""The slow twins and the sizes that tolerances come from: they bound what they say, and are sharp enough to matter."""

import pytest
import torch
from hypothesis import given, target

from properties.oracles import assert_within, gradient_rows, gram_by_loop, gram_shares, sizes
from properties.strategies.networks import EVERY_KIND, PIECEWISE_LINEAR, Case, cases
from seem.networks import MLPConfig
from seem.ntk import evaluate

EPSILON = torch.finfo(torch.float64).eps


@given(case=cases(**EVERY_KIND))
def test_sizes_bound_values_and_gradients(case):
    network, x, _ = case.draw()
    bound = sizes(network, x)
    lengths = torch.stack([rows.norm(dim=1) for rows in gradient_rows(network, x).values()]).norm(dim=0)
    # The bounds round too.
    assert (evaluate(network, x).abs() <= (1 + 1e-9) * bound.output).all()
    ratio = float((lengths / bound.gradient).max())
    target(ratio, label="gradient / bound")
    assert ratio <= 1 + 1e-9
    assert (bound.sensitivity >= 1).all()
    assert (bound.margin >= 0).all()


@given(case=cases(activations=PIECEWISE_LINEAR, normalised=False))
def test_a_mistake_of_a_millionth_is_a_million_bounds(case):
    network, x, _ = case.draw()
    bound = sizes(network, x)
    assert (EPSILON * bound.of_gram(bound) <= 1e-12 * bound.gradient[:, None] * bound.gradient).all()


def test_gradients_of_a_linear_critic():
    network, x, _ = Case(MLPConfig(depth=1), inputs=2, rows=3, seed=0).draw()
    gradients = gradient_rows(network, x)
    assert torch.equal(gradients["linears.0.weight"], x)
    assert torch.equal(gradients["linears.0.bias"], torch.ones(3, 1, dtype=torch.float64))
    torch.testing.assert_close(gram_shares(network, x, x)["linears.0.weight"], x @ x.T, rtol=1e-15, atol=0)
    torch.testing.assert_close(gram_by_loop(network, x, x), x @ x.T + 1, rtol=1e-15, atol=0)


@pytest.mark.parametrize("wrong", [1 + 1e-6, float("nan"), float("inf")])
def test_a_wrong_number_among_right_ones_is_seen(wrong):
    right, bound = torch.ones(3), torch.full((3,), 1e-9)
    with pytest.raises(AssertionError, match="bounds"):
        assert_within((right, right, bound), (torch.tensor([1.0, wrong, 1.0], dtype=torch.float64), right, bound))
