"""Blocks that do not commute: every step, Hurwitz's signs in exact rationals, and the iteration itself."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from theory import noncommuting_blocks as blocks
from theory.certificates import certify_radius
from theory.derivation import assert_step

STEPS = [step for derivation in blocks.DERIVATIONS for step in derivation.steps]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def radius(eta, tau) -> tuple[float, float]:
    """Enclosure of the spectral radius, by exact rationals and balls."""
    matrix = blocks.step_matrix().subs({blocks.ETA: sp.Rational(str(eta)), blocks.TAU: sp.Rational(str(tau))})
    return certify_radius([[Fraction(int(e.p), int(e.q)) for e in matrix.row(i)] for i in range(4)])


def is_stable(eta, tau) -> bool:
    low, high = radius(eta, tau)
    assert high < 1 or low > 1, "the enclosure does not decide"
    return high < 1


@pytest.mark.claim("EMA-UNSTABLE")
def test_a_slow_target_stabilises_two_real_modes():
    """Golden values of η = .01, computed once by direct iteration in float64; the enclosures prove them."""
    for tau, golden in ((1, 1.00885410), (0.1, 1.00283680), (0.01, 0.99954018)):
        low, high = radius(0.01, tau)
        assert high - low < 1e-12
        assert low == pytest.approx(golden, abs=5e-9)
    assert is_stable(0.01, 0.0157)
    assert not is_stable(0.01, 0.0158)


@pytest.mark.claim("EMA-UNSTABLE")
def test_the_iteration_itself_turns_round():
    """Gradient descent on the weights, semi-gradient and target network, not the reduced map."""
    phi, following = np.array(blocks.PHI, dtype=float), 0.9 * np.array(blocks.PHI_NEXT, dtype=float)
    sizes = {}
    for tau in (1.0, 0.01):
        weights, target = np.array([1.0, -0.5]), np.array([1.0, -0.5])
        for _ in range(20_000):
            weights = weights - 0.01 * phi.T @ (phi @ weights - following @ target)
            target = target + tau * (weights - target)
        sizes[tau] = np.linalg.norm(phi @ weights - following @ target)
    assert sizes[1.0] > 1e70
    assert sizes[0.01] < 1e-3


@pytest.mark.claim("EMA-SMALLER-STEP")
def test_stability_holds_on_an_interval_of_step_sizes():
    assert [is_stable(eta, 0.01) for eta in (0.0063123, 0.0063125, 0.1, 0.293577, 0.293578)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert not any(is_stable(eta, 0.01) for eta in (1e-6, 1e-4, 1e-3, 0.005, 1, 10))
    assert not any(is_stable(eta, 1) for eta in (1e-6, 1e-3, 0.1, 1, 10))


def test_hurwitz_conditions_say_the_same_as_the_roots():
    coefficients = blocks.coefficients(blocks.on_the_left(), blocks.SHIFTED)
    conditions = [*coefficients, blocks.hurwitz(coefficients)]
    for eta in (0.004, 0.0063, 0.0064, 0.2, 0.3):
        for tau in (0.005, 0.01, 0.3):
            at = {blocks.ETA: sp.Rational(str(eta)), blocks.TAU: sp.Rational(str(tau))}
            assert all(condition.subs(at) > 0 for condition in conditions) == is_stable(eta, tau)


def test_commuting_blocks_keep_the_threshold():
    """The same Gram matrix with a bootstrap that commutes with it: the slow target changes nothing in the verdict."""
    gram = np.array(blocks.GRAM, dtype=float)
    for share in (0.99, 1.01):
        for tau in (1.0, 0.1, 0.01):
            step = np.block([[np.eye(2) - 0.01 * gram, 0.01 * share * gram]])
            matrix = np.block([[step], [np.hstack([np.zeros((2, 2)), (1 - tau) * np.eye(2)]) + tau * step]])
            assert (np.abs(np.linalg.eigvals(matrix)).max() > 1) == (share > 1)


def test_hard_copies_stabilise_too():
    """Growth per step at η = .01, copied every 1, 2, 10 and 200 steps; golden values of direct iteration in float64."""
    for every, golden in ((1, 1.0088541), (2, 1.0082738), (10, 1.0036169), (200, 0.9990965)):
        gram, bootstrap = np.array(blocks.GRAM, dtype=float), np.array(blocks.BOOTSTRAP, dtype=float)
        held = sum(np.linalg.matrix_power(np.eye(2) - 0.01 * gram, j) for j in range(every))
        radius = np.abs(np.linalg.eigvals(np.eye(2) + 0.01 * (bootstrap - gram) @ held)).max()
        assert radius ** (1 / every) == pytest.approx(golden, abs=5e-8)
        if every < 3:
            matrix = np.array(blocks.held_matrix(every).subs(blocks.ETA, 0.01), dtype=float)
            assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(radius, rel=1e-12)
