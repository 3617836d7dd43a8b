r"""An explicit bound on the NTK of a LayerNorm critic along a ray, :math:`|k(x_0, x_0+\rho v)| \le K` for every ρ.

Notation: z = W_1 x + b_1 with n units, C = I - 11ᵀ/n, y = Cz, s² = ‖y‖²/n + ε, LN(z) = y/s.

Hypotheses: the first hidden layer is normalised; |σ(p)| ≤ ℓ|p| and |σ'| ≤ ℓ; and

* C W_1 v ≠ 0 (or ⟨x_0, v⟩ = 0): the ray must be seen by the centred first layer. Otherwise s and all above it
  stay fixed while ⟨x_0, x_0+ρv⟩ grows, and the kernel grows linearly, with LayerNorm and with ε > 0;
* ε > 0, or a positive lower bound of s on the ray for every normalised layer (with ε = 0 the kernel can
  diverge at a finite ρ).

Source: that the NTK stays O(1) is the paper's (recalled, "any direction v"); hypotheses and constant are derived.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

VANISHING = 1e-12
"""Relative size below which C W_1 v counts as zero: float64 products of rows of thousands of entries."""


def layernorm_ntk_bound(
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
        K.

    Raises:
        ValueError: When a hypothesis fails, so that no constant exists or none is known.
    """
    layers = [np.atleast_2d(np.asarray(weight, dtype=float)) for weight in weights]
    hidden = len(layers) - 1
    normal = set(range(1, hidden + 1)) if normalised is None else set(normalised)
    if 1 not in normal:
        raise ValueError("the first hidden layer is not normalised: the constant is known for a normalised one only")
    shift_norms = {layer: np.linalg.norm(value) for layer, value in (shifts or {}).items()}
    bias = float(biases is not None)
    bias_norms = [np.linalg.norm(b) for b in biases] if biases is not None else [0.0] * len(layers)
    spectral = [np.linalg.norm(weight, 2) for weight in layers]
    gain = {layer: np.abs(gains[layer]).max() if gains else 1.0 for layer in normal}

    first, ratio, first_floor = first_layer(x0, direction, layers[0], None if biases is None else biases[0], epsilon)
    damping = dict.fromkeys(range(1, hidden + 1), 1.0)
    for layer in normal:
        floor = first_floor if layer == 1 else (floors or {}).get(layer, np.sqrt(epsilon))
        if layer > 1 and not floor > 0:
            raise ValueError(f"ε = 0 and no floor of layer {layer}'s standard deviation: pass one in `floors`")
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


def layernorm_value_bound(
    head: ArrayLike, gain: ArrayLike, shift: ArrayLike, head_bias: float = 0.0, lipschitz: float = 1.0
) -> float:
    """A bound of |f(x)| for every x when the last hidden layer is normalised: ‖w‖ ℓ(G√n + ‖t‖) + |b|.

    Args:
        head: w, shape (n,).
        gain: g, shape (n,).
        shift: t, shape (n,).
        head_bias: b.
        lipschitz: ℓ.

    Returns:
        The bound.

    Source: derived; the observation is Ball et al. 2023 (2302.02948).
    """
    size = lipschitz * (np.abs(gain).max() * np.sqrt(np.size(gain)) + np.linalg.norm(shift))
    return float(np.linalg.norm(head) * size + abs(head_bias))


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
        ValueError: When R is infinite.
    """
    x0, weight = np.asarray(x0, dtype=float), np.asarray(weight, dtype=float)
    units = len(weight)
    centred = weight - weight.mean(0)
    offset = np.zeros(units) if bias is None else np.asarray(bias, dtype=float) - np.mean(bias)
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
        raise ValueError("C W_1 v = 0: LayerNorm does not see this direction, and the kernel grows linearly along it")
    at_closest = abs(x0 @ nearest + constant)
    if at_closest <= VANISHING * (x0 @ x0):
        at_closest = 0.0
    if not spread > 0 or (at_closest > 0 and not floor > 0):
        raise ValueError("ε = 0 and LayerNorm's input is constant across units on the ray: the kernel diverges there")
    near = at_closest / floor if at_closest > 0 else 0.0
    far = np.sqrt(units) * slope / growth if visible else 0.0
    return float(spread), float(np.hypot(near, far)), float(floor)
