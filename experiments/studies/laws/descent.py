"""Checks of the laws whose steps have the size of the gradient."""

import math

import numpy as np
import torch
from studies.laws.measurement import (
    ALLOWED,
    SCATTER,
    Measurement,
    Start,
    curve,
    descent,
    measured_exponent,
    rates_on,
    steps_within,
)
from studies.laws.training import (
    OVERFLOW,
    Problem,
    Rule,
    Trace,
    ends_at,
    largest_kernel_eigenvalue,
    leading_eigenvalue,
    make_critic,
    make_problem,
    train,
)

from seem.analysis import growth_rates
from seem.growth import (
    DecayingStepLaw,
    EMALaw,
    HuberLaw,
    MomentumLaw,
    SGDLaw,
    WeightDecayLaw,
)


def lag(depth: int, rate: float, trace: Trace) -> float:
    """Steps by which the discrete recursion crashes later than the continuous law, from the same reading."""
    law = SGDLaw(depth)
    return law.steps_to_overflow(rate, math.log(OVERFLOW / trace.q[0])) - law.steps_to_blow_up(rate)


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
        allowed = max(1.0, ALLOWED["sgd_crash"] * forecast) if judged else math.nan
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
            crash = law.steps_to_blow_up(rate) + law.lag(rate)
            # The inertial end, some 1/(1-β) steps, is not counted.
            judged = "crash step", crash, ends_at(trace), ALLOWED["momentum_crash"] * crash
            rows.append(start.measure(name, *judged, "from step 0", float(trace.aligned[0])))
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
        predicted = law.steps_to_blow_up(rate) + lag(depth, rate, trace)
        allowed = ALLOWED["decay_crash"] * predicted if math.isfinite(predicted) else 0.0
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
        predicted = law.steps_to_blow_up(rate) + lag(depth, rate, trace)
        allowed = ALLOWED["decay_crash"] * predicted if math.isfinite(predicted) else 0.0
        words = f"α = {power:g}, t₀ = {timescale:g} steps, {needed:g} needed"
        rows.append(
            start.measure(
                "decaying step", "crash step", predicted, ends_at(trace), allowed, words, float(trace.aligned[0])
            )
        )
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
                ALLOWED["ema_rate"] * predicted,
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


def check_complex_pair(start: Start) -> list[Measurement]:
    """A linear critic whose successors are rotated: stable when the target is copied, not with an EMA target."""
    angle, factor, lr, rows = 1.4, 3.0, 0.05, []
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    x = torch.eye(2, dtype=torch.float64)
    problem = Problem(x, factor * turn)
    eigenvalue = leading_eigenvalue(make_critic(start.seed, 1, 1, inputs=2), problem)
    for tau in (1.0, lr):
        trace = train(make_critic(start.seed, 1, 1, inputs=2), problem, Rule(descent(lr), target_rate=tau), 1500)
        transition = EMALaw(1, tau).transition(lr * np.eye(2), lr * problem.discount * factor * turn.numpy())
        predicted = float(np.log(np.abs(np.linalg.eigvals(transition)).max()))
        half = len(trace.q) // 2
        # The mean over the turns of a complex pair; the last turn is incomplete.
        measured = float(np.log(trace.q[-1] / trace.q[half]) / (len(trace.q) - 1 - half))
        words = f"X* rotated, Re λ(A) = {eigenvalue:.2f}, τ = {tau:g}", trace.alignment_in(0, 10)
        judged = predicted, measured, ALLOWED["complex_rate"]
        rows.append(start.measure("EMA target, complex pair", "ln Q a step", *judged, *words))
    return rows
