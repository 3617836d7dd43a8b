"""One check a growth law: train on the ray, measure, and compare with seem.growth."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from laws_training import (
    OVERFLOW,
    Lion,
    Problem,
    Rule,
    Trace,
    approach_ray,
    ends_at,
    largest_kernel_eigenvalue,
    leading_eigenvalue,
    make_critic,
    make_problem,
    train,
)
from numpy.typing import NDArray
from scipy import stats
from seem.analysis import growth_rates, power_of_growth
from seem.growth import (
    AdamLaw,
    ClippingLaw,
    DecayingStepLaw,
    EMALaw,
    HuberLaw,
    MomentumLaw,
    SGDLaw,
    SignLaw,
    WeightDecayLaw,
)
from seem.networks import Critic

WARM_UP = 1000
"""Steps of the approach to the ray; the alignment in the window is reported."""
SCATTER = 0.3
"""Scatter of X* around 1.5·X: A is not symmetric, and the law must hold all the same."""


@dataclass(frozen=True)
class Measurement:
    """A predicted and a measured number.

    Attributes:
        law: Which law.
        depth: Number L of weight matrices.
        seed: Seed of the rows and the weights.
        quantity: What was measured.
        predicted: By seem.growth.
        measured: In full discrete training.
        allowed: Largest |measured - predicted|; nan for a number that is shown but not judged.
        window: Where the law was measured, in words.
        alignment: Cosine between -Φᵀu and θ in that window.
        curve: What the law makes a straight line, for the figure; empty for none.
    """

    law: str
    depth: int
    seed: int
    quantity: str
    predicted: float
    measured: float
    allowed: float
    window: str
    alignment: float
    curve: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool | None:
        """Whether the law survived; None when the number is only shown."""
        if math.isnan(self.allowed):
            return None
        same = self.measured == self.predicted  # both infinite
        return same or abs(self.measured - self.predicted) <= self.allowed


@dataclass(frozen=True)
class Start:
    """An aligned critic with its problem: where the runs of a check begin.

    Attributes:
        depth: Number L of weight matrices.
        seed: Seed of the rows and the weights.
        width: Hidden units.
    """

    depth: int
    seed: int
    width: int

    def fresh(self) -> Critic:
        """The critic at its initialisation."""
        return make_critic(self.seed, self.depth, self.width)

    def on_ray(self, problem: Problem, *, signs: bool = False) -> Critic:
        """The critic after the approach to the ray."""
        return approach_ray(self.fresh(), problem, WARM_UP, signs=signs)

    def measure(
        self,
        law: str,
        quantity: str,
        predicted: float,
        measured: float,
        allowed: float,
        window: str,
        aligned: float,
        **more,
    ) -> Measurement:
        """A measurement of this start."""
        return Measurement(
            law, self.depth, self.seed, quantity, predicted, float(measured), allowed, window, aligned, **more
        )


def descent(lr: float, **options) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """Makes torch's SGD."""
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, **options)


def rates_on(trace: Trace, start_rate: float, exponent: float) -> NDArray[np.float64]:
    """x = ηλ along a run on the ray, from its first value and Q."""
    return start_rate * (trace.q / trace.q[0]) ** exponent


def steps_within(values: NDArray[np.float64], low: float, high: float) -> slice:
    """The steps on which rising values first lie between two bounds."""
    above = np.flatnonzero(values >= low)
    beyond = np.flatnonzero(values > high)
    start = int(above[0]) if len(above) else len(values) - 1
    return slice(start, max(int(beyond[0]) if len(beyond) else len(values), start + 1))


def measured_exponent(q: NDArray[np.float64], depth: int, window: slice) -> float:
    """Slope of ln(growth a step) against ln Q; nan when the window is shorter than four steps or Q falls."""
    rates = growth_rates(q, depth)[window]
    if len(rates) < 4 or (rates <= 0).any():
        return math.nan
    return float(stats.linregress(np.log(q[:-1][window]), np.log(rates)).slope)


def curve(values: NDArray[np.float64], points: int = 60) -> list[float]:
    """At most ``points`` values, evenly spaced."""
    return [float(values[i]) for i in np.unique(np.linspace(0, len(values) - 1, points).astype(int))]


