r"""From readings to a forecast: does the critic blow up, at which step, and by which mechanism.

Two forecasts without a fitted constant bracket the crash. The *law* uses one reading: on the
self-similar ray 1/(ηλ) falls by (2L-2)/L a step. The *slope* uses the fall measured over the last
readings instead. While the critic still leaves its initial weights behind λ grows faster than on the
ray, so the law comes too late and the slope too early; the forecast is their geometric mean, or the
law alone where the slope comes later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from seem.calibration import Calibration
from seem.dynamics import Training
from seem.growth import SGDLaw
from seem.histories import AnyReading, History, Plain, histories_of, plain_of, precision_of, why_no_rate
from seem.leaving import Leaving, leaving
from seem.lookahead import LookAhead
from seem.reading_result import Reading

Mechanism = Literal["self-excitation", "overshoot", "unexplained"]

SLOPE_READINGS = 3
"""Readings behind the slope: the fewest that average out one reading's jitter."""
DOUBLING = 2.0
"""A mode that doubles at every step has left the slow regime: its mechanism decides the crash."""
GROWING = 1.1
"""A gain below this, 10 % a step, is not yet what makes a run crash within its next few steps."""
WIDENING = 1.25
"""Factor on the remaining steps at both ends of the interval: the bracket closes faster than it is exact,
because the crash is a whole step and the last steps are few. Its coverage is measured, not assumed."""


@dataclass(frozen=True)
class Forecast:
    """A statement about the future of a run, made at one step.

    Attributes:
        step: Critic steps taken when it was made.
        crash_step: Forecast step of the first non-finite value; infinity when none is forecast.
        earliest: Lower end of the interval.
        latest: Upper end of the interval.
        law_step: The forecast of the growth law alone.
        slope_step: The forecast of the measured slope of 1/(ηλ) alone.
        mechanism: "self-excitation" (Re λ > 0) or "overshoot" (the step size is too large); None without one.
        reason: Why there is no forecast of a crash, or None when there is one.
        leaving: When mean |Q| leaves what can be earned; None where that was not asked for, or no reading is of now.
    """

    step: int
    crash_step: float
    earliest: float
    latest: float
    law_step: float
    slope_step: float
    mechanism: Mechanism | None
    reason: str | None
    leaving: Leaving | None = None


def forecast(
    histories: Sequence[History] | History,
    *,
    step: int,
    depth: int | None = None,
    dtype: str | torch.dtype | None = None,
    ahead: LookAhead | None = None,
    bound: float | int | None = None,
    training: Training | None = None,
    calibration: Calibration | None = None,
    level: float = 0.9,
) -> Forecast:
    """Forecast from all readings so far: when mean |Q| leaves its bound, and under plain gradient descent the overflow.

    With several critics the largest leading eigenvalue counts at every step: the fastest critic crashes first. Of
    critics that learn from one backup, readings of `seem.read` carry the joint one, which then counts. Which is better
    was measured on twins (claims TWIN-JOINT-FORECAST and TWIN-JOINT-ALARMS): the step of the crash is better told by
    each critic's own readings (`seem.spectrum.take_reading`), and joint ones name fewer crashes that never come.

    Args:
        histories: For each critic its readings, oldest first, or one such history; the last ones taken at ``step``. A
            reading that is None says that the critic's kernel had overflowed.
        step: Critic steps taken now.
        depth: Number L of weight matrices of a critic; what counts on a law of gradient descent needs it.
        dtype: Floating dtype of the training, which sets where overflow lies.
        ahead: A look-ahead of this step, for trainings other than plain gradient descent.
        bound: What mean |Q| must not pass (`seem.lookahead.value_bound`); that of the look-ahead where it is not given.
        training: How the critics are trained, which says which record of calibration is theirs.
        calibration: A record of earlier forecasts; without it there is no interval of the step of leaving.
        level: Of that interval.

    Returns:
        The forecast; without one, crash_step is infinity and reason says why.

    Raises:
        InputError: On something else than readings, an unknown dtype, or a look-ahead of another step.

    Source: derived (theory/sgd_growth.py for the law, theory/discrete_time.py for both ways to blow up).
    """
    precision = None if dtype is None else precision_of(dtype)
    given = histories_of(histories)
    crash = _crash(given, depth=depth, precision=precision, step=step)
    said = _said(given, step)
    if (ahead is None and bound is None) or not said or any(map(_unknown, said)):
        return crash
    settings = {"ahead": ahead, "bound": bound, "training": training, "calibration": calibration, "level": level}
    overshoots = crash.mechanism == "overshoot"
    return replace(crash, leaving=leaving(said, step=step, depth=depth, overshoots=overshoots, **settings))


