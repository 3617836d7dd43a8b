"""The eigenvalue criterion on critics: exact where the kernel is frozen or the ray is self-similar, else pointwise.

Hypotheses: X* fixed; for frozen kernels a critic of one weight matrix on fixed features; for the ray a bias-free
critic of homogeneous activation, r = 0 and -Φᵀu = κθ, which balanced layers of rank one satisfy exactly.
"""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import event, given, target
from hypothesis import strategies as st

from properties.oracles import gram_by_loop
from properties.strategies.networks import PIECEWISE_LINEAR
from properties.strategies.problems import Problem, problems
from properties.strategies.ray_critics import ray_critics
from seem.networks import MLP, MLPConfig
from seem.spectrum import CriticReading, take_reading


def read(problem: Problem, eta: float) -> CriticReading:
    rows = len(problem.x)
    options = {"discount": problem.discount, "lr": eta * rows / 2}
    reading = take_reading(
        problem.critics[0], problem.x, problem.x_next, problem.errors(0.0), problem.terminals, **options
    )
    assert reading is not None
    return reading


def descend(problem: Problem, eta: float, steps: int) -> list[torch.Tensor]:
    """TD errors along a run of torch's SGD on the mean-squared loss with lr = ηM/2; moves the critic."""
    (critic,), errors = problem.critics, []
    optimiser = torch.optim.SGD(critic.parameters(), lr=eta * len(problem.x) / 2)
    for _ in range(steps):
        error, target = problem.errors_and_target(0.0)
        errors.append(error)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(critic(problem.x).squeeze(1), target).backward()
        optimiser.step()
    return [*errors, problem.errors(0.0)]


@pytest.mark.claim("SIGN-GROWTH")
@given(case=problems(depth=(1, 1)), size=st.sampled_from((0.25, 2.0)), steps=st.integers(1, 8))
def test_on_fixed_features_a_run_is_the_linear_recursion(case, size, steps):
    """Random features, terminals and rewards: u_t = (I + ηA)^t u_0 with one matrix A, and the reading's growth."""
    problem = case.draw()
    matrix, rows = problem.matrix(), len(problem.x)
    eta = size / max(matrix.norm().item(), 2.0**-20)
    reading = read(problem, eta)
    errors = descend(problem, eta, steps)
    step = torch.eye(rows, dtype=torch.float64) + eta * matrix
    expected = torch.linalg.matrix_power(step, steps) @ errors[0]
    # 1e-13: ten products a value and step, θ gathers the steps; η‖A‖ = size at most amplifies them.
    bound = 1e-13 * steps * (1 + size) ** steps * (1 + errors[0].norm() + problem.rewards.norm())
    event("grows" if errors[-1].norm() > errors[0].norm() else "decays")
    assert (errors[-1] - expected).norm() <= bound
    assert abs(errors[1].norm() - reading.growth * errors[0].norm()) <= bound


RAYS = ray_critics(rates=(2.0**-6, 0.75), dtypes=("float64",)) | ray_critics(
    rates=(-0.75, -(2.0**-6)), dtypes=("float64",)
)


@given(ray=RAYS, steps=st.integers(1, 3))
def test_on_the_ray_every_step_grows_as_the_law_says(ray, steps):
    """With x = ηλ a step multiplies θ by 1 + x/L, u by (1 + x/L)^L and λ by (1 + x/L)^(2L-2); -L < x < 0 shrinks."""
    network, x, x_next = ray.draw()
    zeros = torch.zeros(len(x), dtype=torch.float64)
    problem = Problem((network,), x, x_next, rewards=zeros, terminals=zeros, discount=ray.discount)
    depth, eta = ray.depth, 2 * ray.lr / len(x)
    rate, size = ray.rate / eta, depth * ray.scale ** (2 * depth - 2)
    first = read(problem, eta)
    # 1e-12: products over layers, rows and units, below a hundred; the drive is a difference of numbers below four.
    slack = 1e-12 * size
    assert abs(first.rayleigh - rate) <= slack
    # A kernel of rank one: all other eigenvalues are zero.
    assert abs(first.leading - max(rate, 0.0 if len(x) > 1 else -math.inf)) <= slack
    assert abs(first.growth - abs(1 + ray.rate)) <= 1e-12
    assert abs(first.alignment - math.copysign(1, rate)) <= 1e-12
    errors, scale = descend(problem, eta, steps), 1.0
    for before, after in pairwise(errors):
        factor = 1 + ray.rate * scale ** (2 * depth - 2) / depth
        # 1e-10: the rate is good to 1e-12 and enters three steps, each raised to a power of at most six.
        assert math.isclose(after.norm(), factor**depth * before.norm(), rel_tol=1e-10)
        scale *= factor
    last = read(problem, eta)
    event("self-excited" if ray.rate > 0 else "shrinks")
    assert math.isclose(last.parameter_norm, scale * first.parameter_norm, rel_tol=1e-10)
    assert math.isclose(last.rayleigh, scale ** (2 * depth - 2) * first.rayleigh, rel_tol=1e-10)


