"""The kernel along a ray, and the constants of `seem.layernorm` that bound it, for networks of `seem`."""

import numpy as np
import torch
from hypothesis import event

from properties.margins import target_share
from properties.oracles import sizes
from seem.layernorm import as_layernorms, kernel_bound, value_bound
from seem.networks import MLP
from seem.ntk import gram_blocks

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


def assert_kernels_below(network: MLP, x0: torch.Tensor, direction: torch.Tensor | None, points: torch.Tensor) -> None:
    """Demand that no kernel k(x0, point) passes the derived constant; reports how near they come.

    Args:
        network: As in `seem.layernorm.kernel_bound`.
        x0: Input, shape (inputs,).
        direction: v, shape (inputs,), or None for a constant of all inputs.
        points: Inputs on the ray, shape (N, inputs).

    Raises:
        AssertionError: When a kernel is larger, by more than rounding.
    """
    sizes, bound = np.abs(gram_along(network, x0, points)[0, 1:]), kernel_bound(network, x0, direction)
    ratio = float(sizes.max() / bound)
    target_share(ratio, "kernel / bound")
    event("kernel / bound " + ("above a tenth" if ratio > 0.1 else "above a thousandth" if ratio > 1e-3 else "below"))
    slack = centring_slack(network, torch.cat((x0[None], points)))
    assert ratio <= 1 + slack, f"k = {sizes} on a ray with K = {bound}"


def assert_values_below(network: MLP, points: torch.Tensor) -> None:
    """Demand that no value passes the derived bound; reports how near they come.

    Args:
        network: As in `seem.layernorm.value_bound`.
        points: Inputs, shape (N, inputs).

    Raises:
        AssertionError: When a value is larger, by more than rounding.
    """
    values, bound = network(points).abs().max().item(), value_bound(network)
    target_share(values / bound, "value / bound")
    # The sums of a layer's outputs, each rounded.
    assert values <= bound * (1 + OPERATIONS * ROUNDING)


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
