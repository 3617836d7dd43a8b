"""Thresholds by optimiser: every step, golden values, and torch's own optimisers on one mode."""

import numpy as np
import pytest
import torch

from theory import optimiser_thresholds as rules
from theory.derivation import assert_step

STEPS = [step for derivation in rules.DERIVATIONS for step in derivation.steps]


@pytest.mark.claim("MOMENTUM-OVERSHOOT")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def at(expression, beta: float = 0.9, decay: float = 0.0) -> float:
    return float(expression.subs({rules.BETA: beta, rules.DECAY: decay}))


def growth(optimiser, rate: float, steps: int = 2000) -> float:
    """Growth per step of one weight whose gradient is -rate·θ, under torch's optimiser of learning rate 1."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    stepper, logs = optimiser([weight]), 0.0
    for number in range(steps):
        weight.grad = -rate * weight.detach()
        stepper.step()
        size = weight.detach().abs().item()
        if size > 1e100 or 0 < size < 1e-100:  # a linear recursion: all of its state may be scaled
            with torch.no_grad():
                weight /= size
                stepper.state[weight]["momentum_buffer"] /= size
                logs += np.log(size) if number >= steps // 2 else 0.0
        if number == steps // 2 - 1:
            start = np.log(weight.detach().abs().item())
    return float(np.exp((logs + np.log(weight.detach().abs().item()) - start) / (steps - steps // 2)))


def heavy_ball(parameters, beta: float = 0.9, **options):
    return torch.optim.SGD(parameters, lr=1.0, momentum=beta, **options)


@pytest.mark.claim("MOMENTUM-OVERSHOOT")
@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_torch_overshoots_where_the_rules_say(beta):
    for rule, options in (("heavy ball", {}), ("nesterov", {"nesterov": True})):
        threshold = at(rules.overshoot(rule), beta)
        for share, grows in ((0.99, False), (1.01, True)):
            assert (growth(lambda p: heavy_ball(p, beta, **options), share * threshold) > 1) == grows  # noqa: B023


def test_golden_values():
    assert at(rules.overshoot("heavy ball")) == pytest.approx(-3.8)
    assert at(rules.overshoot("nesterov")) == pytest.approx(-1.35714, abs=5e-6)
    assert at(rules.overshoot("adam")) == pytest.approx(-38)
    assert at(rules.overshoot("adam", rules.DECAY), decay=0.01) == pytest.approx(-37.81)
    for beta, golden in ((0.0, 1.6), (0.9, 0.41644)):
        alpha = (1 + beta) / (1 - beta)
        assert float(rules.largest_step(-1, 0.5, alpha)) == pytest.approx(golden, abs=5e-6)


@pytest.mark.claim("MOMENTUM-NO-SHIFT")
@pytest.mark.parametrize("rate", [-0.01, 0.01])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_keeps_the_zero(rate, nesterov):
    assert (growth(lambda p: heavy_ball(p, nesterov=nesterov), rate) > 1) == (rate > 0)


def frozen_adam(decay: float, decoupled: bool, steps: int = 60) -> np.ndarray:
    """Displacements of a linear critic's 12 weights under torch's Adam whose v̂ is held, three rows, copied targets."""
    generator = torch.Generator().manual_seed(0)
    jacobian, following = torch.randn(2, 3, 12, generator=generator, dtype=torch.float64)
    second = 10 ** (4 * torch.rand(12, generator=generator, dtype=torch.float64) - 2)
    # From zero: decoupled decay shrinks θ_0 too, a constant vector that the reduction carries along.
    weights = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    options = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 0.0, "weight_decay": decay}
    stepper = (torch.optim.AdamW if decoupled else torch.optim.Adam)([weights], **options)
    path = []
    for number in range(steps):
        error = (jacobian - 0.9 * following) @ weights.detach() - 1.0
        weights.grad = 2 / 3 * jacobian.T @ error
        if number:
            whole = weights.grad if decoupled else weights.grad + decay * weights.detach()
            held = (second * (1 - 0.999 ** (number + 1)) - 0.001 * whole.square()) / 0.999
            stepper.state[weights]["exp_avg_sq"].copy_(held)
        stepper.step()
        if number == 0:
            with torch.no_grad():
                weights.zero_()
                stepper.state[weights]["exp_avg"].zero_()
        path.append(weights.detach().clone())
    return torch.stack(path).numpy()


@pytest.mark.claim("ADAM-COUPLED-DECAY")
def test_coupled_decay_leaves_the_row_space_under_adam():
    def rank(path):
        sizes = np.linalg.svd(path, compute_uv=False)
        # Twelve weights: what is not in the span is rounding, of order 1e-16.
        return int((sizes > 1e-12 * sizes[0]).sum())

    assert rank(frozen_adam(0.0, decoupled=False)) == 3
    assert rank(frozen_adam(1.0, decoupled=True)) == 3
    assert rank(frozen_adam(1.0, decoupled=False)) == 12


@pytest.mark.claim("CLIP-EXACT")
def test_clipping_rolls_by_rows_as_torch_clips():
    generator = torch.Generator().manual_seed(0)
    jacobian, following = torch.randn(2, 4, 9, generator=generator, dtype=torch.float64)
    start = torch.randn(9, generator=generator, dtype=torch.float64)
    weights, rows, share, clip = start.clone().requires_grad_(), torch.zeros(4, dtype=torch.float64), 0.5, 0.3
    stepper = torch.optim.SGD([weights], lr=0.05)
    for _ in range(50):
        fixed = 0.9 * following @ weights.detach()
        stepper.zero_grad()
        (jacobian @ weights - fixed).square().mean().backward()
        torch.nn.utils.clip_grad_norm_([weights], clip)
        stepper.step()
        error = (jacobian - 0.9 * following) @ (start + 0.05 * jacobian.T @ rows)
        norm = share * torch.sqrt(error @ jacobian @ jacobian.T @ error)
        rows = rows - share * error * torch.clamp(clip / (norm + 1e-6), max=1)
    # torch adds 1e-6 to the norm; beyond it hundreds of roundings.
    assert start + 0.05 * jacobian.T @ rows == pytest.approx(weights.detach(), abs=1e-12)
