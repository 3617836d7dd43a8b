"""Small homogeneous critics trained to blow-up: the full discrete training behind verify_laws."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from seem.heading import alignment
from seem.networks import Critic, MLPConfig, parameter_list
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix

OVERFLOW = 1e60
"""A run ends here: far past every law's window, and squares of Q still fit into float64."""
FROZEN = 0.98
"""Least |mean sign| of a frozen gradient: rare flips may be large ones, which Adam's ratio weighs fully."""
READ_EVERY = 25
"""Steps between readings of the alignment."""


@dataclass(frozen=True)
class Problem:
    """Fixed rows X and X*, reward 0, no terminals.

    Attributes:
        x: X, shape (M, inputs).
        x_next: X*, shape (M, inputs).
        discount: γ.
    """

    x: Tensor
    x_next: Tensor
    discount: float = 0.99


@dataclass(frozen=True)
class Rule:
    """A training rule, on the loss ½‖u‖² summed over the rows.

    Attributes:
        optimiser: Makes a torch optimiser from parameters.
        target_rate: τ of the target network after every step; 1 copies the critic.
        clip: Largest norm of the gradient; None leaves it.
        knee: Knee of the Huber loss; None is the squared loss.
        schedule: Factor on the step size at a step; None keeps it.
    """

    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer]
    target_rate: float = 1.0
    clip: float | None = None
    knee: float | None = None
    schedule: Callable[[int], float] | None = None


@dataclass(frozen=True)
class Trace:
    """What a run leaves: entry t is the state after t steps.

    Attributes:
        q: Mean |Q| over X, shape (T,).
        norm: ‖θ‖, shape (T,).
        read_at: Steps of the alignment readings.
        aligned: Cosine between -Φᵀu and θ there.
        active: Parameters with a non-zero gradient at the last step.
        frozen: Parameters whose gradient keeps one sign in the second half, but for one step in a hundred.
        held: Sum of the squared mean signs in the second half, a vanished gradient leaving its last sign in
            force as Lion's memory does.
        crashed: Whether Q passed `OVERFLOW` before the steps ran out.
    """

    q: NDArray[np.float64]
    norm: NDArray[np.float64]
    read_at: NDArray[np.int64]
    aligned: NDArray[np.float64]
    active: int
    frozen: int
    held: int
    crashed: bool

    def alignment_in(self, start: int, stop: int) -> float:
        """Median alignment between two steps; that of the nearest reading when none falls between."""
        inside = self.aligned[(self.read_at >= start) & (self.read_at <= stop)]
        nearest = self.aligned[int(np.argmin(np.abs(self.read_at - start)))]
        return float(np.median(inside)) if len(inside) else float(nearest)


