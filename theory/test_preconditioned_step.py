"""The linearised step: every step of the derivation, torch's Adam as its oracle, and the spectrum both ways."""

import numpy as np
import pytest
import sympy as sp
import torch

from theory import preconditioned_step as step
from theory.derivation import assert_step

STEPS = [one for derivation in step.DERIVATIONS for one in derivation.steps]
ROWS, PARAMETERS = 3, 7


@pytest.mark.claim("ADAM-LINEARISED")
@pytest.mark.parametrize("one", STEPS, ids=lambda one: one.name)
def test_step(one):
    assert_step(one)


def problem(seed: int):
    """A linear critic f = Jθ on X and J*θ* on X*, with discounts and a lagging target."""
    rng = np.random.default_rng(seed)
    jacobian, following = rng.normal(size=(2, ROWS, PARAMETERS))
    discounts = 0.9 * np.array([1.0, 1.0, 0.0])
    weights, lag = rng.normal(size=(2, PARAMETERS))
    return jacobian, following, discounts, weights, weights + 0.3 * lag


def roll_adam(problem, *, lr, betas, tau, before, steps):
    """Torch's Adam with a target network; after ``before`` steps v̂ is held, which is what the derivation assumes."""
    jacobian, following, discounts, weights, target = (torch.tensor(part) for part in problem)
    weights = weights.clone().requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=lr, betas=betas, eps=1e-8)
    state, errors, held = None, [], None
    for number in range(before + steps):
        error = jacobian @ weights.detach() - discounts * (following @ target)
        if number == before:
            entries = optimiser.state[weights]
            correction = 1 - betas[1] ** number
            held = entries["exp_avg_sq"].clone() / correction
            state = (weights.detach().clone(), entries["exp_avg"].clone(), target.clone(), held)
        if number >= before:
            errors.append(error.numpy().copy())
        optimiser.zero_grad()
        (jacobian @ weights - discounts * (following @ target)).square().mean().backward()
        if held is not None:
            # What Adam's own update turns into v̂ times its bias correction.
            after = held * (1 - betas[1] ** (number + 1))
            moment = (after - (1 - betas[1]) * weights.grad.square()) / betas[1]
            optimiser.state[weights]["exp_avg_sq"].copy_(moment)
        optimiser.step()
        target = (1 - tau) * target + tau * weights.detach()
    return state, np.array(errors)


def roll_rows(problem, state, *, lr, betas, tau, before, steps):
    """The same errors from M numbers a, b and c each, and four constant vectors."""
    jacobian, following, discounts, *_ = problem
    weights, moment, target, second = (part.numpy() for part in state)
    share, beta = 2 / len(jacobian), betas[0]
    scales = lr / ((1 - beta ** (before + 1)) * (np.sqrt(second) + 1e-8))
    kernel, bootstrap = jacobian * scales @ jacobian.T, discounts[:, None] * (following * scales @ jacobian.T)
    start = jacobian @ weights - discounts * (following @ target)
    pushed, pulled = jacobian @ (scales * moment), discounts * (following @ (scales * moment))
    lagging = discounts * (following @ (target - weights))
    a = b = c = np.zeros(len(jacobian))
    q, e, p, mu = 0.0, 0.0, 1.0, 1.0
    errors = []
    for number in range(steps):
        error = start + kernel @ a - q * pushed - (bootstrap @ c - e * pulled + (p - 1) * lagging)
        errors.append(error)
        correction = (1 - beta ** (before + 1)) / (1 - beta ** (before + 1 + number))
        b, mu = beta * b + (1 - beta) * share * error, beta * mu
        a, q = a - correction * b, q + correction * mu
        c, e, p = (1 - tau) * c + tau * a, (1 - tau) * e + tau * q, (1 - tau) * p
    return np.array(errors)


@pytest.mark.claim("ADAM-LINEARISED")
@pytest.mark.parametrize("tau", [1.0, 0.3, 0.005])
@pytest.mark.parametrize("before", [1, 15])
@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_the_row_space_rolls_as_torch_does(tau, before, beta):
    options = {"lr": 0.01, "betas": (beta, 0.999), "tau": tau, "before": before, "steps": 20}
    for seed in range(3):
        drawn = problem(seed)
        state, errors = roll_adam(drawn, **options)
        # Hundreds of roundings of sums of order 1.
        assert roll_rows(drawn, state, **options) == pytest.approx(errors, abs=1e-13)


@pytest.mark.claim("ADAM-LINEARISED")
@pytest.mark.parametrize("tau", ["1", "1/10"])
def test_the_full_map_has_the_reduced_spectrum_and_the_trivial_one(tau):
    """Characteristic polynomials in exact rationals, of two rows and four parameters."""
    rng = np.random.default_rng(0)
    jacobian, following = (sp.Matrix(2, 4, [sp.Rational(int(n), 3) for n in rng.integers(-4, 5, 8)]) for _ in range(2))
    scales = sp.diag(*[sp.Rational(int(n), 7) for n in rng.integers(1, 7, 4)])
    values = {step.BETA: sp.Rational(9, 10), step.TAU: sp.Rational(tau), step.SHARE: 1}
    full = step.full_matrix(jacobian, following, scales).subs(values)
    kernel, bootstrap = jacobian * scales * jacobian.T, following * scales * jacobian.T
    reduced = step.reduced_matrix(kernel, bootstrap).subs(values)
    trivial = ((step.Z - 1) * (step.Z - step.BETA) * (step.Z - 1 + step.TAU)).subs(values) ** (4 - 2)
    expected = trivial * reduced.charpoly(step.Z).as_expr(step.Z)
    assert sp.expand(full.charpoly(step.Z).as_expr(step.Z) - expected) == 0


def test_the_polynomial_is_the_characteristic_polynomial_of_two_rows():
    """In exact rationals; the derivation shows it for one row."""
    kernel, bootstrap = sp.Matrix([[3, 1], [1, 2]]) / 7, sp.Matrix([[2, -1], [5, 1]]) / 7
    values = {step.BETA: sp.Rational(9, 10), step.TAU: sp.Rational(1, 20), step.SHARE: 1}
    matrix = step.reduced_matrix(kernel, bootstrap).subs(values)
    polynomial = step.polynomial(kernel, bootstrap).subs(values).det()
    assert sp.expand(matrix.charpoly(step.Z).as_expr(step.Z) - polynomial) == 0


@pytest.mark.claim("ADAM-SIGN")
def test_the_preconditioned_sign_decides():
    """J = (1, 1), J* = (2, -1), γ = .9: A = -1.1 under gradient descent, A_D = .61 with D = (1, .1)."""
    jacobian, following, scales = np.array([[1.0, 1.0]]), np.array([[2.0, -1.0]]), np.array([1.0, 0.1])
    rates = {}
    for name, diagonal in (("plain", np.ones(2)), ("preconditioned", scales)):
        rates[name] = ((0.9 * following - jacobian) * diagonal @ jacobian.T).item()
        weights = np.array([1.0, -0.5])
        start = (jacobian - 0.9 * following) @ weights
        for _ in range(200):
            weights = weights - 0.01 * diagonal * (jacobian.T @ ((jacobian - 0.9 * following) @ weights))
        growth = ((jacobian - 0.9 * following) @ weights / start).item()
        assert growth == pytest.approx((1 + 0.01 * rates[name]) ** 200, rel=1e-10)
    assert rates == pytest.approx({"plain": -1.1, "preconditioned": 0.61})
