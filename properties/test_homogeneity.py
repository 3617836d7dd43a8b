"""Homogeneity: scaling the parameters by c scales f by c^L, its gradient by c^(L-1), the kernel by c^(2L-2).

Hypotheses: no biases, an activation homogeneous of degree 1, no normalisation.
"""

import pytest
import torch
from hypothesis import given

from properties.strategies.networks import PIECEWISE_LINEAR, Case, cases, powers_of_two
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks


@torch.no_grad()
def scale(network: MLP, factor: float, *, by_layer: bool = False) -> None:
    """Multiply weights by ``factor``; biases too, or by factor^l in layer l."""
    for layer, linear in enumerate(network.linears, start=1):
        linear.weight *= factor
        if linear.bias is not None:
            linear.bias *= factor**layer if by_layer else factor


@given(case=cases(activations=("relu", "identity"), bias=False, normalised=False), factor=powers_of_two())
def test_output_scales_exactly(case, factor):
    network, x, _ = case.draw()
    before = network(x)
    scale(network, factor)
    # Powers of two commute with rounding: equality is bitwise.
    assert torch.equal(network(x), before * factor**case.config.depth)


@given(case=cases(activations=("relu", "identity"), bias=False, normalised=False), factor=powers_of_two())
def test_kernel_scales_exactly(case, factor):
    network, x, x_next = case.draw()
    before = gram_blocks(network, x, x_next)
    scale(network, factor)
    power = factor ** (2 * case.config.depth - 2)
    for block, scaled in zip(before, gram_blocks(network, x, x_next), strict=True):
        assert torch.equal(scaled, block * power)


@given(case=cases(activations=PIECEWISE_LINEAR, bias=False, normalised=False))
def test_euler_identity(case):
    network, x, _ = case.draw()
    value = network(x).sum()
    gradients = torch.autograd.grad(value, list(network.parameters()))
    product = sum((g * p).sum() for g, p in zip(gradients, network.parameters(), strict=True))
    # 1e-12: two orders of summation of a few hundred float64 products of size one.
    torch.testing.assert_close(product, case.config.depth * value, rtol=1e-12, atol=1e-12)


@given(case=cases(activations=("relu", "identity"), bias=True, normalised=False), factor=powers_of_two(-4, 4))
def test_biases_scaled_by_layer_repair_it(case, factor):
    network, x, _ = case.draw()
    before = network(x)
    scale(network, factor, by_layer=True)
    assert torch.equal(network(x), before * factor**case.config.depth)


COUNTEREXAMPLES = {
    "biases": Case(MLPConfig(depth=2, width=2), inputs=1, rows=1, seed=0),
    "smooth activation": Case(MLPConfig(depth=2, width=2, bias=False, activation="tanh"), inputs=1, rows=1, seed=0),
    "LayerNorm": Case(
        MLPConfig(depth=2, width=2, bias=False, normalisation="layer", epsilon=1e-5), inputs=1, rows=1, seed=1
    ),
}


@pytest.mark.parametrize("dropped", COUNTEREXAMPLES)
def test_fails_without_its_hypothesis(dropped):
    network, x, _ = COUNTEREXAMPLES[dropped].draw()
    before = network(x)
    scale(network, 2.0)
    assert before.abs().max() > 0
    assert not torch.allclose(network(x), before * 2.0**2, rtol=1e-3)
