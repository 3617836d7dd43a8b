"""Adam's law: every step, its mutants, seem's ratio and slopes, and Adam itself on a growing gradient."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from seem.growth import AdamLaw
from theory import adam_growth as adam
from theory.derivation import assert_step

STEPS = [step for derivation in adam.DERIVATIONS for step in derivation.steps]
NORM, POWER, EXACT, SCALING, DECAY = adam.DERIVATIONS


@pytest.mark.claim("ADAM-ORDER")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


MUTANTS = {
    "all parameters count": replace(NORM["slope"], right=adam.LR * sp.sqrt(3)),
    "Q is linear": replace(POWER["power-2"], right=POWER["power-2"].right / adam.LR),
    "a lag without the power": replace(EXACT["lag-3"], right=EXACT["lag-3"].right / 3),
    "β₁ does not matter": replace(EXACT["late"], right=EXACT["late"].right.subs(adam.BETA_1, 0)),
    "decay does not matter": replace(DECAY["saturation"], left=DECAY["saturation"].left * 2, shown=None),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


@pytest.mark.claim("ADAM-NORM-RATIO")
@pytest.mark.parametrize("depth", [1, 2])
def test_package_ratio_is_the_closed_form(depth):
    """Exact rational averages against the package's filter."""
    power, steps = 2 * depth - 1, 40
    ratios = AdamLaw(depth).step_ratio(steps, 0.5, 0.75)
    beta_1, beta_2 = sp.Rational(1, 2), sp.Rational(3, 4)
    first, second = adam.average(power, beta_1), adam.average(2 * power, beta_2)
    for step in (1, 2, 7, 40):
        mean = first.subs(adam.TIME, step) / (1 - beta_1**step)
        square = second.subs(adam.TIME, step) / (1 - beta_2**step)
        # The scale (1/40)^k drops out; the filter rounds 40 times.
        assert ratios[step - 1] == pytest.approx(float(mean / sp.sqrt(square)), rel=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_package_ratio_tends_to_the_scaling_limit(depth):
    ratios = AdamLaw(depth).step_ratio(20_000, 0.5, 1 - 1e-4)
    for tau in (0.3, 1.0, 2.0):
        limit = math.sqrt(adam.squared_ratio(2 * depth - 1).evalf(40, subs={adam.TAU: tau}))
        # Corrections are of order k/t, t = tau·10^4.
        assert ratios[int(tau * 1e4) - 1] == pytest.approx(limit, rel=1e-2)


@pytest.mark.claim("ADAM-NORM-LATE")
@pytest.mark.parametrize("depth", [2, 3])
def test_early_and_late_ratio(depth):
    early = AdamLaw(depth).step_ratio(2000, 0.5, 1 - 1e-7)[-1]
    assert early == pytest.approx(math.sqrt(4 * depth - 1), rel=0.02)
    late = AdamLaw(depth).step_ratio(100_000)
    power = 2 * depth - 1
    predicted = 1 + power * (999 - 9) / 100_000
    assert late[-1] - 1 == pytest.approx(predicted - 1, rel=0.1)


@pytest.mark.claim("ADAM-ORDER")
def test_slope_and_exponent():
    for depth in (1, 2, 5):
        law = AdamLaw(depth)
        assert law.exponent == depth
        assert law.linearise([7.0**depth]) == pytest.approx([7])
    slope = NORM["slope"].left.subs(adam.LR, sp.Rational(1, 4))
    assert AdamLaw(3).norm_slope(0.25, adam.ACTIVE) == pytest.approx(float(slope))


@pytest.mark.parametrize("depth", [2, 3])
def test_torch_adam_takes_the_predicted_steps(depth):
    """Torch's Adam on the gradient t^(2L-1), one active and one dead parameter."""
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=1e-2, eps=0)
    moved = []
    for step in range(1, 201):
        weights.grad = torch.tensor([-(float(step) ** (2 * depth - 1)), 1e-300], dtype=torch.float64)
        before = weights[0].item()
        optimiser.step()
        moved.append(weights[0].item() - before)
    assert np.array(moved) / 1e-2 == pytest.approx(AdamLaw(depth).step_ratio(200), rel=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scale_path_is_torch_adam_on_the_ray(depth):
    """One weight whose gradient is its own (2L-1)-th power, from 1 on."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=1.0, eps=0, betas=(0.9, 0.99))
    path = []
    for _ in range(100):
        path.append(weight.item())
        weight.grad = -(weight.detach() ** (2 * depth - 1))
        optimiser.step()
    assert AdamLaw(depth).scale_path(100, 0.9, 0.99) == pytest.approx(np.array(path), rel=1e-9)


@pytest.mark.claim("ADAM-NORM-LATE")
def test_scale_path_ends_in_steps_of_one():
    """Long after 1/(1-β₂) steps the steps are 1 + k(1/(1-β₂) - 1/(1-β₁))/path, k = 2L-1."""
    path = AdamLaw(3).scale_path(4000, 0.9, 0.99)
    # The next order is the square of the correction, .09.
    assert path[-1] - path[-2] == pytest.approx(1 + 5 * (99 - 9) / path[-1], abs=0.01)