@pytest.mark.claim("SGD-ALIGNMENT")
@given(case=problems(activations=PIECEWISE_LINEAR, bias=False, normalised=False))
def test_alignment_bounds_the_defect_of_the_eigen_equation(case):
    """Off the ray, r = 0: Au - Lκu = (γDΦ* - Φ)(Φᵀu + κθ), so ‖Au - Lκu‖ ≤ ‖γDΦ* - Φ‖‖Φᵀu‖√(1 - cos²)."""
    drawn = case.draw()
    problem = Problem(drawn.critics, drawn.x, drawn.x_next, 0 * drawn.rewards, drawn.terminals, drawn.discount)
    (critic,), u, depth = problem.critics, problem.errors(0.0), case.critic.config.depth
    reading, matrix = read(problem, 1.0), problem.matrix()
    kappa = reading.alignment * problem.speed / reading.parameter_norm
    mask = (problem.discount * (1 - problem.terminals))[:, None]
    corner = mask * gram_by_loop(critic, problem.x_next, problem.x_next) * mask.T
    cross = mask * gram_by_loop(critic, problem.x_next, problem.x)
    bootstrap = corner - cross - cross.T + gram_by_loop(critic, problem.x, problem.x)
    largest = torch.linalg.eigvalsh(bootstrap)[-1].clamp_min(0.0).sqrt().item()
    defect = (matrix @ u - depth * kappa * u).norm().item()
    bound = largest * problem.speed * math.sqrt(max(0.0, 1 - reading.alignment**2))
    # The root of a difference loses half the digits: 1e-7 of the largest term.
    slack = 1e-7 * (largest * problem.speed + (matrix.norm() * u.norm()).item())
    target(defect / max(bound, 1e-9))
    event(f"alignment about {reading.alignment:.1f}")
    assert defect <= bound + slack
    assert abs(reading.rayleigh - depth * kappa) * u.norm() <= bound + slack


def one_unit(weight: float, head: float, x: float, x_next: float, reward: float) -> Problem:
    """A tanh(wx) on one transition with γ = 0.9."""
    config = MLPConfig(depth=2, width=1, bias=False, activation="tanh")
    network = MLP(1, 1, config, generator=torch.Generator(), dtype=torch.float64)
    for parameter, value in zip(network.parameters(), (weight, head), strict=True):
        torch.nn.init.constant_(parameter, value)
    rows = [torch.full((1, 1), value, dtype=torch.float64) for value in (x, x_next)]
    reward_row = torch.full((1,), reward, dtype=torch.float64)
    return Problem((network,), *rows, reward_row, 0 * reward_row, discount=0.9)


@pytest.mark.claim("SIGN-POINTWISE")
def test_a_positive_seem_need_not_diverge():
    """The kernel of a saturating critic turns: SEEM > 0 at the start, u grows, and then both fall to zero."""
    problem = one_unit(weight=0.25, head=0.25, x=1.0, x_next=4.0, reward=1.0)
    before = read(problem, 0.125)
    errors = [error.norm().item() for error in descend(problem, 0.125, 1000)]
    after = read(problem, 0.125)
    assert before.leading > 0.1
    assert errors[1] > errors[0]
    assert after.leading < 0
    assert errors[-1] < 1e-3 * errors[0]
