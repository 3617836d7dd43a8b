"""Critics on the ray are on it: values, gradients and λ are those of the recipe; arguments are kept and checked."""

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.ray_critics import RayCritic, ray_critics


@given(case=ray_critics(dtypes=("float64",)) | ray_critics(rates=(-8.0, -0.1), dtypes=("float64",)))
def test_values_and_gradients_are_those_of_the_ray(case):
    network, x, x_next = case.draw()
    for rows, sizes in ((x, case.here), (x_next, case.there)):
        expected = case.scale**case.depth * torch.tensor(sizes, dtype=torch.float64)
        # 1e-12: products of a few unit vectors.
        torch.testing.assert_close(network(rows).squeeze(1), expected, rtol=1e-12, atol=1e-12)
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(network(x).sum(), parameters), strict=True):
        direction = parameter * sum(case.here) * case.scale ** (case.depth - 2)
        torch.testing.assert_close(gradient, direction.detach(), rtol=1e-12, atol=1e-12)


@given(case=ray_critics(dtypes=("float64",)))
def test_the_rate_is_the_one_asked_for(case):
    assert case.lr > 0
    assert case.read().rate == pytest.approx(case.rate, rel=1e-11)


@given(data=st.data(), smallest=st.integers(1, 3))
def test_arguments_are_kept(data, smallest):
    case = data.draw(ray_critics(depths=(smallest, smallest + 1), rates=(0.5, 2.0), dtypes=("float32",)), label="case")
    assert smallest <= case.depth <= smallest + 1
    assert 0.5 <= case.rate <= 2
    assert case.draw()[0].linears[0].weight.dtype == torch.float32
    assert all(there > 0 for there in case.there[:1])
    assert eval(repr(case)) == case  # noqa: S307 - the repr is what a failure prints


def test_shrinks_to_one_row_of_one_unit():
    smallest = find(ray_critics(), lambda _: True)
    assert smallest == RayCritic(1, 1, 1, here=(1.0,), there=(2.0,), discount=1.0, rate=1.0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"depths": (0, 2)}, "depths"),
        ({"depths": (3, 2)}, "depths"),
        ({"rates": (-1.0, 1.0)}, "rates"),
        ({"rates": (0.0, 1.0)}, "rates"),
        ({"rates": (2.0, 1.0)}, "rates"),
    ],
)
def test_an_impossible_argument_is_named(arguments, named):
    with pytest.raises(InvalidArgument, match=named):
        ray_critics(**arguments)
