"""Discounts that excite: every step, the example in seem, and Baird's star."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix
from theory import baird, discount_margin
from theory.derivation import assert_step

(DERIVATION,) = discount_margin.DERIVATIONS


@pytest.mark.parametrize("step", DERIVATION.steps, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


@pytest.mark.claim("DISCOUNT-MONOTONE")
def test_instability_on_an_interval_of_discounts():
    """Φ = [[-1, 1], [0, -1]], Φ* = [[-3, -3], [0, -2]]: unstable exactly on (1/3, 1/2)."""
    network = MLP(2, 1, MLPConfig(depth=1, bias=False), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, x_next = (
        torch.tensor(np.array(block, dtype=float)) for block in (discount_margin.PHI, discount_margin.PHI_NEXT)
    )
    blocks = gram_blocks(network, x, x_next)
    discounts = np.linspace(0.01, 0.99, 197)
    leading = [eigenvalues(seem_matrix(*blocks, g, torch.zeros(2).double()))[0].real.item() for g in discounts]
    # At the ends themselves the eigenvalue is zero, up to rounding.
    assert [value > 1e-12 for value in leading] == [1 / 3 + 1e-9 < g < 1 / 2 - 1e-9 for g in discounts]


@pytest.mark.claim("DISCOUNT-CERTIFIED")
def test_no_discount_below_the_certified_one_excites():
    """Of Baird's star .7262, where the threshold itself is 15/17."""
    phi, following = (np.array(block, dtype=float) for block in (baird.features(), baird.next_features()))
    gram, bootstrap = phi @ phi.T, following @ phi.T
    largest = eigh((bootstrap + bootstrap.T) / 2, gram, eigvals_only=True)[-1]
    assert 1 / largest == pytest.approx(0.7262, abs=5e-5)
    assert 1 / largest < baird.THRESHOLD
    rng = np.random.default_rng(0)
    for _ in range(40):
        rows, ahead = rng.normal(size=(2, 4, 6))
        gram, bootstrap = rows @ rows.T, ahead @ rows.T
        largest = eigh((bootstrap + bootstrap.T) / 2, gram, eigvals_only=True)[-1]
        for share in (0.5, 0.999):
            matrix = share / largest * bootstrap - gram
            assert largest < 0 or np.linalg.eigvals(matrix).real.max() < 0
