"""Eigenvalue sign and transient growth: every step, mutants, and seem's spectrum on random matrices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import linalg

from seem.networks import Critic, MLPConfig
from seem.spectrum import eigenvalues, seem_matrix, take_reading
from theory import eigenvalue_sign, transient_growth
from theory.derivation import assert_step

STEPS = [s for module in (eigenvalue_sign, transient_growth) for d in module.DERIVATIONS for s in d.steps]
THRESHOLD = eigenvalue_sign.DERIVATIONS[0]["threshold"]


@pytest.mark.claim("SIGN-GROWTH")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def test_mutants_are_caught():
    gronwall = transient_growth.DERIVATIONS[0]["gronwall"]
    doubled = replace(THRESHOLD, right=THRESHOLD.right.subs(eigenvalue_sign.REAL, 2 * eigenvalue_sign.REAL))
    flipped = replace(gronwall, left=gronwall.right, right=gronwall.left)
    excitation = eigenvalue_sign.DERIVATIONS[0]["excitation"]
    any_sign = replace(
        excitation,
        left=excitation.left.subs(eigenvalue_sign.A_POSITIVE, eigenvalue_sign.REAL),
        witness=excitation.witness.subs(eigenvalue_sign.A_POSITIVE, eigenvalue_sign.REAL),
    )
    for mutant in (doubled, flipped):
        assert not mutant.follows()
        assert not mutant.agrees_numerically(np.random.default_rng(0))
    # Without Re λ > 0 the identity still holds, but nothing gives the witness a sign.
    assert any_sign.residual() == 0
    assert not any_sign.witness_sign()


def random_matrices(count: int = 200, rows: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randn(count, 2, rows, 2 * rows, generator=generator, dtype=torch.float64)
    terminals = torch.zeros(rows, dtype=torch.float64)
    grams = [(phi @ phi.T, 1.5 * following @ phi.T) for phi, following in blocks]
    return torch.stack([seem_matrix(gram, gram_next, 0.9, terminals) for gram, gram_next in grams])


@pytest.mark.claim("SIGN-GROWTH")
def test_sign_and_threshold_decide_the_spectral_radius():
    """Both outcomes of every branch occur in the sample, so none of the checks is empty."""
    seen = set()
    for matrix in random_matrices():
        spectrum = eigenvalues(matrix).numpy()
        for eta in (1e-3, 0.03, 0.3):
            radius = np.abs(1 + eta * spectrum).max()
            if spectrum[0].real > 0:
                assert radius > 1
            else:
                stable = eta < np.min(-2 * spectrum.real / np.abs(spectrum) ** 2)
                assert (radius < 1) == stable
            seen.add((bool(spectrum[0].real > 0), bool(radius > 1)))
    assert seen == {(True, True), (False, False), (False, True)}


@pytest.mark.claim("SIGN-ABSCISSA")
def test_flow_stays_below_the_numerical_abscissa_and_discrete_time_does_not():
    broken = False
    for matrix in random_matrices(40):
        abscissa = torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1].item()
        assert abscissa >= eigenvalues(matrix)[0].real.item() - 1e-12
        for time in (0.01, 0.1, 0.5):
            # 1e-9 relative: expm's error on matrices of norm below 100.
            assert linalg.norm(linalg.expm(time * matrix.numpy()), 2) <= np.exp(time * abscissa) * (1 + 1e-9)
        step = torch.eye(5, dtype=torch.float64) + 0.3 * matrix
        broken |= torch.linalg.matrix_norm(step, 2).item() > np.exp(0.3 * abscissa)
    assert broken


@pytest.mark.claim("SIGN-MECHANISMS")
def test_a_reading_tells_overshoot_from_excitation():
    """γ = 0 and a large step: the reading's overshoot gain is |1 - η k| with k the kernel."""
    critic = Critic(1, 1, MLPConfig(depth=1, bias=False), generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    reading = take_reading(critic, x, x, one, torch.zeros(1, dtype=torch.float64), discount=0.0, lr=0.75)
    assert reading.step_size == 1.5
    assert (reading.excitation_gain, reading.overshoot_gain) == (1.0, 2.0)
    assert reading.step_size > -2 / reading.leading
