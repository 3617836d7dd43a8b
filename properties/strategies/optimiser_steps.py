"""Linearised steps of any optimiser: Jacobians, scales, memory, lag and loss, and the same step in all parameters."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from seem.step_rules import StepRule
from seem.under_optimiser import UnderOptimiser

Array = np.ndarray


@dataclass(frozen=True)
class StepCase:
    """What a step is drawn from.

    Attributes:
        seed: Of all numbers.
        rows: M.
        parameters: P.
        rule: The optimiser's scalars.
        rate: τ.
        interval: Steps between two changes of the targets.
        step: Steps taken before.
        clip_norm: Or None.
        knee: Or None.
        size: Of the learning rates, about.
    """

    seed: int
    rows: int
    parameters: int
    rule: StepRule
    rate: float
    interval: int
    step: int
    clip_norm: float | None
    knee: float | None
    size: float

    def draw(self) -> "DrawnStep":
        """All arrays of the case."""
        generator = np.random.default_rng(self.seed)
        one = self.rule.pull > 0 or self.rule.name == "SGD"
        spread = 1.0 if one else np.exp(generator.normal(0, 1, self.parameters))
        return DrawnStep(
            case=self,
            jacobian=generator.standard_normal((self.rows, self.parameters)),
            following=generator.standard_normal((self.rows, self.parameters)),
            discounts=0.99 * (generator.random(self.rows) > 0.2),
            scales=self.size * spread * np.ones(self.parameters),
            weights=generator.random(self.rows) + 0.1,
            error=generator.standard_normal(self.rows),
            start=generator.standard_normal(self.parameters),
            memory=generator.standard_normal(self.parameters) * (self.rule.memory > 0),
            lag=generator.standard_normal(self.parameters) * (self.rate < 1 or self.interval > 1),
        )


@dataclass(frozen=True)
class DrawnStep:
    """A critic that is linear in its parameters, in training.

    Attributes:
        case: What it was drawn from.
        jacobian: J, shape (M, P).
        following: J*, likewise.
        discounts: Γ, shape (M,).
        scales: D, shape (P,).
        weights: W, shape (M,).
        error: u₀.
        start: θ₀.
        memory: The optimiser's buffer.
        lag: θ̄₀ - θ₀.
    """

    case: StepCase
    jacobian: Array
    following: Array
    discounts: Array
    scales: Array
    weights: Array
    error: Array
    start: Array
    memory: Array
    lag: Array

    @property
    def share(self) -> float:
        """H."""
        return 2 / self.case.rows

    def reduced(self, times: float = 1.0) -> UnderOptimiser:
        """The step in the row space, with u₀, θ₀, memory and lag times a number."""
        case, backed = self.case, self.discounts[:, None] * self.following
        drift = self.scales * self.memory * times
        return UnderOptimiser(
            rule=case.rule,
            kernel=(self.jacobian * self.scales) @ self.jacobian.T,
            bootstrap=(backed * self.scales) @ self.jacobian.T,
            plain=self.jacobian @ self.jacobian.T,
            error=times * self.error,
            memory=(self.jacobian @ drift, backed @ drift),
            lag=backed @ (times * self.lag),
            parameters=(self.jacobian @ (times * self.start), backed @ (times * self.start)),
            share=self.share,
            weights=self.weights,
            knee=case.knee,
            clip_norm=case.clip_norm,
            rate=case.rate,
            interval=case.interval,
            step=case.step,
        )

    def path(self, steps: int) -> Array:
        """U now and after each step, by steps of all parameters, memory and targets."""
        case, rule = self.case, self.case.rule
        theta, target, memory = self.start.copy(), self.start + self.lag, self.memory.copy()
        backed, found = self.discounts[:, None] * self.following, []
        decay = rule.pull / self.scales[0]
        for k in range(steps + 1):
            u = self.error + self.jacobian @ (theta - self.start) - backed @ (target - self.start - self.lag)
            found.append(u)
            pulled = u if case.knee is None else np.clip(u, -case.knee, case.knee)
            gradient = self.share * self.jacobian.T @ (self.weights * pulled)
            if case.clip_norm is not None:
                gradient = gradient * min(1.0, case.clip_norm / (np.linalg.norm(gradient) + 1e-6))
            gradient = gradient + decay * theta
            memory = rule.memory * memory + rule.inflow * gradient
            move = self.scales * (rule.direct * gradient + rule.through * memory)
            started = 1.0 if rule.taken is None else 1 - rule.memory ** (rule.taken + 1)
            corrected = 1.0 if rule.taken is None else 1 - rule.memory ** (rule.taken + 1 + k)
            theta = (1 - rule.shrink) * theta - move * started / corrected
            if (case.step + k + 1) % case.interval == 0:
                target = (1 - case.rate) * target + case.rate * theta
        return np.stack(found)

    def full_matrix(self) -> Array:
        """One step of (θ, memory, θ̄) without its constant part, shape (3P, 3P); targets change at every step."""
        size, rule, tau = len(self.scales), self.case.rule, self.case.rate
        one, none, scales = np.eye(size), np.zeros((size, size)), np.diag(self.scales)
        pull = self.share * self.jacobian.T * self.weights
        push = pull @ self.jacobian + rule.pull / self.scales[0] * one
        gradient = np.hstack((push, none, -pull @ (self.discounts[:, None] * self.following)))
        memory = np.hstack((none, rule.memory * one, none)) + rule.inflow * gradient
        critic = np.hstack(((1 - rule.shrink) * one, none, none))
        critic = critic - scales @ (rule.direct * gradient + rule.through * memory)
        return np.vstack((critic, memory, np.hstack((none, none, (1 - tau) * one)) + tau * critic))


@st.composite
def rules(draw: st.DrawFn, decay: bool = True) -> StepRule:
    """Any rule that has a reduction.

    Args:
        draw: Of Hypothesis.
        decay: Whether weight decay may be there.
    """
    kind = draw(st.sampled_from(["SGD", "Nesterov", "Adam", "RMSprop"]), label="rule")
    beta = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]), label="β")
    amount = draw(st.sampled_from([0.0, 0.01]), label="decay") if decay else 0.0
    if kind == "Adam":
        return StepRule("Adam", beta, 1 - beta, shrink=amount, taken=draw(st.integers(1, 1000), label="t"))
    if kind == "RMSprop":
        return StepRule("RMSprop", beta)
    if kind == "Nesterov":
        return StepRule("SGD", beta, 1.0, 1.0, beta, pull=amount)
    return StepRule("SGD", beta, 1 - draw(st.sampled_from([0.0, 0.3]), label="dampening"), pull=amount)


@st.composite
def steps(
    draw: st.DrawFn, *, linear: bool = False, decay: bool = True, rate: float | None = None, interval: int | None = None
) -> StepCase:
    """Any step.

    Args:
        draw: Of Hypothesis.
        linear: Whether clipping and the Huber knee are left out.
        decay: Whether weight decay may be there.
        rate: τ; any without it.
        interval: Of the targets; any without it.
    """
    rows = draw(st.integers(1, 5), label="rows")
    bounds = st.sampled_from([None, 0.3])
    return StepCase(
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
        rows=rows,
        parameters=draw(st.integers(1, 8), label="parameters"),
        rule=draw(rules(decay=decay)),
        rate=draw(st.sampled_from([0.005, 0.1, 1.0]), label="τ") if rate is None else rate,
        interval=draw(st.sampled_from([1, 2, 5]), label="interval") if interval is None else interval,
        step=draw(st.integers(0, 9), label="step"),
        clip_norm=None if linear else draw(bounds, label="clip"),
        knee=None if linear else draw(bounds, label="knee"),
        size=draw(st.sampled_from([1e-3, 1e-2, 0.1]), label="size"),
    )
