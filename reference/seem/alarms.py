"""What an alarm of a watch says: three kinds, what to do about it, and which claims say so.

`python -m seem cite CLAIM` prints what a claim rests on.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from seem.dynamics import Training
from seem.leaving import Leaving
from seem.reading_result import Reading

Kind = Literal["not finite", "past what can be earned", "about to leave"]
KINDS: tuple[Kind, ...] = ("not finite", "past what can be earned", "about to leave")
NORMALISERS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
LAYER_NORM = (
    "put LayerNorm into a hidden layer of the critics, on every path from the input to the head, and train anew: it "
    "bounds kernel and values far out (claims LN-ANYWHERE, LN-VALUE), and of ten critics with it none diverged within "
    "1,000 steps (LN-WITHIN-STEPS), which is no promise (LN-PREVENTS is refuted)"
)
HAS_NORM = (
    "see that every path from the input to the critics' head passes the normalisation that they have: one in a branch "
    "does not stop the growth (claims LN-ANYWHERE, LN-BRANCHES)"
)
LOWER_DISCOUNT = (
    "lower the discount below {critical:.4g}, from which on a mode of these critics excites itself (claims "
    "DISCOUNT-CERTIFIED, DISCOUNT-THRESHOLD); it costs the rewards that lie further ahead"
)
SOME_DISCOUNT = "lower the discount (claims DISCOUNT-MYOPIC, DISCOUNT-THRESHOLD); it costs the rewards further ahead"
LOWER_RATE = "lower the learning rate to at most {rate:.3g}, the largest stable one now (claim {claim})"
NO_RATE = "expect nothing of a lower learning rate: a mode that excites itself grows at any, later (claim SIGN-GROWTH)"


@dataclass(frozen=True)
class Alarm:
    """A statement that training has left, or is about to leave, what can be earned.

    Attributes:
        kind: "not finite", "past what can be earned" or "about to leave".
        step: Critic steps taken before it.
        text: What happened and, when the kind is new, what to do about it.
        leaves_at: The step at which mean |Q| is expected to leave its bound; None where no time is stated.
        remedies: What to do, a sentence each; empty while the same kind lasts.
    """

    kind: Kind
    step: int
    text: str
    leaves_at: float | None = None
    remedies: tuple[str, ...] = ()


OVERFLOWS = (
    *(ArithmeticError, np.linalg.LinAlgError),
    torch.linalg.LinAlgError,  # pyright: ignore[reportPrivateImportUsage]
)
"""What an eigenvalue routine says of a critic on its way out of the floating-point range."""


class AlarmError(RuntimeError):
    """Raised by a watch with ``on_alarm="raise"``.

    Attributes:
        alarm: The alarm.
    """

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm.text)
        self.alarm = alarm


class AlarmWarning(UserWarning):
    """Given by a watch with ``on_alarm="warn"``."""


def kind_of_alarm(
    reading: Reading | None, said: Leaving | None, *, bound: float | None, horizon: float | int
) -> Kind | None:
    """Which alarm a reading gives, or None; that SEEM is positive is never one.

    Args:
        reading: The reading; None where the critics could not be evaluated because they are not finite.
        said: When mean |Q| leaves its bound, with the gate of the optimiser that trains; None where that is not known.
        bound: What mean |Q| must not pass, or None.
        horizon: Steps of the plain crossing within which it is about to leave.
    """
    if reading is None or reading.overflowed:
        return "not finite"
    size = reading.mean_abs_q
    if size is not None and not math.isfinite(size):
        return "not finite"
    if size is not None and bound is not None and size > bound:
        return "past what can be earned"
    return "about to leave" if said is not None and said.signal <= horizon else None


def describe(kind: Kind, step: int, reading: Reading | None, said: Leaving | None, bound: float | None) -> str:
    """What happened, in one sentence.

    Args:
        kind: Of the alarm.
        step: Critic steps taken.
        reading: See `kind_of_alarm`.
        said: Likewise.
        bound: Likewise.
    """
    if kind == "not finite" or reading is None:
        return f"at step {step} the critics are not finite any more: values, kernel or TD errors have overflowed"
    if kind == "past what can be earned":
        return f"at step {step} mean |Q| is {reading.mean_abs_q:.4g}, past the {bound:.4g} that any policy can earn"
    assert said is not None
    when = f"within {said.signal:.0f} steps ({said.reason})"
    if math.isfinite(said.leaves_at):
        when = f"at about step {said.leaves_at:.0f}"
        if said.earliest is not None and said.latest is not None and math.isfinite(said.latest):
            when += f" (between {said.earliest:.0f} and {said.latest:.0f})"
    return (
        f"at step {step} mean |Q| is {said.mean_abs_q:.4g} and about to leave the {said.bound:.4g} that any policy can "
        f"earn, {when}: a mode excites itself and the parameters drift there"
    )


def remedies(reading: Reading | None, training: Training, critics: Any) -> tuple[str, ...]:
    """What to do, each with the claims that say so; the margins cost some dozens of eigenvalue computations.

    Args:
        reading: The reading, or None.
        training: How the critics are trained.
        critics: The critics, or None.
    """
    modules = critics if isinstance(critics, (list, tuple)) else [critics]
    inner = [part for module in modules if isinstance(module, nn.Module) for part in module.modules()]
    found = [HAS_NORM if any(isinstance(part, NORMALISERS) for part in inner) else LAYER_NORM]
    if reading is not None and not reading.overflowed:
        with suppress(*OVERFLOWS):
            found += _of_margins(reading, training)
    return tuple(found) if len(found) > 1 else (*found, SOME_DISCOUNT)


def _of_margins(reading: Reading, training: Training) -> Iterator[str]:
    critical, parts = reading.critical_discount, reading.parts
    assert parts is not None
    if critical is not None and parts.discount is not None and 0 < critical <= parts.discount:
        yield LOWER_DISCOUNT.format(critical=critical)
    else:
        yield SOME_DISCOUNT
    rate = training.learning_rate()
    largest, claim = None, "SIGN-THRESHOLD"
    under = reading.under_optimiser
    if under is not None and training.copied:
        in_closed_form = under.rule.direct == under.rule.shrink == under.rule.pull == 0  # else a scan, which is dear
        stable, claim = under.stable_factors if in_closed_form else None, "ADAM-RADIUS"
        largest = rate * stable[0][1] if rate is not None and stable else None
    elif reading.step_size and rate and reading.largest_step_size is not None:
        largest = rate * reading.largest_step_size / reading.step_size
    if largest is not None and rate is not None and largest < rate:
        yield LOWER_RATE.format(rate=largest, claim=claim)
    elif reading.excited and training.copied:
        yield NO_RATE
