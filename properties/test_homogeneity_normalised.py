"""Homogeneity of normalised critics: which power of c each parameter scales with, and which one f then has.

With h_l the hidden layers, z_l = W_l h_{l-1} + b_l has the degree of W_l plus that of h_{l-1}. LayerNorm, RMSNorm
and GroupNorm forget the scale of z_l (degree 0), their gain and shift give it back (degree 1); LayerScale adds 1;
WeightNorm leaves W_l degree 1; the spectral norm takes it. Then f has degree d and ∂f/∂p degree d minus that of p.

Hypotheses: ε = 0, c > 0, an activation homogeneous of degree 1, units that are not all equal before a LayerNorm
(or its output is NaN, before and after), biases scaled as what they are added to. Counterexamples at the end.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.oracles import gradient_rows
from properties.strategies.networks import PIECEWISE_LINEAR, Case, cases, powers_of_two
from seem.networks import MLP, MLPConfig
from seem.normalisation import RECORDS
from seem.ntk import evaluate, gram_blocks

STANDARDISING = tuple(kind.name for kind in RECORDS.values() if kind.by_row)
KINDS = (*STANDARDISING, "scale", "weight", "spectral")


def normalised_cases(kinds: tuple[str, ...] = KINDS, bias: bool | None = None) -> st.SearchStrategy[Case]:
    """Trained critics with normalised hidden layers and ε = 0: a gain of 1 or a shift of 0 would hide its degree."""
    return cases(
        activations=PIECEWISE_LINEAR, bias=bias, normalised=True, normalisations=kinds, epsilons=(0.0,), trained=True
    )


def degrees(config: MLPConfig) -> tuple[dict[str, int], int]:
    """The power of c of each parameter, and of f; weights, gains and shifts have power 1."""
    exponents, hidden = {}, 0
    for layer in range(1, config.depth + 1):
        kind = config.kind if config.is_normalised(layer) else "none"
        hidden += 0 if kind == "spectral" else 1
        exponents[f"linears.{layer - 1}.bias"] = hidden
        if kind in STANDARDISING:
            hidden = 1 if config.affine else 0
        elif kind == "scale":
            hidden += 1
    return exponents, hidden


def exponent_of(name: str, exponents: dict[str, int]) -> int:
    return exponents.get(name, 1)


@torch.no_grad()
def scale(network: MLP, factor: float, exponents: dict[str, int]) -> None:
    for name, parameter in network.named_parameters():
        parameter *= factor ** exponent_of(name, exponents)


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Bitwise equality; NaN, the value of a LayerNorm of equal units at ε = 0, is itself."""
    return bool(((left == right) | (left.isnan() & right.isnan())).all())


@pytest.mark.claim("HOM-LAYERNORM")
@given(case=normalised_cases(), factor=powers_of_two())
def test_output_and_gradients_scale_by_their_degrees(case, factor):
    network, x, _ = case.draw()
    exponents, degree = degrees(case.config)
    value, before = evaluate(network, x), gradient_rows(network, x)
    event(f"degree {degree}, {int(value.isnan().sum())} rows NaN")
    scale(network, factor, exponents)
    # Even the variance, its root and its inverse scale without rounding: by a power of four, then of two.
    assert same(evaluate(network, x), value * factor**degree), f"f has not degree {degree}"
    for name, gradient in gradient_rows(network, x).items():
        expected = before[name] * factor ** (degree - exponent_of(name, exponents))
        assert same(gradient, expected), f"∂f/∂{name} has not degree {degree} - {exponent_of(name, exponents)}"


@pytest.mark.claim("HOM-LAYERNORM")
@given(case=normalised_cases(bias=False), factor=powers_of_two())
def test_kernel_scales_by_twice_the_degree_less_two(case, factor):
    network, x, x_next = case.draw()
    _, degree = degrees(case.config)
    before = gram_blocks(network, x, x_next)
    scale(network, factor, {})
    for block, scaled in zip(before, gram_blocks(network, x, x_next), strict=True):
        assert same(scaled, block * factor ** (2 * degree - 2)), f"the kernel has not degree 2·{degree} - 2"


@pytest.mark.claim("HOM-LAYERNORM")
@given(case=normalised_cases(kinds=STANDARDISING), factor=powers_of_two(), data=st.data())
def test_a_layer_before_layernorm_has_degree_zero(case, factor, data):
    network, x, _ = case.draw()
    layer = data.draw(st.sampled_from(case.config.normalised_layers), label="layer")
    value, before = evaluate(network, x), gradient_rows(network, x)
    with torch.no_grad():
        for parameter in network.linears[layer - 1].parameters():
            parameter *= factor
    assert same(evaluate(network, x), value)
    after = gradient_rows(network, x)
    name = f"linears.{layer - 1}.weight"
    # Degree -1: this layer's share of the kernel falls as c^-2, while the weights only grow.
    assert same(after[name], before[name] / factor)


LAYERNORM = MLPConfig(depth=3, width=3, activation="leaky_relu", bias=False, normalisation="layer", epsilon=0.0)
COUNTEREXAMPLES = {
    "epsilon = 0": replace(LAYERNORM, epsilon=1e-2),
    "epsilon = 0 in RMSNorm": replace(LAYERNORM, normalisation="rms", epsilon=1e-2),
    "activation of degree 1": replace(LAYERNORM, activation="tanh"),
    "biases scaled as what they are added to": replace(LAYERNORM, bias=True),
}


@pytest.mark.claim("HOM-EPSILON")
@pytest.mark.parametrize("dropped", COUNTEREXAMPLES)
def test_fails_without_its_hypothesis(dropped):
    network, x, _ = Case(COUNTEREXAMPLES[dropped], inputs=1, rows=1, seed=1, trained=True).draw()
    value, (_, degree) = evaluate(network, x), degrees(network.config)
    scale(network, 2.0, {})
    assert value.abs().min() > 0
    assert not torch.allclose(evaluate(network, x), value * 2.0**degree, rtol=1e-3)


def test_units_that_are_all_equal_have_no_layernorm_at_epsilon_zero():
    network, x, _ = Case(LAYERNORM, inputs=1, rows=1, seed=0).draw()
    network.linears[0].weight.data.fill_(1.0)
    assert evaluate(network, x).isnan().all()
