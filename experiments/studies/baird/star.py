"""Baird's star as a TD iteration on eight weights, long runs of it, and its exact solution.

Seven states, every target is state 7, reward 0. The critic is linear, so the iteration has no remainder.

Source: Baird 1995; the closed forms are theory/baird.py's (derived).
"""

import cmath
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

STATES = 7
LIMIT_THRESHOLD = 15 / 17
"""Source: theory/baird.py, step "threshold" (derived): unstable exactly above, for a vanishing step size."""
WINDOW = ((203 - 4 * math.sqrt(390)) / 289, (203 + 4 * math.sqrt(390)) / 289)
"""Discounts of a complex pair. Source: theory/baird.py, step "discriminant" (derived)."""
TIME = 400.0
"""Length η·steps of a run; the second half is measured."""
DOUBLINGS = 34
"""A threshold is bisected on 2^34 steps, made by squaring the iteration."""


def features() -> NDArray[np.float64]:
    """Φ, shape (7, 8): 2e_i + e_8 for states 1 to 6, e_7 + 2e_8 for state 7.

    Source: Baird 1995.
    """
    phi = np.concatenate((2 * np.eye(STATES), np.ones((STATES, 1))), axis=1)
    phi[-1, -2:] = 1, 2
    return phi


def weight_step(discount: float, step: float) -> NDArray[np.float64]:
    """The TD iteration θ ← θ - ηΦᵀ(Φ - γΦ*)θ as a matrix, without the component of θ that no state sees.

    Args:
        discount: Discount γ.
        step: Step size η of the sum loss.

    Returns:
        Shape (8, 8). The null direction of Φ never moves and never enters u; left in, it would swamp a
        decaying u in rounding.
    """
    phi = features()
    seen = np.linalg.pinv(phi) @ phi
    return seen @ (np.eye(STATES + 1) - step * phi.T @ td_errors(discount)) @ seen


def td_errors(discount: float) -> NDArray[np.float64]:
    """Φ - γΦ*, shape (7, 8), which takes θ to u; every target is state 7."""
    return features() - discount * features()[-1]


def run_star(discounts: tuple[float, ...], seeds: tuple[int, ...], step: float) -> list[dict[str, Any]]:
    """Iterate from random weights and measure the growth of ‖u‖ a step over the second half.

    Args:
        discounts: Discounts γ, run side by side.
        seeds: Seeds of normal initial weights, likewise.
        step: Step size η.

    Returns:
        One JSON object per discount: step, discount, and for each seed the growth per step and how often the TD
        error of state 7 changes its sign.
    """
    # Stacked as (discount, seed, component); rescaled every step, so that no length of run overflows.
    start = np.stack([np.random.default_rng(seed).standard_normal(STATES + 1) for seed in seeds])
    weights = np.repeat(start[None], len(discounts), axis=0)
    iteration = np.stack([weight_step(discount, step).T for discount in discounts])
    reading = np.stack([td_errors(discount).T for discount in discounts])
    steps = round(TIME / step)
    scale, logs, signs = np.zeros(weights.shape[:2]), [], []
    for number in range(steps + 1):
        error = weights @ reading
        size = np.linalg.norm(error, axis=2)
        if 2 * number >= steps:
            logs.append(scale + np.log(size))
            signs.append(error[..., -1] > 0)
        scale += np.log(size)
        weights = weights @ iteration / size[..., None]
    log_norms = np.stack(logs).reshape(len(logs), -1)
    slopes = np.polyfit(np.arange(len(logs)), log_norms, 1)[0].reshape(scale.shape)
    turns = np.diff(np.stack(signs), axis=0).sum(0)
    return [
        {"step": step, "discount": discount, "growth": np.exp(slope).tolist(), "turns": turn.tolist()}
        for discount, slope, turn in zip(discounts, slopes, turns, strict=True)
    ]


def long_growth(discount: float, step: float) -> float:
    """Logarithm of the growth over 2^`DOUBLINGS` steps from the worst initial weights, by repeated squaring."""
    power, log_size = weight_step(discount, step), 0.0
    for _ in range(DOUBLINGS):
        power = power @ power
        size = float(np.linalg.norm(power))
        power, log_size = power / size, 2 * log_size + math.log(size)
    return log_size


def bisect_threshold(step: float) -> float:
    """The discount at which long runs begin to grow.

    Args:
        step: Step size η.

    Returns:
        γ, to far below `THRESHOLD_TOLERANCE`.
    """
    return float(optimize.bisect(lambda discount: long_growth(discount, step), 0.6, 0.97, xtol=1e-10))


def leading(discount: float) -> complex:
    """The leading eigenvalue of A, [(17γ - 15) + sqrt((17γ - 15)² - 104(1 - γ))]/2 or the odd modes' -4.

    Args:
        discount: Discount γ.

    Returns:
        λ, with the positive imaginary part.

    Source: theory/baird.py, steps "eigenvalues" and "odd-modes" (derived).
    """
    trace, determinant = 17 * discount - 15, 26 * (1 - discount)
    return max((trace + cmath.sqrt(trace**2 - 4 * determinant)) / 2, complex(-4), key=lambda value: value.real)


def threshold(step: float) -> float:
    """(15 - 26η)/(17 - 26η). Source: theory/baird.py, step "finite-step-threshold" (derived)."""
    return (15 - 26 * step) / (17 - 26 * step)