def _said(histories: Sequence[History], step: int) -> list[AnyReading]:
    """The readings of this step."""
    readings = [[reading for reading in history if reading is not None] for history in histories]
    return [history[-1] for history in readings if history and history[-1].step == step]


def _unknown(reading: AnyReading) -> bool:
    """Whether a reading's own number is NaN, or missing after an overflow."""
    return _overflowed(reading) or (reading.leading is not None and math.isnan(reading.leading))


def _overflowed(reading: AnyReading) -> bool:
    return isinstance(reading, Reading) and reading.overflowed


def _crash(given: list[History], *, depth: int | None, precision: torch.dtype | None, step: int) -> Forecast:
    readings = [[reading for reading in history if reading is not None] for history in given]
    said = _said(given, step)
    if any(map(_overflowed, said)) or (not said and any(h and h[-1] is None for h in given)):
        return refuse(step, "the kernel has overflowed: the critic has already blown up")
    if not said:
        last = max((history[-1].step for history in readings if history), default=None)
        seen = "there is no reading yet" if last is None else f"the last reading is of step {last}"
        return refuse(step, f"{seen}, and a forecast at step {step} needs one of that step: read the critics first")
    if any(map(_unknown, said)):
        return refuse(step, "a reading is not a number: look for a NaN in its rows, and read the critics again")
    reason = next((why for reading in said if (why := why_no_rate(reading)) is not None), None)
    if reason is not None:
        return refuse(step, f"the law of a finite crash step is of plain gradient descent ({reason})")
    if depth is None or precision is None:
        return refuse(step, "the crash needs the number of weight matrices and the dtype: pass depth and dtype")
    plain = plain_of(readings)
    latest = [history[-1] for history in plain if history and history[-1].step == step]
    if not latest:
        return refuse(step, "the readings have no TD error: give rewards, targets or td_error when they are taken")
    fastest = max(latest, key=lambda reading: reading.leading)
    stiffest = max(latest, key=lambda reading: reading.overshoot_gain)
    law = SGDLaw(depth)
    log_room = math.log(torch.finfo(precision).max) - math.log(max(fastest.max_abs_q, 1e-300))
    if stiffest.overshoot_gain > max(1.0, fastest.excitation_gain):
        steps = law.steps_to_overflow(stiffest.step_size * stiffest.trailing, log_room)
        if math.isfinite(steps):
            return _between(step, steps, math.inf, "overshoot")
        reason = (
            f"the step size overshoots (gain {stiffest.overshoot_gain:.2f} per step), below the threshold 2L "
            "past which the law has no recovery"
        )
        return refuse(step, reason, "overshoot")
    if not _grows(fastest.rate):
        return refuse(step, "SEEM is not positive: no mode excites itself")
    law_steps = law.steps_to_overflow(fastest.rate, log_room)
    slope_steps = _slope_steps(_fastest_rates(plain))
    # The slope is of continuous time; the lag of the discrete last steps is the law's, and it has none for L = 1.
    lag = max(law_steps - law.steps_to_blow_up(fastest.rate), 0.0)
    return _between(step, law_steps, slope_steps + lag, "self-excitation")


def refuse(step: int, reason: str, mechanism: Mechanism | None = None) -> Forecast:
    """A forecast of no crash, with the reason why none is made.

    Args:
        step: Critic steps taken now.
        reason: Why the law does not apply.
        mechanism: What grows all the same, or None.
    """
    return Forecast(step, math.inf, math.inf, math.inf, math.inf, math.inf, mechanism, reason)


def _fastest_rates(histories: Sequence[Sequence[Plain]]) -> list[tuple[int, float]]:
    """(step, ηλ) of the last readings, the largest over the critics, from the last one without growth on."""
    rates: dict[int, float] = {}
    for history in histories:
        for reading in history[-SLOPE_READINGS:]:
            rates[reading.step] = max(rates.get(reading.step, -math.inf), reading.rate)
    series = sorted(rates.items())[-SLOPE_READINGS:]
    positive = next((i for i in range(len(series), 0, -1) if not _grows(series[i - 1][1])), 0)
    return series[positive:]


