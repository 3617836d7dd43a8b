r"""An explicit bound on the kernel of a LayerNorm critic, :math:`|k(x_0, x_0+\rho v)| \le K` for every ρ.

Notation: z = W_1 x + b_1 with n units, C = I - 11ᵀ/n, y = Cz, s² = ‖y‖²/n + ε, LN(z) = y/s.

Hypotheses: the first hidden layer is normalised before its non-linearity; |σ(p)| ≤ ℓ|p| and |σ'| ≤ ℓ; and

* C W_1 v ≠ 0 (or ⟨x_0, v⟩ = 0): the ray must be seen by the centred first layer. Otherwise s and all above it
  stay fixed while ⟨x_0, x_0+ρv⟩ grows, and the kernel grows linearly, with LayerNorm and with ε > 0;
* ε > 0, or a positive lower bound of s on the ray for every normalised layer (with ε = 0 the kernel can
  diverge at a finite ρ).

The bound is of fixed parameters: it grows with the square of the head's norm, so it outlives no training of the head.

Source: that the kernel stays O(1) is the paper's (recalled, "any direction v"); hypotheses and constant are derived,
in theory/layernorm_bound.py.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from seem.errors import InputError
from seem.networks import MLP
from seem.normalisation import parse

LIPSCHITZ = {"gelu": 1.13, "silu": 1.1}
"""ℓ of activations with |σ'| above 1: GELU's is 1.1290 at p = √2, SiLU's 1.0998 at p = 2.40."""
VANISHING = 1e-12
"""Relative size below which C W_1 v counts as zero: float64 products of rows of thousands of entries."""