class Lion(torch.optim.Optimizer):
    """Lion with decoupled weight decay: the sign of an interpolated momentum (Chen et al. 2023, 2302.06675)."""

    def __init__(self, parameters: list[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                parameter *= 1 - group["lr"] * group["weight_decay"]
                memory = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                parameter -= group["lr"] * torch.sign(first * memory + (1 - first) * parameter.grad)
                memory.lerp_(parameter.grad, 1 - second)


def make_problem(seed: int, *, factor: float = 1.5, noise: float = 0.0, rows: int = 6, inputs: int = 4) -> Problem:
    """Rows X and X* = factor·X + noise·N(0, 1).

    Args:
        seed: Seed of the rows.
        factor: How much further out the successors lie.
        noise: Standard deviation of their scatter; 0 makes the target exactly proportional to the critic.
        rows: Number M of rows.
        inputs: Input components.

    Returns:
        The problem, float64.
    """
    generator = torch.Generator().manual_seed(seed)
    x, scatter = torch.randn(2, rows, inputs, generator=generator, dtype=torch.float64)
    return Problem(x, factor * x + noise * scatter)


def make_critic(seed: int, depth: int, width: int, inputs: int = 4) -> Critic:
    """A bias-free ReLU critic in float64, from torch's default initialisation."""
    config = MLPConfig(depth=depth, width=width, bias=False)
    return Critic(inputs - 1, 1, config, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def td_error(critic: Critic, problem: Problem) -> Tensor:
    """U = f(X) - γ f(X*), detached."""
    with torch.no_grad():
        return (critic(problem.x) - problem.discount * critic(problem.x_next)).squeeze(1)


def leading_eigenvalue(critic: Critic, problem: Problem) -> float:
    """Max Re λ(A)."""
    blocks = gram_blocks(critic, problem.x, problem.x_next)
    terminals = torch.zeros(len(problem.x), dtype=torch.float64)
    return eigenvalues(seem_matrix(*blocks, problem.discount, terminals))[0].real.item()


def largest_kernel_eigenvalue(critic: Critic, problem: Problem) -> float:
    """λ_max of G(X, X), which the step size must not overshoot."""
    return torch.linalg.eigvalsh(gram_blocks(critic, problem.x, problem.x_next)[0])[-1].item()


def parameter_norm(critic: Critic) -> float:
    """‖θ‖."""
    return torch.stack([p.detach().norm() for p in critic.parameters()]).norm().item()


def approach_ray(critic: Critic, problem: Problem, steps: int, *, signs: bool = False) -> Critic:
    """Semi-gradient descent with the weights scaled back after every step, until they align with it.

    By homogeneity this is descent with another step size: the direction of θ takes the same path.

    Args:
        critic: Where to start; not changed.
        problem: The rows.
        steps: Number of steps of 2 % of ‖θ‖.
        signs: Take the signs of the TD errors, as the Huber loss does far beyond its knee.

    Returns:
        The critic, with its initial norm.
    """
    critic, size = copy.deepcopy(critic), parameter_norm(critic)
    parameters = parameter_list(critic)
    for _ in range(steps):
        error = td_error(critic, problem)
        pull = torch.sign(error) if signs else error
        gradients = torch.autograd.grad(critic(problem.x).squeeze(1) @ pull, parameters)
        length = 0.02 * size / torch.stack([g.norm() for g in gradients]).norm().item()
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= length * gradient
            shrink = size / parameter_norm(critic)
            for parameter in parameters:
                parameter *= shrink
    return critic


class Signs:
    """Sums of the gradient's signs, by parameter: of each step, and with vanished ones replaced by the last."""

    def __init__(self, parameters: list[Tensor]) -> None:
        size = sum(p.numel() for p in parameters)
        self.last, self.plain, self.held = torch.zeros(3, size, dtype=torch.float64)
        self.steps = 0

    def add(self, parameters: list[Tensor], counted: bool) -> None:
        """Take one step's gradient into account; ``counted`` says whether it joins the sums."""
        signs = torch.cat([p.grad.sign().flatten() for p in parameters])
        self.last = torch.where(signs == 0, self.last, signs)
        if counted:
            self.plain += signs
            self.held += self.last
            self.steps += 1

    def counts(self) -> tuple[int, int]:
        """How many signs are frozen, and the rounded sum of the squared mean held signs."""
        plain, held = (total / max(self.steps, 1) for total in (self.plain, self.held))
        return int((plain.abs() >= FROZEN).sum()), round(held.square().sum().item())


def train(critic: Critic, problem: Problem, rule: Rule, steps: int) -> Trace:
    """Semi-gradient TD with real autograd and a real optimiser, until the steps end or Q overflows.

    Args:
        critic: Where to start; not changed.
        problem: The rows.
        rule: The training rule.
        steps: Largest number of steps.

    Returns:
        The trace.
    """
    critic, target = copy.deepcopy(critic), copy.deepcopy(critic)
    parameters, followers = parameter_list(critic), parameter_list(target)
    optimiser = rule.optimiser(parameters)
    lr = optimiser.param_groups[0]["lr"]
    q, norm, read_at, aligned = [], [], [], []
    signs = Signs(parameters)
    for step in range(steps + 1):
        values = critic(problem.x).squeeze(1)
        q.append(values.detach().abs().mean().item())
        norm.append(parameter_norm(critic))
        crashed = not q[-1] < OVERFLOW
        if crashed or step == steps:
            break
        if step % READ_EVERY == 0:
            read_at.append(step)
            aligned.append(alignment(critic, problem.x, td_error(critic, problem)))
        with torch.no_grad():
            label = problem.discount * target(problem.x_next).squeeze(1)
        if rule.knee is None:
            loss = (values - label).square().sum() / 2
        else:
            loss = functional.huber_loss(values, label, reduction="sum", delta=rule.knee)
        optimiser.zero_grad()
        loss.backward()
        signs.add(parameters, step >= steps // 2)
        if rule.clip is not None:
            clip_grad_norm_(parameters, rule.clip)
        if rule.schedule is not None:
            optimiser.param_groups[0]["lr"] = lr * rule.schedule(step)
        optimiser.step()
        with torch.no_grad():
            for follower, parameter in zip(followers, parameters, strict=True):
                follower.lerp_(parameter, rule.target_rate)
    active = sum(int((p.grad != 0).sum()) for p in parameters if p.grad is not None)
    finite = np.isfinite(q)
    readings = np.array(read_at), np.array(aligned)
    return Trace(np.array(q)[finite], np.array(norm)[finite], *readings, active, *signs.counts(), crashed)


def ends_at(trace: Trace) -> float:
    """Step of the overflow; infinity for a run that lasted."""
    return float(len(trace.q) - 1) if trace.crashed else math.inf