def check_sgd(start: Start) -> list[Measurement]:
    """Exponent and crash step on the ray, and the crash forecast from the raw initialisation."""
    problem, depth, law = make_problem(start.seed, noise=SCATTER), start.depth, SGDLaw(start.depth)
    rate, rows = 2e-3, []
    for name, critic in (("SGD", start.on_ray(problem)), ("SGD, not aligned", start.fresh())):
        eigenvalue = leading_eigenvalue(critic, problem)
        if not eigenvalue > 0:
            continue
        trace = train(critic, problem, Rule(descent(rate / eigenvalue)), 4000)
        aligned = float(trace.aligned[0])
        judged = name == "SGD"
        window = steps_within(rates_on(trace, rate, law.exponent), 4e-3, 0.3)
        if judged and depth > 1:
            measured = measured_exponent(trace.q, depth, window)
            shown = curve(law.linearise(trace.q[: window.stop] / trace.q[0]))
            # Half the distance to the exponent of the next depth, the nearest rival.
            allowed = (SGDLaw(depth + 1).exponent - law.exponent) / 2
            rows.append(
                start.measure(
                    name,
                    "exponent p",
                    law.exponent,
                    measured,
                    allowed,
                    "4e-3 < x < 0.3",
                    trace.alignment_in(window.start, window.stop),
                    curve=shown,
                )
            )
        forecast = law.steps_to_overflow(rate, math.log(OVERFLOW / trace.q[0]))
        allowed = max(1.0, 0.02 * forecast) if judged else math.nan
        rows.append(start.measure(name, "crash step", forecast, ends_at(trace), allowed, "from step 0", aligned))
        if depth > 1:
            rows.append(
                start.measure(
                    "SGD, continuous time",
                    "crash step",
                    law.steps_to_blow_up(rate),
                    ends_at(trace),
                    math.nan,
                    "from step 0",
                    aligned,
                )
            )
    return rows


