"""The kernel along a ray, and the derived constants that bound it, for networks of `seem`.

The constant is derived for LayerNorm. Two identities carry it over: GroupNorm is a LayerNorm of every group, and
RMSNorm of z is the first half of the LayerNorm of (z, -z), whose mean is 0.
"""

import numpy as np
import torch
from hypothesis import event

from properties.margins import target_share
from properties.oracles import sizes
from seem.networks import MLP
from seem.normalisation import parse
from seem.ntk import gram_blocks
from theory.layernorm_bound import layernorm_ntk_bound, layernorm_value_bound

LIPSCHITZ = {"gelu": 1.13, "silu": 1.1}
"""Bounds of |σ'| above 1: GELU's is 1.1290 at p = √2, SiLU's 1.0998 at p = 2.40."""
ROUNDING = 2.0**-52
OPERATIONS = 100
"""More roundings than lie between an input of up to 4 components and a layer's spread over up to 6 units."""


def gram_along(network: MLP, x0: torch.Tensor, points: torch.Tensor) -> np.ndarray:
    """The Gram block of x0 and the points of a ray: row 0 holds k(x0, point), the diagonal squared gradient norms.

    Args:
        network: A critic in evaluation mode.
        x0: Input, shape (inputs,).
        points: Inputs, shape (N, inputs).

    Returns:
        The block, shape (1 + N, 1 + N), float64.
    """
    x = torch.cat((x0[None], points))
    return gram_blocks(network, x, x)[0].numpy()


def common_direction(network: MLP, common: float) -> torch.Tensor:
    """A direction that moves all units of the first layer alike: the first input, with its column of W_1 constant.

    Args:
        network: A critic, whose W_1 is changed.
        common: What every unit's weight of the first input becomes.

    Returns:
        v, shape (inputs,), float64.
    """
    first = network.linears[0]
    with torch.no_grad():
        first.weight[:, 0] = common
    v = torch.zeros(first.in_features, dtype=torch.float64)
    v[0] = 1
    return v


