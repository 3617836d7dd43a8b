"""A LayerNorm critic's own iteration of its values moves away from its fixed point: it is not non-expansive.

Without rewards Q = 0 is the fixed point of the iteration, and a non-expansive one never takes Q farther from it than it
began, in the largest norm over the rows and their successors. The control shows what is asked of it: with X* = X, where
nothing is extrapolated, the same critics do come no farther away.
"""

import pytest
import torch
from torch.nn import functional

from seem.networks import MLP, MLPConfig

STEPS, LR, DISCOUNT = 1500, 0.05, 0.99
FARTHER = 2.0
"""Factor by which Q leaves its start: far beyond rounding."""


def largest(seed: int, *, affine: bool, extrapolates: bool) -> float:
    """The largest |Q| of a run of semi-gradient steps with a copied target, over that at its start."""
    generator = torch.Generator().manual_seed(seed)
    config = MLPConfig(depth=3, width=16, normalisation="layer", affine=affine)
    network = MLP(3, 1, config, generator=generator, dtype=torch.float64)
    x, other = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    x_next = other if extrapolates else x
    optimiser = torch.optim.SGD(network.parameters(), lr=LR)
    sizes = []
    for _ in range(STEPS):
        values, bootstrap = network(x), DISCOUNT * network(x_next).detach()
        sizes.append(max(values.abs().max().item(), bootstrap.abs().max().item() / DISCOUNT))
        optimiser.zero_grad()
        functional.mse_loss(values, bootstrap).backward()
        optimiser.step()
    return max(sizes) / sizes[0]


@pytest.mark.claim("LN-NON-EXPANSIVE")
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("seed", [2, 5, 6, 8])
def test_the_iteration_of_a_layernorm_critic_leaves_its_fixed_point(seed, affine):
    assert largest(seed, affine=affine, extrapolates=True) > FARTHER


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("seed", [2, 5, 6, 8])
def test_without_extrapolation_it_comes_no_farther(seed, affine):
    assert largest(seed, affine=affine, extrapolates=False) <= 1 + 1e-9  # rounding of float64