def check_adam(start: Start) -> list[Measurement]:
    """Power of Q and slope of the norm from the initialisation, with β₂ near 1 and far from it."""
    problem, depth, law = make_problem(start.seed, noise=SCATTER), start.depth, AdamLaw(start.depth)
    lr, steps, rows = 3e-3, 1500, []
    for beta2 in (0.999, 0.9):
        rule = Rule(lambda p, beta2=beta2: torch.optim.Adam(p, lr=lr, betas=(0.9, beta2), eps=1e-12))
        trace = train(start.fresh(), problem, rule, steps)
        half = slice(len(trace.q) // 2, len(trace.q))
        window, name = f"steps {half.start} to {half.stop - 1}", f"Adam, β₂ = {beta2}"
        aligned = trace.alignment_in(half.start, half.stop)
        shown = curve(law.linearise(trace.q))
        # Half the distance to the next power.
        rows.append(
            start.measure(
                name, "power of t", law.exponent, power_of_growth(trace.q[half]), 0.5, window, aligned, curve=shown
            )
        )
        ratio = float(law.step_ratio(steps, beta2=beta2)[half.start :].mean())
        plain = law.norm_slope(lr, trace.active)
        slope = float(np.polyfit(np.arange(half.start, half.stop), trace.norm[half], 1)[0])
        # The ratio of a gradient that grows as t^(2L-1) from the first step on; the start is not yet that.
        rows.append(start.measure(name, "norm a step", plain * ratio, slope, 0.15 * plain * ratio, window, aligned))
        rows.append(start.measure(f"{name}, lr·√P alone", "norm a step", plain, slope, math.nan, window, aligned))
    return rows


def check_ema(start: Start) -> list[Measurement]:
    """Rate of the exponential, twice, with step sizes eight times apart."""
    problem, depth, tau = make_problem(start.seed), start.depth, 0.02
    critic, law, rows = start.on_ray(problem), EMALaw(start.depth, tau), []
    ratio = problem.discount * (problem.x_next[0, 0] / problem.x[0, 0]).item()
    kernel = largest_kernel_eigenvalue(critic, problem)
    for stiffness in (4e-3, 3.2e-2):
        trace = train(critic, problem, Rule(descent(stiffness / kernel), target_rate=tau), 4000)
        growth = np.diff(np.log(np.maximum(trace.q, 1e-300)))
        stiff = rates_on(trace, stiffness, SGDLaw(depth).exponent)
        window = steps_within(stiff, 0.3, 1.5)
        words = f"0.3 < ηλ_max(G) < 1.5, η = {stiffness / kernel:.1e}"
        aligned = trace.alignment_in(window.start, window.stop)
        predicted = law.growth_rate(ratio)
        rows.append(
            start.measure(
                "EMA target",
                "ln Q a step",
                predicted,
                float(np.median(growth[window])),
                0.05 * predicted,
                words,
                aligned,
                curve=curve(law.linearise(trace.q[: window.stop])),
            )
        )
        past = steps_within(stiff, 2.0, 2.0 * depth).start
        fall = float(trace.q[past:].min() / trace.q[past])
        rows.append(
            start.measure(
                "EMA target past overshoot", "lowest Q / Q there", 1.0, fall, math.nan, "after ηλ_max(G) = 2", aligned
            )
        )
    return rows


def check_momentum(start: Start) -> list[Measurement]:
    """Crash step and exponent while friction rules, and the exponent once inertia does."""
    problem, depth = make_problem(start.seed, noise=SCATTER), start.depth
    critic, exponent, rows = start.on_ray(problem), SGDLaw(start.depth).exponent, []
    eigenvalue = leading_eigenvalue(critic, problem)
    for beta, rate, steps in ((0.9, 5e-5, 4000), (0.99, 2e-5, 4000)):
        law = MomentumLaw(depth, beta)
        trace = train(critic, problem, Rule(descent(rate / eigenvalue, momentum=beta)), steps)
        x = rates_on(trace, rate, exponent)
        if beta == 0.9:
            window = steps_within(x, 3 * rate, law.inertial_rate / 20)
            words, predicted, name = "x below 1/20 of the inertial rate", law.exponent, "momentum 0.9, friction"
            crash = law.steps_to_blow_up(rate)
            # The lag of a slow manifold, ln(inertial rate/x)(1+β)(m+1)/(2m(1-β)), is 5 to 7 % of the run.
            rows.append(
                start.measure(
                    name, "crash step", crash, ends_at(trace), 0.12 * crash, "from step 0", float(trace.aligned[0])
                )
            )
        else:
            window = steps_within(x, 20 * law.inertial_rate, 0.02)
            words, predicted, name = "20 inertial rates < x < 0.02", law.inertial_exponent, "momentum 0.99, inertia"
        measured = measured_exponent(trace.q, depth, window)
        # A third of the distance between the two regimes.
        rows.append(
            start.measure(
                name,
                "exponent",
                predicted,
                measured,
                exponent / 6,
                words,
                trace.alignment_in(window.start, window.stop),
            )
        )
    return rows


def check_clipping(start: Start) -> list[Measurement]:
    """Slope of the norm and power of Q."""
    problem, lr, clip = make_problem(start.seed, noise=SCATTER), 0.01, 2.0
    law, critic = ClippingLaw(start.depth, clip), start.on_ray(problem)
    # Steps of 10 on the norm of the gradient: the clip is active from the first step on.
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter *= 3.0
    trace = train(critic, problem, Rule(descent(lr), clip=clip), 1500)
    half = slice(len(trace.q) // 2, len(trace.q))
    slope = float(np.polyfit(np.arange(half.start, half.stop), trace.norm[half], 1)[0])
    words, aligned = f"steps {half.start} to {half.stop - 1}", trace.alignment_in(half.start, half.stop)
    shown = curve(law.linearise(trace.q))
    return [
        start.measure(
            "gradient clipping", "norm a step", law.norm_slope(lr), slope, 0.02 * law.norm_slope(lr), words, aligned
        ),
        start.measure(
            "gradient clipping",
            "power of t",
            law.exponent,
            power_of_growth(trace.q[half]),
            0.25,
            words,
            aligned,
            curve=shown,
        ),
    ]


def check_huber(start: Start) -> list[Measurement]:
    """Exponent once every |u| exceeds the knee."""
    problem, depth, law = make_problem(start.seed), start.depth, HuberLaw(start.depth)
    critic = start.on_ray(problem, signs=True)
    with torch.no_grad():
        error = critic(problem.x) - problem.discount * critic(problem.x_next)
    knee = 0.5 * error.abs().min().item()
    lr = 5e-3 / (leading_eigenvalue(critic, problem) * knee / error.abs().mean().item())
    trace = train(critic, problem, Rule(descent(lr), knee=knee), 1500)
    rates = growth_rates(trace.q, depth)
    window = steps_within(trace.q / trace.q[0], 1.5, math.inf)
    window = slice(window.start, min(window.stop, steps_within(rates, 0.1, 0.1).start + 1))
    measured = measured_exponent(trace.q, depth, window)
    shown = curve(law.linearise(trace.q[: window.stop] / trace.q[0]))
    # Half the distance to the exponent of the next depth.
    allowed = (HuberLaw(depth + 1).exponent - law.exponent) / 2
    words = f"steps {window.start} to {window.stop - 1}, every |u| past the knee"
    return [
        start.measure(
            "Huber loss",
            "exponent",
            law.exponent,
            measured,
            allowed,
            words,
            trace.alignment_in(window.start, window.stop),
            curve=shown,
        )
    ]


def check_decay(start: Start) -> list[Measurement]:
    """Below and above the critical norm, and the crash step above it."""
    problem, depth, decay = make_problem(start.seed, noise=SCATTER), start.depth, 2e-3
    critic, law = start.on_ray(problem), WeightDecayLaw(start.depth, decay)
    eigenvalue, rows = leading_eigenvalue(critic, problem), []
    for share in (0.9, 1.1, 1.5):
        rate = share * law.critical_rate
        lr = rate / eigenvalue
        trace = train(critic, problem, Rule(descent(lr, weight_decay=decay / lr)), 3000)
        predicted = law.steps_to_blow_up(rate)
        # The discrete steps lag by up to ln(1/x)·(m+1)/(2m), three to six steps of several hundred.
        allowed = 0.05 * predicted if math.isfinite(predicted) else 0.0
        rows.append(
            start.measure(
                "weight decay",
                "crash step",
                predicted,
                ends_at(trace),
                allowed,
                f"from {share} critical rates",
                float(trace.aligned[0]),
            )
        )
    return rows


def check_schedule(start: Start) -> list[Measurement]:
    """Crash iff the step sizes add up to the budget; effective time otherwise."""
    problem, depth, rows = make_problem(start.seed, noise=SCATTER), start.depth, []
    critic = start.on_ray(problem)
    eigenvalue, needed = leading_eigenvalue(critic, problem), 300.0
    rate = 1 / (SGDLaw(depth).exponent * needed)
    for power, timescale in ((0.5, 100.0), (2.0, 0.8 * needed), (2.0, 1.5 * needed)):
        law = DecayingStepLaw(depth, power, timescale)
        rule = Rule(descent(rate / eigenvalue), schedule=lambda step, law=law: (1 + step / law.timescale) ** -law.power)
        trace = train(critic, problem, rule, 3000)
        predicted = law.steps_to_blow_up(rate)
        allowed = 0.05 * predicted if math.isfinite(predicted) else 0.0
        words = f"α = {power:g}, t₀ = {timescale:g} steps, {needed:g} needed"
        rows.append(
            start.measure(
                "decaying step", "crash step", predicted, ends_at(trace), allowed, words, float(trace.aligned[0])
            )
        )
    return rows


def check_signs(start: Start) -> list[Measurement]:
    """Lion: slope of the norm without decay, and where decoupled decay stops it; AdamW likewise."""
    problem, depth, lr, rows = make_problem(start.seed, noise=SCATTER), start.depth, 3e-3, []
    trace = train(start.fresh(), problem, Rule(lambda p: Lion(p, lr)), 1500)
    half = slice(len(trace.q) // 2, len(trace.q))
    words, aligned = f"steps {half.start} to {half.stop - 1}", trace.alignment_in(half.start, half.stop)
    slope = float(np.polyfit(np.arange(half.start, half.stop), trace.norm[half], 1)[0])
    law, decay = SignLaw(depth), 1.0
    predicted = law.norm_slope(lr, trace.active)
    rows.append(start.measure("Lion", "norm a step", predicted, slope, 0.05 * predicted, words, aligned))
    rows.append(
        start.measure(
            "Lion",
            "power of t",
            law.exponent,
            power_of_growth(trace.q[half]),
            0.5,
            words,
            aligned,
            curve=curve(law.linearise(trace.q)),
        )
    )
    bounded = SignLaw(depth, decay)
    makers = {
        "Lion with decay": lambda p: Lion(p, lr, weight_decay=decay),
        "AdamW": lambda p: torch.optim.AdamW(p, lr=lr, weight_decay=decay),
    }
    for name, maker in makers.items():
        trace = train(start.fresh(), problem, Rule(maker), 3000)
        largest = bounded.largest_norm(trace.active)
        rows.append(
            start.measure(
                name,
                "final norm",
                largest,
                float(trace.norm[-1]),
                0.05 * largest,
                "after 3000 steps",
                trace.alignment_in(2900, 3000),
            )
        )
    return rows


CHECKS = (
    check_sgd,
    check_adam,
    check_ema,
    check_momentum,
    check_clipping,
    check_huber,
    check_decay,
    check_schedule,
    check_signs,
)
