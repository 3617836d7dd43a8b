"""Homogeneity: scaling the weights by c scales f by c^L, its gradient by c^(L-1), the kernel by c^(2L-2).

Hypotheses: c > 0, an activation homogeneous of degree 1, no normalisation, no biases after the first layer;
or biases b_l scaled by c^l, which repairs f but not the kernel. Each has its counterexample at the end.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.oracles import assert_within, gradient_rows, sizes
from properties.strategies.networks import EVERY_KIND, PIECEWISE_LINEAR, Case, cases, powers_of_two
from properties.strategies.scales import scales
from seem.networks import MLP, MLPConfig
from seem.ntk import evaluate, gram_blocks

EPSILON = torch.finfo(torch.float64).eps


@torch.no_grad()
def scale(network: MLP, factor: float, *, by_layer: bool = False) -> None:
    """Multiply weights by ``factor``; biases too, or by factor^l in layer l."""
    for layer, linear in enumerate(network.linears, start=1):
        linear.weight *= factor
        if linear.bias is not None:
            linear.bias *= factor**layer if by_layer else factor


def homogeneous(bias: bool = False) -> st.SearchStrategy[Case]:
    """Critics of which only the biases may break homogeneity."""
    scale = EVERY_KIND["weight_scales"]
    return cases(activations=PIECEWISE_LINEAR, bias=bias, normalised=False, dead=None, weight_scales=scale)


# Powers of two commute with rounding: wherever a factor is one, equality is bitwise.


@pytest.mark.claim("HOM-OUTPUT")
@given(case=homogeneous(), factor=powers_of_two())
def test_output_scales_exactly(case, factor):
    network, x, _ = case.draw()
    before = network(x)
    scale(network, factor)
    assert torch.equal(network(x), before * factor**case.config.depth)


@pytest.mark.claim("HOM-GRADIENT")
@given(case=homogeneous(), factor=powers_of_two())
def test_gradient_scales_exactly(case, factor):
    network, x, _ = case.draw()
    before = gradient_rows(network, x)
    scale(network, factor)
    for name, gradient in gradient_rows(network, x).items():
        assert torch.equal(gradient, before[name] * factor ** (case.config.depth - 1)), name


@pytest.mark.claim("HOM-KERNEL")
@given(case=homogeneous(), factor=powers_of_two())
def test_kernel_scales_exactly(case, factor):
    network, x, x_next = case.draw()
    before = gram_blocks(network, x, x_next)
    scale(network, factor)
    power = factor ** (2 * case.config.depth - 2)
    for block, scaled in zip(before, gram_blocks(network, x, x_next), strict=True):
        assert torch.equal(scaled, block * power)


@pytest.mark.claim("HOM-GRADIENT")
@given(case=homogeneous(), data=st.data())
def test_each_layer_may_have_its_own_factor(case, data):
    network, x, _ = case.draw()
    exponents = data.draw(st.tuples(*[st.integers(-8, 8)] * case.config.depth), label="exponents")
    value, before = network(x), gradient_rows(network, x)
    with torch.no_grad():
        for linear, exponent in zip(network.linears, exponents, strict=True):
            linear.weight *= 2.0**exponent
    assert torch.equal(network(x), value * 2.0 ** sum(exponents))
    # The gradient by W_l misses the factor of W_l itself: the kernel has no common power unless all agree.
    for gradient, (name, old), exponent in zip(
        gradient_rows(network, x).values(), before.items(), exponents, strict=True
    ):
        assert torch.equal(gradient, old * 2.0 ** (sum(exponents) - exponent)), name


@pytest.mark.claim("HOM-OUTPUT")
@given(case=homogeneous(), factor=scales())
def test_other_factors_round_within_the_bound(case, factor):
    network, x, x_next = case.draw()
    value, blocks = evaluate(network, x), gram_blocks(network, x, x_next)
    depth = case.config.depth
    # Both sides round; a unit that changes its side would void the kernel's bound, but sits at 1e-16 from its kink.
    of_x, of_x_next = sizes(network, x), sizes(network, x_next)
    scale(network, factor)
    gram, gram_next = gram_blocks(network, x, x_next)
    power, kernel_power = factor**depth, factor ** (2 * depth - 2)
    assert_within(
        (evaluate(network, x), power * value, 2 * EPSILON * power * of_x.of_output),
        (gram, kernel_power * blocks[0], 2 * EPSILON * kernel_power * of_x.of_gram(of_x)),
        (gram_next, kernel_power * blocks[1], 2 * EPSILON * kernel_power * of_x_next.of_gram(of_x)),
    )


@pytest.mark.claim("HOM-EULER")
@given(case=homogeneous())
def test_euler_identity_in_every_layer(case):
    network, x, _ = case.draw()
    # Both sides are sums of the same products, each rounded at most `operations` times.
    bound = 2 * EPSILON * sizes(network, x).of_output
    value, gradients = evaluate(network, x).detach(), gradient_rows(network, x)
    for name, parameter in network.named_parameters():
        product = gradients[name] @ parameter.detach().flatten()
        assert ((product - value).abs() <= bound).all(), f"⟨W, ∂f/∂W⟩ = {product}, f = {value} at {name}"
    # Over all L layers this is ⟨θ, ∇f⟩ = L f.


@pytest.mark.claim("HOM-REPAIR")
@given(case=homogeneous(bias=True), factor=powers_of_two(-4, 4))
def test_biases_scaled_by_layer_repair_output_and_gradient(case, factor):
    network, x, _ = case.draw()
    depth, value, before = case.config.depth, network(x), gradient_rows(network, x)
    scale(network, factor, by_layer=True)
    assert torch.equal(network(x), value * factor**depth)
    after = gradient_rows(network, x)
    for layer in range(1, depth + 1):
        weight, bias = f"linears.{layer - 1}.weight", f"linears.{layer - 1}.bias"
        assert torch.equal(after[weight], before[weight] * factor ** (depth - 1)), weight
        # Not c^(L-1): this is why the repair does not reach the kernel.
        assert torch.equal(after[bias], before[bias] * factor ** (depth - layer)), bias


@pytest.mark.claim("HOM-REPAIR")
@given(case=homogeneous(bias=True))
def test_euler_identity_with_biases_counts_the_layer(case):
    network, x, _ = case.draw()
    gradients, total, value = gradient_rows(network, x), 0.0, evaluate(network, x).detach()
    for layer, linear in enumerate(network.linears, start=1):
        weights, biases = gradients[f"linears.{layer - 1}.weight"], gradients[f"linears.{layer - 1}.bias"]
        total += weights @ linear.weight.detach().flatten() + layer * (biases @ linear.bias.detach())
    # As without biases; a product that meets l biases or weights is counted L times in all.
    bound = 2 * EPSILON * case.config.depth * sizes(network, x).of_output
    assert ((total - case.config.depth * value).abs() <= bound).all(), f"{total} is not L f = L·{value}"


@pytest.mark.claim("HOM-FIRST-BIASES")
@given(case=homogeneous(bias=True), factor=powers_of_two())
def test_biases_of_the_first_layer_are_harmless(case, factor):
    network, x, x_next = case.draw()
    for linear in network.linears[1:]:
        linear.register_parameter("bias", None)
    depth, value, before = case.config.depth, network(x), gram_blocks(network, x, x_next)
    scale(network, factor)
    assert torch.equal(network(x), value * factor**depth)
    for block, scaled in zip(before, gram_blocks(network, x, x_next), strict=True):
        assert torch.equal(scaled, block * factor ** (2 * depth - 2))


OUTPUT_COUNTEREXAMPLES = {
    "no biases": (Case(MLPConfig(depth=2, width=2), inputs=1, rows=1, seed=0), 2.0),
    "homogeneous activation": (
        Case(MLPConfig(depth=2, width=2, bias=False, activation="tanh"), inputs=1, rows=1, seed=0),
        2.0,
    ),
    "no normalisation": (
        Case(MLPConfig(depth=3, width=2, bias=False, normalisation="layer"), inputs=1, rows=1, seed=0),
        2.0,
    ),
    "c > 0": (Case(MLPConfig(depth=2, width=2, bias=False), inputs=1, rows=1, seed=1), -1.0),
}


@pytest.mark.claim("HOM-BIASES")
@pytest.mark.parametrize("dropped", OUTPUT_COUNTEREXAMPLES)
def test_output_fails_without_its_hypothesis(dropped):
    case, factor = OUTPUT_COUNTEREXAMPLES[dropped]
    network, x, _ = case.draw()
    before = network(x)
    scale(network, factor)
    assert before.abs().max() > 0
    assert not torch.allclose(network(x), before * factor**case.config.depth, rtol=1e-3)


KERNEL_COUNTEREXAMPLES = {
    "biases are scaled as the weights": ({"by_layer": True}, Case(MLPConfig(depth=2, width=2), 1, 1, seed=0)),
    "no bias in a later layer, be it zero": ({}, Case(MLPConfig(depth=2, width=2), 1, 1, seed=0)),
}


@pytest.mark.claim("HOM-REPAIR-KERNEL")
@pytest.mark.parametrize("dropped", KERNEL_COUNTEREXAMPLES)
def test_kernel_fails_where_the_output_is_repaired(dropped):
    options, case = KERNEL_COUNTEREXAMPLES[dropped]
    network, x, x_next = case.draw()
    if not options:
        network.linears[-1].bias.data.zero_()
    value, (gram, _) = network(x), gram_blocks(network, x, x_next)
    scale(network, 2.0, **options)
    assert torch.equal(network(x), value * 2.0**2)
    assert not torch.allclose(gram_blocks(network, x, x_next)[0], gram * 2.0**2, rtol=1e-3)


def test_kernel_fails_when_layers_have_different_factors():
    network, x, x_next = Case(MLPConfig(depth=2, width=2, bias=False), 1, 1, seed=1).draw()
    gram, _ = gram_blocks(network, x, x_next)
    with torch.no_grad():
        network.linears[0].weight *= 4
    scaled, _ = gram_blocks(network, x, x_next)
    assert (scaled > gram).all()
    assert not torch.allclose(scaled, gram * 4**2)
