"""Checks of the laws whose steps do not shrink or grow with the gradient: Adam, signs, clipping."""

import torch
from studies.laws.measurement import ALLOWED, SCATTER, Measurement, Start, curve, descent, second_half, slope_of
from studies.laws.training import Lion, Rule, make_problem, train

from seem.analysis import power_of_growth
from seem.growth import AdamLaw, ClippingLaw, SignLaw

LR = 3e-3
STEPS = 1500


def check_adam(start: Start) -> list[Measurement]:
    """Power of Q and slope of the norm from the initialisation, with β₂ near 1 and far from it."""
    problem, depth, law = make_problem(start.seed, noise=SCATTER), start.depth, AdamLaw(start.depth)
    rows = []
    for beta2 in (0.999, 0.9):
        rule = Rule(lambda p, beta2=beta2: torch.optim.Adam(p, lr=LR, betas=(0.9, beta2), eps=1e-12))
        trace = train(start.fresh(), problem, rule, STEPS)
        half, name = second_half(trace), f"Adam, β₂ = {beta2}"
        path = law.scale_path(STEPS + 1, beta2=beta2)
        words = f"steps {half.start} to {half.stop - 1}", trace.alignment_in(half.start, half.stop)
        power, slope = power_of_growth(trace.q[half]), slope_of(trace.norm, half)
        predicted = power_of_growth(path[half] ** depth)
        shown = curve(law.linearise(trace.q))
        # Half the distance to the powers of the neighbouring depths.
        rows.append(start.measure(name, "power of t", predicted, power, ALLOWED["sign_power"], *words, curve=shown))
        if beta2 == 0.999:
            rows.append(start.measure(f"{name}, t^L alone", "power of t", law.exponent, power, float("nan"), *words))
        predicted = law.norm_slope(LR, trace.frozen) * slope_of(path, half)
        # Units die within the window, which changes P on the way.
        rows.append(start.measure(name, "norm a step", predicted, slope, ALLOWED["sign_slope"] * predicted, *words))
        plain = law.norm_slope(LR, trace.active)
        shown_only = f"{name}, every active parameter", "norm a step", plain * slope_of(path, half), slope, float("nan")
        rows.append(start.measure(*shown_only, *words))
        if beta2 == 0.999:
            rows.append(start.measure(f"{name}, lr·√P alone", "norm a step", plain, slope, float("nan"), *words))
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
    half, slope = second_half(trace), slope_of(trace.norm, second_half(trace))
    words, aligned = f"steps {half.start} to {half.stop - 1}", trace.alignment_in(half.start, half.stop)
    shown = curve(law.linearise(trace.q))
    return [
        start.measure(
            "gradient clipping",
            "norm a step",
            law.norm_slope(lr),
            slope,
            ALLOWED["clipping_slope"] * law.norm_slope(lr),
            words,
            aligned,
        ),
        start.measure(
            "gradient clipping",
            "power of t",
            law.exponent,
            power_of_growth(trace.q[half]),
            ALLOWED["clipping_power"],
            words,
            aligned,
            curve=shown,
        ),
    ]


def check_signs(start: Start) -> list[Measurement]:
    """Lion's norm without decay, and where decoupled decay stops Lion and AdamW."""
    problem, law, rows, decay = make_problem(start.seed, noise=SCATTER), SignLaw(start.depth), [], 1.0
    trace = train(start.fresh(), problem, Rule(lambda p: Lion(p, LR)), STEPS)
    half = second_half(trace)
    words = f"steps {half.start} to {half.stop - 1}", trace.alignment_in(half.start, half.stop)
    slope = slope_of(trace.norm, half)
    # The sign of a memory that only decays never changes: units that died keep moving.
    predicted = law.norm_slope(LR, trace.held)
    rows.append(start.measure("Lion", "norm a step", predicted, slope, ALLOWED["sign_slope"] * predicted, *words))
    shown = curve(law.linearise(trace.q))
    rows.append(
        start.measure(
            "Lion",
            "power of t",
            law.exponent,
            power_of_growth(trace.q[half]),
            ALLOWED["sign_power"],
            *words,
            curve=shown,
        )
    )
    bounded = SignLaw(start.depth, decay)
    makers = {
        "Lion with decay": lambda p: Lion(p, LR, weight_decay=decay),
        "AdamW, β₂ = 0.9": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=decay, betas=(0.9, 0.9)),
        "AdamW, β₂ = 0.999": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=decay),
    }
    for name, maker in makers.items():
        trace = train(start.fresh(), problem, Rule(maker), 2 * STEPS)
        largest = bounded.largest_norm(trace.held if "Lion" in name else trace.frozen)
        stable = bounded.decay_is_steady(LR, 0.999) if "0.999" in name else True
        words = f"after {2 * STEPS} steps", trace.alignment_in(2 * STEPS - 100, 2 * STEPS)
        allowed = ALLOWED["final_norm"] * largest if stable else float("nan")
        rows.append(start.measure(name, "final norm", largest, float(trace.norm[-1]), allowed, *words))
    return rows