def _grows(rate: float) -> bool:
    """Whether a mode of this ηλ grows in double precision: what 1 + ηλ loses to rounding is no eigenvalue's sign."""
    return 1 + rate > 1


def _slope_steps(rates: list[tuple[int, float]]) -> float:
    """Steps from the last reading to the zero of the line through 1/(ηλ); infinity when it does not fall."""
    if len(rates) < 2:
        return math.inf
    steps, values = zip(*rates, strict=True)
    inverse = 1 / np.asarray(values)
    slope = np.polyfit(np.asarray(steps, dtype=np.float64) - steps[-1], inverse, 1)[0]
    return float(inverse[-1] / -slope) if slope < 0 else math.inf


def _between(step: int, law_steps: float, slope_steps: float, mechanism: Mechanism) -> Forecast:
    # A slope later than the law means that λ is not growing towards the ray: then it says nothing of the crash.
    point = math.sqrt(law_steps * min(law_steps, slope_steps))
    return Forecast(
        step=step,
        crash_step=step + point,
        earliest=step + min(law_steps, slope_steps) / WIDENING,
        latest=step + max(law_steps, slope_steps) * WIDENING,
        law_step=step + law_steps,
        slope_step=step + slope_steps,
        mechanism=mechanism,
        reason=None,
    )


def mechanism(histories: Sequence[History] | History) -> Mechanism:
    """Name what made a run crash: the larger gain when growth sets in, just before a mode doubles every step.

    Args:
        histories: For each critic the readings of a run that crashed, oldest first.

    Returns:
        "self-excitation" when a mode with Re λ > 0 grows fastest, "overshoot" when it is one with
        Re λ ≤ 0 whose |1 + ηλ| exceeds 1, "unexplained" when neither grew.

    Source: derived (theory/discrete_time.py).
    """
    gains: dict[int, tuple[float, float]] = {}
    for history in plain_of(histories_of(histories)):
        for reading in history:
            excitation, overshoot = gains.get(reading.step, (1.0, 1.0))
            pair = (max(excitation, reading.excitation_gain), max(overshoot, reading.overshoot_gain))
            gains[reading.step] = pair
    series = [gains[step] for step in sorted(gains)]
    doubling = next((i for i in range(len(series), 0, -1) if max(series[i - 1]) < DOUBLING), 0)
    # Where no mode grows at that reading the one after it decides, else the last one before at which a mode grew.
    last = max(doubling - 1, 0)
    candidates = [*series[last : doubling + 1], *reversed(series[:last])]
    excitation, overshoot = next((pair for pair in candidates if max(pair) >= GROWING), (1.0, 1.0))
    if max(excitation, overshoot) <= 1:
        return "unexplained"
    return "self-excitation" if excitation >= overshoot else "overshoot"


def steps_to_doubling(histories: Sequence[History] | History) -> float:
    """Steps in which a critic's TD error doubles at the last readings' growth.

    Args:
        histories: For each critic its readings, oldest first.

    Returns:
        Steps from the last reading; infinity when nothing grows.
    """
    growth = max((history[-1].growth for history in plain_of(histories_of(histories)) if history), default=1.0)
    return math.log(DOUBLING) / math.log(growth) if growth > 1 else math.inf


def steps_to_overshoot(histories: Sequence[History] | History) -> float:
    """Steps until the step size overshoots, η·|min Re λ| > 2, if it goes on growing as between the last readings.

    Args:
        histories: For each critic its readings, oldest first.

    Returns:
        Steps from the last reading; infinity when nothing grows, or when it overshoots already.
    """
    remaining = math.inf
    for before, now in (history[-2:] for history in plain_of(histories_of(histories)) if len(history) >= 2):
        old, new = (-reading.step_size * reading.trailing for reading in (before, now))
        if 0 < old < new < 2:
            left = math.log(2) - math.log(new)  # 2 / new may overflow
            remaining = min(remaining, left / math.log(new / old) * (now.step - before.step))
    return remaining
