r"""When mean \|Q\| leaves what can be earned: a forecast for any training.

Under plain gradient descent with copied targets the growth law reaches the bound in closed form. Under any other
training the look-ahead along the drift (`seem.lookahead`) says when, and the reading whether: where no mode excites
itself the drift leads nowhere. Alarms rank by `Leaving.signal`. The stated time has an interval only where a record of
calibration holds this kind of training.

Source: derived (theory/look_ahead.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from seem.calibration import Calibration, Kind, kind_of
from seem.dynamics import Training
from seem.errors import InputError
from seem.growth import SGDLaw
from seem.histories import AnyReading
from seem.lookahead import LookAhead
from seem.reading_result import Reading

LARGEST_GROWTH = 1.0
"""σk up to which the accelerated time is stated: steps that grow e-fold on the way are no straight line any more."""
NO_MODE = "no mode excites itself: the drift leads nowhere"
NO_TRAINING = "no interval: pass training, which says what kind it is"
NO_RECORD = "no interval: no calibration was given"


@dataclass(frozen=True)
class Leaving:
    """A statement of when mean |Q| leaves its bound, made at one step.

    Attributes:
        step: Critic steps taken when it was made.
        bound: What mean |Q| must not pass.
        mean_abs_q: Mean |Q| then.
        signal: What alarms rank by, smaller is sooner: steps of the plain crossing (of the law under plain gradient
            descent); infinity where no mode excites itself.
        leaves_at: The step at which it leaves; infinity when none is forecast.
        earliest: Lower end of the interval; None without a record.
        latest: Upper end; infinity where the record has too few runs for one.
        way: "law", "accelerated" or "plain": how the time was made; None without one.
        level: Share of runs that the interval is to hold.
        fell_back: Of the record's runs with a forecast, how many stayed below the bound; None without a record.
        runs: The record's runs with a forecast.
        reason: Why there is no forecast, or no interval; None where there are both.
    """

    step: int
    bound: float
    mean_abs_q: float
    signal: float
    leaves_at: float
    earliest: float | None = None
    latest: float | None = None
    way: str | None = None
    level: float | None = None
    fell_back: int | None = None
    runs: int | None = None
    reason: str | None = None


def excited(readings: Sequence[AnyReading]) -> bool:
    """Whether a mode may excite itself in any of the readings; what is undetermined counts as excited.

    Args:
        readings: Of one step.
    """
    states = [reading.excited if isinstance(reading, Reading) else reading.leading > 0 for reading in readings]
    return any(state is not False for state in states)


def leaving(
    readings: Sequence[AnyReading],
    *,
    step: int,
    ahead: LookAhead | None = None,
    bound: float | int | None = None,
    depth: int | None = None,
    overshoots: bool = False,
    training: Training | None = None,
    calibration: Calibration | None = None,
    level: float = 0.9,
) -> Leaving:
    """Forecast the step at which mean |Q| leaves its bound.

    Args:
        readings: Of all critics, at this step.
        step: Critic steps taken now.
        ahead: The look-ahead of the same step; under plain gradient descent it counts without ``depth`` only.
        bound: What mean |Q| must not pass; the look-ahead's where it is not given.
        depth: Number L of weight matrices, which the law of gradient descent needs.
        overshoots: Whether the step size overshoots, which that law does not cover.
        training: How the critics are trained.
        calibration: A record of earlier forecasts.
        level: Of the interval.

    Raises:
        InputError: When there is neither a bound nor a look-ahead, or it is of another step.
    """
    if ahead is not None and ahead.step != step:
        raise InputError(f"the look-ahead is of step {ahead.step}, not of step {step}: look ahead at each forecast")
    limit = ahead.bound if bound is None and ahead is not None else bound
    if limit is None:
        raise InputError("what Q must not leave is unknown: pass bound, or a look-ahead")
    fastest = max(readings, key=lambda reading: -math.inf if reading.leading is None else reading.leading)
    size = ahead.mean_abs_q if ahead is not None else fastest.mean_abs_q
    plain = Leaving(step, float(limit), math.nan if size is None else size, math.inf, math.inf)
    if size is None or not math.isfinite(size):
        return replace(plain, reason="mean |Q| is not known at this step: no forecast is made of it")
    if size > limit:
        return replace(plain, signal=0.0, leaves_at=float(step), reason="mean |Q| is past the bound already")
    if not excited(readings):
        return replace(plain, reason=NO_MODE)
    lawful = fastest.rate is not None and (depth is not None or ahead is None)
    made = _by_law(plain, fastest, depth, overshoots) if lawful else _along(plain, ahead)
    return _with_interval(made, training, calibration, level) if math.isfinite(made.leaves_at) else made


def _by_law(plain: Leaving, reading: AnyReading, depth: int | None, overshoots: bool) -> Leaving:
    """By the law of gradient descent, with the mean |Q| of the reading."""
    if overshoots:
        return replace(plain, reason="the step size overshoots: the law of self-excitation does not cover it")
    if depth is None:
        return replace(plain, reason="the law of gradient descent needs the number of weight matrices: pass depth")
    if not plain.mean_abs_q > 0 or reading.rate is None:
        return replace(plain, reason="mean |Q| is 0: the law is of its growth")
    steps = SGDLaw(depth).steps_to_overflow(reading.rate, math.log(plain.bound / plain.mean_abs_q))
    return replace(plain, signal=steps, leaves_at=plain.step + steps, way="law")


def _along(plain: Leaving, ahead: LookAhead | None) -> Leaving:
    if ahead is None:
        return replace(plain, reason="this training has no law in closed form: pass a look-ahead")
    made = replace(plain, signal=ahead.crossing)
    if not math.isfinite(ahead.crossing):
        return replace(made, reason=f"the drift stays within the bound for {ahead.horizon:g} steps")
    if ahead.window and ahead.accelerated is None:
        why = "the drift has no second window, or turns"
        return replace(made, reason=f"{why}: how its steps grow is not known, and no time is stated")
    steps = ahead.crossing if ahead.accelerated is None else ahead.accelerated
    if not math.isfinite(steps):
        return replace(made, reason="the steps shrink too fast to reach the bound")
    if (ahead.acceleration or 0.0) * steps > LARGEST_GROWTH:
        return replace(made, reason="the steps grow more than e-fold on the way: the line does not cover it")
    return replace(made, leaves_at=plain.step + steps, way="plain" if ahead.accelerated is None else "accelerated")


def _with_interval(made: Leaving, training: Training | None, calibration: Calibration | None, level: float) -> Leaving:
    if calibration is None or training is None:
        return replace(made, reason=NO_RECORD if calibration is None else NO_TRAINING)
    name = f"{kind_of(training)}, {made.way}"
    kind = calibration.kinds.get(name, Kind())
    if not kind.ratios:
        return replace(made, reason=f"no interval: the record holds no run of {name}")
    low, high = kind.multiples(level)
    steps = made.leaves_at - made.step
    return replace(
        made,
        earliest=made.step + low * steps,
        latest=made.step + high * steps,
        level=level,
        fell_back=kind.fell_back,
        runs=kind.runs,
    )
