"""Kernels of wide two-layer ReLU networks to a reference point: along rays, over a grid, at the printed point."""

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.features import KernelFeatures
from seem.networks import MLP, MLPConfig

Point = tuple[float, float]

NORMALISATIONS = ("none", "layer", "rms")
INITIALISATIONS = ("torch", "no biases", "normal")
"""Torch's default; the same without biases; no biases and unit normal weights, where both layers' shares of the
kernel are of one size (in torch's default the head's share is larger by the width)."""
RADII = (1.0, 10.0, 100.0, 300.0, 1000.0)
DIRECTIONS = 16
PRINTED_POINT = (4.0, 4.0)
HALF_SIDE = 8.0
"""Half the side of a map."""
CHUNK = 256
"""Rows whose features are held at a time, 10 to 20 MB for each of a few tensors at width 10,000."""


def build_network(initialisation: str, normalisation: str, width: int, seed: int) -> MLP:
    """A ReLU network with one hidden layer on the plane, float64.

    Args:
        initialisation: One of `INITIALISATIONS`.
        normalisation: One of `NORMALISATIONS`, before the non-linearity.
        width: Hidden units.
        seed: Seed of the weights.

    Returns:
        The network; a normalisation has its learnable gain (and shift) at 1 (and 0).
    """
    generator = torch.Generator().manual_seed(seed)
    config = MLPConfig(depth=2, width=width, normalisation=normalisation, bias=initialisation == "torch")
    network = MLP(2, 1, config, generator=generator, dtype=torch.float64)
    if initialisation == "normal":
        with torch.no_grad():
            for linear in network.linears:
                linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator, dtype=torch.float64))
    return network


def kernel_to(network: MLP, reference: Point, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """k(x, x₀)/k(x₀, x₀), in chunks of rows.

    Args:
        network: One output.
        reference: x₀.
        points: x, shape (N, 2).

    Returns:
        Shape (N,).
    """
    origin = KernelFeatures.of(network, torch.tensor([reference], dtype=torch.float64))
    own = origin.block(origin).item()
    rows: Float[Tensor, "N 2"] = torch.tensor(points)
    blocks = [KernelFeatures.of(network, chunk).block(origin) for chunk in rows.split(CHUNK)]
    return torch.cat(blocks).squeeze(1).numpy() / own


def ray_points(reference: Point) -> NDArray[np.float64]:
    """x₀ + ρv for `DIRECTIONS` directions v, the first along x₀, and `RADII` ρ; shape (directions·radii, 2)."""
    turns = math.atan2(reference[1], reference[0]) + np.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
    rays = [(rho * math.cos(turn), rho * math.sin(turn)) for turn, rho in product(turns, RADII)]
    return np.array(reference) + np.array(rays)


def measure_rays(network: MLP, reference: Point) -> dict[str, Any]:
    """The normalised kernel along the rays and at `PRINTED_POINT`.

    Args:
        network: One output.
        reference: x₀.

    Returns:
        A JSON object: "rays", by direction and radius, and "printed".
    """
    values = kernel_to(network, reference, np.concatenate((ray_points(reference), [PRINTED_POINT])))
    rays = values[:-1].reshape(DIRECTIONS, len(RADII))
    # Rounded to keep the record small; an exact 0 stays one.
    return {"rays": [[float(f"{value:.6g}") for value in ray] for ray in rays], "printed": float(values[-1])}


def measure_map(network: MLP, reference: Point, half: float, points: int) -> list[list[float]]:
    """The normalised kernel over the square [-half, half]², row by row from below.

    Args:
        network: One output.
        reference: x₀.
        half: Half the side.
        points: Grid points a side.

    Returns:
        A square matrix of points · points numbers, to four digits.
    """
    side = np.linspace(-half, half, points)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    values = kernel_to(network, reference, grid).reshape(points, points)
    return [[float(f"{value:.4g}") for value in row] for row in values]