def gram_rounding(network: MLP, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Largest rounding of a Gram block.

    Args:
        network: A critic in evaluation mode.
        rows: Inputs Z, shape (rows, inputs).
        columns: Inputs X, shape (columns, inputs).

    Returns:
        Bounds on the error of G(Z, X), shape (rows, columns).
    """
    return ROUNDING * sizes(network, rows).of_gram(sizes(network, columns))


def ntk_bound(network: MLP, x0: torch.Tensor, direction: torch.Tensor | None) -> float:
    """The derived constant K with |k(x0, x0 + ρv)| ≤ K for every ρ.

    Args:
        network: A critic with LayerNorm, GroupNorm or RMSNorm in hidden layer 1 at least.
        x0: Input, shape (inputs,).
        direction: v, shape (inputs,), or None for a constant of all inputs.

    Raises:
        ValueError: When a hypothesis of the derivation fails.
    """
    config = network.config
    weights = [linear.weight.detach().numpy() for linear in network.linears]
    biases = [linear.bias.detach().numpy() for linear in network.linears] if config.bias else None
    normalised = [layer for layer in range(1, config.depth) if config.is_normalised(layer)]
    gains, shifts = ({layer: affine(network, layer)[part] for layer in normalised} for part in (0, 1))
    return max(
        layernorm_ntk_bound(
            x0.numpy(),
            None if direction is None else direction.numpy(),
            [first, *weights[1:]],
            epsilon=config.epsilon,
            biases=None if biases is None else [first_bias, *biases[1:]],
            gains=gains if config.affine else None,
            shifts=shifts if config.affine else None,
            normalised=normalised,
            lipschitz=LIPSCHITZ.get(config.activation, 1.0),
        )
        for first, first_bias in as_layernorms(network, weights[0], biases[0] if biases else np.zeros(config.width))
    )


def as_layernorms(network: MLP, weight: np.ndarray, bias: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """First layers under LayerNorm whose spreads are those of the network's normalised first layer.

    Args:
        network: The critic.
        weight: W_1, shape (width, inputs).
        bias: b_1, shape (width,).

    Returns:
        Weights and biases; one pair per group. A group is repeated to the layer's width, so that only its spread
        is its own.
    """
    if network.config.kind == "rms":
        return [(np.concatenate((weight, -weight)), np.concatenate((bias, -bias)))]
    if network.config.kind == "group":
        groups = int(parse(network.config.normalisation).option)
        parts = zip(np.split(weight, groups), np.split(bias, groups), strict=True)
        return [(np.tile(rows, (groups, 1)), np.tile(offsets, groups)) for rows, offsets in parts]
    return [(weight, bias)]


def affine(network: MLP, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Gain and shift of a hidden layer's normalisation, each (width,); 1 and 0 where it has none."""
    norm, width = network.norms[layer - 1], network.config.width
    gain, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
    return (
        np.ones(width) if gain is None else gain.detach().numpy(),
        np.zeros(width) if shift is None else shift.detach().numpy(),
    )


def assert_kernels_below(network: MLP, x0: torch.Tensor, direction: torch.Tensor | None, points: torch.Tensor) -> None:
    """Demand that no kernel k(x0, point) passes the derived constant; reports how near they come.

    Args:
        network: As in `ntk_bound`.
        x0: Input, shape (inputs,).
        direction: v, shape (inputs,), or None for a constant of all inputs.
        points: Inputs on the ray, shape (N, inputs).

    Raises:
        AssertionError: When a kernel is larger, by more than rounding.
    """
    sizes, bound = np.abs(gram_along(network, x0, points)[0, 1:]), ntk_bound(network, x0, direction)
    ratio = float(sizes.max() / bound)
    target_share(ratio, "kernel / bound")
    event("kernel / bound " + ("above a tenth" if ratio > 0.1 else "above a thousandth" if ratio > 1e-3 else "below"))
    slack = centring_slack(network, torch.cat((x0[None], points)))
    assert ratio <= 1 + slack, f"k = {sizes} on a ray with K = {bound}"


def assert_values_below(network: MLP, points: torch.Tensor) -> None:
    """Demand that no value passes the derived bound; reports how near they come.

    Args:
        network: As in `value_bound`.
        points: Inputs, shape (N, inputs).

    Raises:
        AssertionError: When a value is larger, by more than rounding.
    """
    values, bound = network(points).abs().max().item(), value_bound(network)
    target_share(values / bound, "value / bound")
    # The sums of a layer's outputs, each rounded.
    assert values <= bound * (1 + OPERATIONS * ROUNDING)


def value_bound(network: MLP, stretch: float = 1.0) -> float:
    """A bound of |f| for every input, from the last normalised layer on.

    Args:
        network: A critic with a normalised hidden layer.
        stretch: What normalised rows of the last such layer may be longer than √width by.

    Returns:
        The bound: the derived size of that layer, times the Lipschitz constants of the layers above it.
    """
    config = network.config
    last = max(layer for layer in range(1, config.depth) if config.is_normalised(layer))
    lipschitz = LIPSCHITZ.get(config.activation, 1.0)
    gain, shift = affine(network, last)
    size = layernorm_value_bound(np.ones(1), stretch * gain, shift, lipschitz=lipschitz)
    for linear in network.linears[last:]:
        bias = 0.0 if linear.bias is None else linear.bias.detach().norm().item()
        slope = 1.0 if linear is network.linears[-1] else lipschitz
        size = slope * (torch.linalg.matrix_norm(linear.weight.detach(), 2).item() * size + bias)
    return size


def centring_slack(network: MLP, points: torch.Tensor) -> float:
    """Relative rounding of the first layer's spread: roundings of W_1 x + b_1 against what normalisation keeps of it.

    Args:
        network: The critic.
        points: Inputs, shape (N, inputs).

    Returns:
        The largest of the points and of the groups; ten roundings at least.
    """
    linear = network.linears[0]
    weight, bias = linear.weight.detach(), torch.zeros(linear.out_features, dtype=torch.float64)
    bias = bias if linear.bias is None else linear.bias.detach()
    absolute = (points.abs() @ weight.abs().T + bias.abs()).norm(dim=1).numpy()
    spreads = [
        np.sqrt((points.numpy() @ rows.T + offsets).var(1) + network.config.epsilon) * np.sqrt(len(bias))
        for rows, offsets in as_layernorms(network, weight.numpy(), bias.numpy())
    ]
    return max(1.0, (absolute / np.min(spreads, axis=0)).max()) * OPERATIONS * ROUNDING