def kernel_bound(
    network: MLP, x0: Float[Tensor, " inputs"], direction: Float[Tensor, " inputs"] | None = None
) -> float:
    r"""A constant K with :math:`|k(x_0, x_0 + \rho v)| \le K` for every real ρ, for a critic as it stands.

    GroupNorm is a LayerNorm of every group, and RMSNorm of z the first half of the LayerNorm of (z, -z), whose mean is
    0; so the constant is theirs too.

    Args:
        network: A critic with LayerNorm, GroupNorm or RMSNorm in hidden layer 1 at least.
        x0: Reference input, shape (inputs,).
        direction: v, shape (inputs,); None bounds the kernel to every input, which needs more units than inputs.

    Returns:
        K, in the unit of the kernel.

    Raises:
        InputError: When a hypothesis fails, so that no constant exists or none is known.

    Source: derived; theory/layernorm_bound.py.

    Example:
        >>> import torch
        >>> from seem.networks import MLPConfig
        >>> shape = MLPConfig(depth=2, width=4, bias=False, normalisation="layer", affine=False, epsilon=1.0)
        >>> network = MLP(2, 1, shape, generator=torch.Generator())
        >>> with torch.no_grad():
        ...     _ = network.linears[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 2]]))
        ...     _ = network.linears[1].weight.fill_(1.0)
        >>> x0, v = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
        >>> kernel_bound(network, x0, v)  # at the origin only the head's share is left: H² = 4
        4.0
    """
    config = network.config
    if config.kind not in ("layer", "group", "rms"):
        raise InputError(
            f"no bound is known with {config.kind!r} as normalisation: it holds for layer, group and rms, in layer 1"
        )
    weights = [_array(linear.weight) for linear in network.linears]
    biases = [_array(linear.bias) for linear in network.linears] if config.bias else None
    normalised = [layer for layer in range(1, config.depth) if config.is_normalised(layer)]
    gains, shifts = ({layer: affine(network, layer)[part] for layer in normalised} for part in (0, 1))
    return max(
        ray_constant(
            _array(x0),
            None if direction is None else _array(direction),
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


def value_bound(network: MLP, stretch: float = 1.0) -> float:
    """A bound of |f| for every input, from the last normalised layer on: ℓ(G√n + ‖t‖) times the norms above it.

    Args:
        network: A critic with a normalised hidden layer.
        stretch: What normalised rows of the last such layer may be longer than √width by.

    Returns:
        The bound, in the unit of the values.

    Raises:
        InputError: When no layer is normalised.

    Source: derived; the observation is Ball et al. 2023 (2302.02948).
    """
    config = network.config
    normalised = [layer for layer in range(1, config.depth) if config.is_normalised(layer)]
    if not normalised:
        raise InputError("no hidden layer is normalised: values have no bound; pass a critic with a normalised layer")
    lipschitz = LIPSCHITZ.get(config.activation, 1.0)
    gain, shift = affine(network, normalised[-1])
    size = lipschitz * (stretch * np.abs(gain).max() * np.sqrt(np.size(gain)) + np.linalg.norm(shift))
    for linear in network.linears[normalised[-1] :]:
        bias = float(np.linalg.norm(_array(linear.bias))) if config.bias else 0.0
        slope = 1.0 if linear is network.linears[-1] else lipschitz
        size = slope * (float(np.linalg.norm(_array(linear.weight), 2)) * size + bias)
    return float(size)


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
    """Gain and shift of a hidden layer's normalisation, each (width,); 1 and 0 where it has none.

    Args:
        network: The critic.
        layer: Number of the hidden layer, from 1.

    Returns:
        Both, float64.
    """
    norm, width = network.norms[layer - 1], network.config.width
    gain, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
    return (
        np.ones(width) if gain is None else _array(gain),
        np.zeros(width) if shift is None else _array(shift),
    )


def _array(tensor: Any) -> np.ndarray:
    """A parameter or an input in float64; a module's attributes have no types of their own."""
    return tensor.detach().double().cpu().numpy()


def ray_constant(
    x0: ArrayLike,
    direction: ArrayLike | None,
    weights: Sequence[ArrayLike],
    *,
    epsilon: float,
    biases: Sequence[ArrayLike] | None = None,
    gains: Mapping[int, ArrayLike] | None = None,
    shifts: Mapping[int, ArrayLike] | None = None,
    normalised: Collection[int] | None = None,
    lipschitz: float = 1.0,
    floors: Mapping[int, float] | None = None,
) -> float:
    r"""A constant K with :math:`|k(x_0, x_0 + \rho v)| \le K` for every real ρ.

    With H_l ≥ ‖h_l‖, P_l ≥ ‖∂f/∂p_l‖ (p_l the activation's input), s_l the floor of LayerNorm l's
    standard deviation, G_l = max|g_l|:

        P_{L-1} = ℓ‖w‖,  P_{l-1} = ℓ‖W_l‖ (G_l/s_l) P_l,  H_l = ℓ(G_l √n_l + ‖t_l‖)
        K = H_{L-1}² + β + Σ_{l≥2} (G_l P_l/s_l)²(H_{l-1}² + β) + (G_1 P_1)² R/s_1(x_0) + Σ_affine n_l P_l²

    β is 1 with biases, and R = sup |⟨x_0, x⟩ + β|/s_1(x). For a layer without LayerNorm G_l/s_l is 1 and
    H_l = ℓ(‖W_l‖H_{l-1} + ‖b_l‖).

    Args:
        x0: Reference input, shape (d,).
        direction: v, shape (d,); None bounds |k(x0, x)| for every x instead, which needs C W_1 of rank d.
        weights: W_1 to W_L, each (n_l, n_{l-1}).
        epsilon: LayerNorm's ε.
        biases: b_1 to b_L, or None.
        gains: LayerNorm's gains by hidden layer, or None when it has no affine.
        shifts: LayerNorm's shifts by hidden layer, with ``gains``.
        normalised: Hidden layers with LayerNorm; None means all. Must contain 1.
        lipschitz: ℓ: 1 for ReLU, leaky ReLU and tanh.
        floors: Lower bounds of s_l on the ray by layer, from 2 on; default √ε.

    Returns:
        K, in the unit of the kernel.

    Raises:
        InputError: When a hypothesis fails, so that no constant exists or none is known.
    """
    layers = [np.atleast_2d(np.asarray(weight, dtype=float)) for weight in weights]
    hidden = len(layers) - 1
    normal = set(range(1, hidden + 1)) if normalised is None else set(normalised)
    if 1 not in normal:
        raise InputError("the first hidden layer is not normalised: the constant is known for a normalised one only")
    shift_norms = {layer: np.linalg.norm(value) for layer, value in (shifts or {}).items()}
    bias = float(biases is not None)
    bias_norms = [np.linalg.norm(b) for b in biases] if biases is not None else [0.0] * len(layers)
    spectral = [np.linalg.norm(weight, 2) for weight in layers]
    gain = {layer: np.abs(gains[layer]).max() if gains else 1.0 for layer in normal}

    first, ratio, first_floor = first_layer(x0, direction, layers[0], None if biases is None else biases[0], epsilon)
    damping = dict.fromkeys(range(1, hidden + 1), 1.0)
    for layer in normal:
        floor = first_floor if layer == 1 else (floors or {}).get(layer, float(np.sqrt(epsilon)))
        if layer > 1 and not floor > 0:
            raise InputError(f"ε = 0 and no floor of layer {layer}'s standard deviation: pass one in `floors`")
        damping[layer] = gain[layer] / floor if floor > 0 else np.inf

    sizes = {}
    for layer in range(1, hidden + 1):
        if layer in normal:
            sizes[layer] = lipschitz * (gain[layer] * np.sqrt(len(layers[layer - 1])) + shift_norms.get(layer, 0.0))
        else:
            sizes[layer] = lipschitz * (spectral[layer - 1] * sizes[layer - 1] + bias_norms[layer - 1])
    total = sizes[hidden] ** 2 + bias
    slope = lipschitz * spectral[-1]
    for layer in range(hidden, 0, -1):
        if gains and layer in normal:
            total += len(layers[layer - 1]) * slope**2
        if layer == 1:
            total += (gain[1] * slope) ** 2 * ratio / first
        else:
            total += (damping[layer] * slope) ** 2 * (sizes[layer - 1] ** 2 + bias)
            slope *= lipschitz * spectral[layer - 1] * damping[layer]
    return float(total)


def first_layer(
    x0: ArrayLike, direction: ArrayLike | None, weight: ArrayLike, bias: ArrayLike | None, epsilon: float
) -> tuple[float, float, float]:
    """The standard deviation s_1(x0), R = sup |⟨x0, x⟩ + β|/s_1(x), and the floor of s_1 on the ray.

    Args:
        x0: Reference input, shape (d,).
        direction: v, shape (d,), or None for all inputs.
        weight: W_1, shape (n, d).
        bias: b_1, shape (n,), or None.
        epsilon: LayerNorm's ε.

    Returns:
        s_1(x0), R and the floor.

    Raises:
        InputError: When R is infinite.
    """
    x0, weight = np.asarray(x0, dtype=float), np.asarray(weight, dtype=float)
    units = len(weight)
    centred = weight - weight.mean(0)
    offset = np.zeros(units) if bias is None else np.asarray(bias, dtype=float) - np.mean(np.asarray(bias, dtype=float))
    start, constant = centred @ x0 + offset, float(bias is not None)
    if direction is None:
        growth, slope = np.linalg.svd(centred, compute_uv=False)[-1], np.linalg.norm(x0)
        if min(units - 1, len(x0)) < len(x0):
            growth = 0.0
        nearest = -np.linalg.lstsq(centred, offset, rcond=None)[0]
        closest = centred @ nearest + offset
        visible = growth > VANISHING * np.linalg.norm(centred, 2)
    else:
        v = np.asarray(direction, dtype=float)
        moved = centred @ v
        growth, slope = np.linalg.norm(moved), abs(x0 @ v)
        visible = growth > VANISHING * np.linalg.norm(weight, 2) * np.linalg.norm(v)
        nearest = x0 - (moved @ start / growth**2 if visible else 0.0) * v
        closest = centred @ nearest + offset
    if np.linalg.norm(closest) <= VANISHING * (
        np.linalg.norm(centred) * np.linalg.norm(nearest) + np.linalg.norm(offset)
    ):
        closest = np.zeros(units)
    floor = np.sqrt(closest @ closest / units + epsilon)
    spread = np.sqrt(start @ start / units + epsilon)
    if not visible and slope > VANISHING * np.linalg.norm(x0):
        raise InputError("C W_1 v = 0: LayerNorm does not see this direction, and the kernel grows linearly along it")
    at_closest = abs(x0 @ nearest + constant)
    if at_closest <= VANISHING * (x0 @ x0):
        at_closest = 0.0
    if not spread > 0 or (at_closest > 0 and not floor > 0):
        raise InputError("ε = 0 and LayerNorm's input is constant across units on the ray: the kernel diverges there")
    near = at_closest / floor if at_closest > 0 else 0.0
    far = np.sqrt(units) * slope / growth if visible else 0.0
    return float(spread), float(np.hypot(near, far)), float(floor)
