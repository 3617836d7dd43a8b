"""Copied targets: every step, golden values, roots of the quadratic, and certificates in balls."""

from fractions import Fraction

import numpy as np
import pytest

from theory import copied_target_radius as radius
from theory.certificates import certify_growth, certify_radius, relu_seem_matrix
from theory.derivation import assert_step

STEPS = [step for derivation in radius.DERIVATIONS for step in derivation.steps]
GOLDEN = {0.01: (1.0092388, 1.01), 0.1: (1.0646586, 1.1), -0.1 + 0.2j: (1.0337486, 0.92195), -38: (1.0, 37)}
"""By x: growth per step at β₁ = .9 and under gradient descent, computed once by direct iteration in float64."""


@pytest.mark.claim("ADAM-RADIUS")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def growth(rate: complex, beta: float) -> float:
    """The closed form."""
    foci = [-(1 + beta + sign * 2 * np.sqrt(beta)) / (1 - beta) for sign in (1, -1)]
    total = (1 - beta) * sum(abs(rate - focus) for focus in foci) / 2
    return (total + np.sqrt(max(total**2 - 4 * beta, 0))) / 2


def by_roots(rate: complex, beta: float) -> float:
    return np.abs(np.roots([1, -(1 + beta + (1 - beta) * rate), beta])).max()


@pytest.mark.parametrize("rate", GOLDEN)
def test_golden_values(rate):
    momentum, plain = GOLDEN[rate]
    assert growth(rate, 0.9) == pytest.approx(momentum, abs=5e-8)
    assert growth(rate, 0.0) == pytest.approx(plain, abs=5e-5)


@pytest.mark.claim("ADAM-RADIUS")
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_closed_form_is_the_larger_root(beta):
    rng = np.random.default_rng(0)
    for rate in rng.normal(size=200) * 10.0 ** rng.uniform(-4, 2, 200) + 1j * rng.normal(size=200):
        # A double root moves as the root of the rounding.
        assert growth(rate, beta) == pytest.approx(by_roots(rate, beta), rel=1e-7)


@pytest.mark.claim("MOMENTUM-COMPLEX")
def test_momentum_harms_rotating_modes():
    """The ellipse of β₁ = .9 has the semi-axes 19 and 1: a mode that gradient descent shrinks grows under momentum."""
    assert growth(-0.1 + 0.2j, 0.0) < 1 < growth(-0.1 + 0.2j, 0.9)
    for beta in (0.5, 0.9):
        alpha = (1 + beta) / (1 - beta)
        for angle in np.linspace(0.1, 2 * np.pi - 0.1, 25):
            on = complex(alpha * (np.cos(angle) - 1), np.sin(angle))
            # The radius is quadratic in the distance at worst.
            assert growth(on, beta) == pytest.approx(1, abs=1e-7)
            middle = -alpha
            assert growth(middle + 0.99 * (on - middle), beta) < 1 < growth(middle + 1.01 * (on - middle), beta)


def test_a_norm_bounds_what_was_split_off():
    rng = np.random.default_rng(1)
    for _ in range(50):
        rest = rng.normal(size=(4, 4)) * 10.0 ** rng.uniform(-3, 1)
        bound = growth(np.linalg.norm(rest), 0.9)
        assert max(growth(rate, 0.9) for rate in np.linalg.eigvals(rest)) <= bound


@pytest.mark.claim("ADAM-RADIUS")
@pytest.mark.parametrize("momentum", [Fraction(0), Fraction(1, 2), Fraction(9, 10)])
def test_the_closed_form_is_certified_against_the_companion(momentum):
    """Enclosures of both, of a rational ReLU critic: the closed form's and that of the companion's eigenvalues."""
    matrix = [[entry / 100 for entry in row] for row in relu_seem_matrix()]
    size = len(matrix)
    # (a, b) with b the velocity: b ← β₁b + (1-β₁)xa, a ← a + b.
    lower = [
        [(1 - momentum) * entry for entry in row] + [momentum * (i == j) for j in range(size)]
        for i, row in enumerate(matrix)
    ]
    upper = [[(i == j) + lower[i][j] for j in range(size)] + lower[i][size:] for i in range(size)]
    low, high = certify_growth(matrix, momentum)
    other_low, other_high = certify_radius([*upper, *lower])
    assert high - low < 1e-12
    assert low <= other_high
    assert other_low <= high
    assert low > 1
