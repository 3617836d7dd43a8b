"""Normalisations without statistics of the row leave the kernel's linear growth along a ray.

BatchNorm in evaluation mode, WeightNorm, spectral norm and LayerScale give a plain network with other weights and
biases; only its parameters, and so its kernel's size, are others. WeightNorm and spectral norm forget the size of
their weights, not that of their input. Spectral norm bounds the slope of value and kernel.

Hypotheses: an activation that is homogeneous of degree 1; for the bounds of the slope, every hidden layer under the
spectral norm with its vectors at rest, and |σ(p)| ≤ |p|, |σ'| ≤ 1.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from torch.nn.utils.parametrize import is_parametrized

from properties.margins import target_share
from properties.oracles import sizes
from properties.ray_bounds import OPERATIONS, ROUNDING, gram_along, gram_rounding
from properties.strategies.networks import EVERY_KIND, PIECEWISE_LINEAR, Case, cases, powers_of_two
from properties.strategies.rays import on_rays
from seem.layernorm import affine
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks

SMALLEST = torch.finfo(torch.float64).tiny
GROWING = EVERY_KIND | {"normalised": True, "normalisations": ("batch", "weight", "spectral", "scale")}


@torch.no_grad()
def folded(network: MLP) -> MLP:
    """The plain network of the same function: effective weights, and gains, shifts and statistics inside them."""
    config = network.config
    plain = MLP(
        network.linears[0].in_features,
        1,
        MLPConfig(depth=config.depth, width=config.width, activation=config.activation),
        generator=torch.Generator(),
        dtype=torch.float64,
    )
    for layer, (linear, source) in enumerate(zip(plain.linears, network.linears, strict=True), start=1):
        linear.weight.copy_(source.weight)
        linear.bias.copy_(torch.zeros_like(linear.bias) if source.bias is None else source.bias)
        if layer < config.depth:
            gain, shift = (torch.from_numpy(part) for part in affine(network, layer))
            if config.kind == "batch" and config.is_normalised(layer):
                norm = network.norms[layer - 1]
                gain = gain / (norm.running_var + norm.eps).sqrt()
                shift = shift - gain * norm.running_mean
            linear.weight *= gain[:, None]
            linear.bias.copy_(gain * linear.bias + shift)
    return plain


@pytest.mark.claim("NORM-WEIGHT")
@given(drawn=on_rays(cases(**GROWING)))
def test_the_network_is_a_plain_one_with_other_weights(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    _, _, points = ray.draw()
    plain = folded(network)
    difference = (network(points) - plain(points)).abs().squeeze(1)
    # Below the smallest normal number rounding is not relative.
    slack = sum(ROUNDING * sizes(either, points).of_output + SMALLEST for either in (network, plain))
    assert (difference <= slack).all(), f"{difference} with {slack} of rounding"


@pytest.mark.claim("NORM-WEIGHT")
@given(drawn=on_rays(cases(activations=PIECEWISE_LINEAR, **GROWING), count=(1, 1)))
def test_kernel_is_affine_in_the_length_far_out(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    x0, v, _ = ray.draw()
    # Beyond the last kink.
    points = x0 + torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None] * 2.0**40 * v
    gram = gram_along(network, x0, points)
    bend = gram[0, 1] - 2 * gram[0, 2] + gram[0, 3]
    assert abs(bend) <= 4 * gram_rounding(network, x0[None], points).max()


HOMOGENEOUS = GROWING | {"affine": False, "trained": False, "dead": False}


@pytest.mark.claim("NORM-WEIGHT")
@given(case=cases(activations=PIECEWISE_LINEAR, bias=False, **HOMOGENEOUS), factor=powers_of_two(0, 40))
def test_kernel_has_degree_one_in_its_input(case, factor):
    """Hence it grows without limit along x0's own ray. BatchNorm's means and shifts count as biases."""
    network, x, x_next = case.draw()
    x = torch.cat((x, x_next))
    # Powers of two commute with rounding: equality is bitwise.
    assert torch.equal(gram_blocks(network, x, factor * x)[1], factor * gram_blocks(network, x, x)[1])


@given(case=cases(**(GROWING | {"normalisations": ("weight", "spectral")})), factor=powers_of_two(1, 4))
def test_the_size_of_normed_weights_is_forgotten_and_slows_them_down(case, factor):
    """Degree 0 in the weights: f stays, and their share of the kernel falls by the square of the factor."""
    network, x, _ = case.draw()
    normed = [linear.parametrizations.parameters() for linear in network.linears if is_parametrized(linear)]
    directions = [list(parameters)[-1] for parameters in normed]
    value = network(x)
    share = sum(g.square().sum() for g in torch.autograd.grad(value[0], directions))
    before = gram_blocks(network, x, x)[0][0, 0]
    slack = 2 * gram_rounding(network, x[:1], x[:1]).item()
    for direction in directions:
        direction.data *= factor
    # Powers of two commute with rounding: equality is bitwise.
    assert torch.equal(network(x), value)
    fall = before - gram_blocks(network, x, x)[0][0, 0]
    assert abs(fall - (1 - factor**-2) * share) <= slack


@given(case=cases(**(GROWING | {"normalisations": ("spectral",), "trained": True})))
def test_a_reading_in_training_mode_does_not_move_the_vectors(case):
    network, x, x_next = case.draw()
    expected, before = gram_blocks(network, x, x_next), {k: v.clone() for k, v in network.state_dict().items()}
    taken = gram_blocks(network.train(), x, x_next)
    assert all(torch.equal(one, other) for one, other in zip(taken, expected, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


SPECTRAL = EVERY_KIND | {"normalised": True, "normalisations": ("spectral",), "trained": False, "dead": False}


@pytest.mark.claim("NORM-SPECTRAL")
@given(drawn=on_rays(cases(activations=("relu", "leaky_relu", "tanh", "elu", "identity"), **SPECTRAL)))
def test_spectral_norm_bounds_the_slope_of_the_value(drawn):
    case, ray = drawn
    network, *_ = replace(case, config=replace(case.config, normalised_layers=None)).draw()
    x0, _, points = ray.draw()
    moved = (network(points) - network(x0[None])).abs().squeeze(1)
    most = network.linears[-1].weight.norm() * (points - x0).norm(dim=1)
    slack = ROUNDING * (sizes(network, points).of_output + sizes(network, x0[None]).of_output) + SMALLEST
    assert (moved <= most + slack).all(), f"{moved} above {most}"


@pytest.mark.claim("NORM-SPECTRAL")
@given(drawn=on_rays(cases(activations=("relu", "leaky_relu", "identity"), bias=False, **SPECTRAL)))
def test_spectral_norm_bounds_the_slope_of_the_kernel(drawn):
    r"""Shares: ‖h‖ ≤ ‖x‖ and ‖δ‖ ≤ ‖w‖, so ‖δhᵀ - q uvᵀ‖/σ ≤ 2‖w‖‖x‖/σ."""
    case, ray = drawn
    network, *_ = replace(case, config=replace(case.config, normalised_layers=None)).draw()
    x0, _, points = ray.draw()
    head = network.linears[-1].weight.square().sum().item()
    raw = [linear.parametrizations.weight.original for linear in network.linears[:-1]]
    rate = 1 + sum(4 * head / torch.linalg.matrix_norm(weight, 2).item() ** 2 for weight in raw)
    most = rate * (x0.norm() * points.norm(dim=1)).numpy()
    kernels = np.abs(gram_along(network, x0, points)[0, 1:])
    if most.min() > 0:
        target_share(float((kernels / most).max()), "kernel / bound")
    # Sums of a few hundred products of one sign of size.
    assert (kernels <= most * (1 + OPERATIONS * ROUNDING)).all(), f"{kernels} above {most}"


def test_stale_vectors_do_not_bound_the_slope():
    """σ = uᵀWv underestimates the norm of weights that have moved since the last power iteration."""
    shape = MLPConfig(depth=2, width=2, activation="identity", bias=False, normalisation="spectral")
    network, *_ = Case(shape, inputs=2, rows=1, seed=0).draw()
    network.linears[0].parametrizations.weight.original.data.mul_(torch.tensor([[1.0, -2.0], [3.0, 1.0]]))
    assert torch.linalg.matrix_norm(network.linears[0].weight, 2) > 1.5
    network.train()
    for _ in range(50):
        network(torch.ones(1, 2, dtype=torch.float64))
    assert torch.linalg.matrix_norm(network.eval().linears[0].weight, 2).item() == pytest.approx(1, rel=1e-6)
