"""What a watch notes of one reading: plain numbers for loggers, and the same as a line of its history."""

import math

from seem.alarms import KINDS, Kind
from seem.leaving import Leaving
from seem.reading_result import Reading

Entry = dict[str, float]
"""Numbers by name:

- ``step``, ``rows``, ``seconds``: critic steps taken, rows read, what the reading cost
- ``mean_abs_q``, ``max_abs_q``, ``td_norm``: of the values and of u
- ``bound``, ``share_of_bound``: what mean |Q| must not pass, and how far it is
- ``seem``: the leading eigenvalue, raw; ``seem_low`` and ``seem_high`` hold it where it was not certified
- ``normalised``, ``rate``, ``growth``, ``rayleigh``: as in `seem.Reading`
- ``excited``: 1 where a mode excites itself, else 0, by the optimiser's own gate where ``preconditioned`` is there too
- ``preconditioned``: the leading eigenvalue with the optimiser's D between the gradients
- ``crossing``: steps until the drift passes the bound, the signal
- ``leaves_at``, ``earliest``, ``latest``: the forecast, with its interval
- ``alarm_not_finite``, ``alarm_past_what_can_be_earned``, ``alarm_about_to_leave``: 1 or 0
"""


def flag(kind: Kind) -> str:
    """The name under which an entry says whether there is an alarm of a kind."""
    return f"alarm_{kind.replace(' ', '_')}"


def entry_of(step: int, reading: Reading | None, said: Leaving | None, bound: float | None, kind: Kind | None) -> Entry:
    """An entry without what is not known.

    Args:
        step: Critic steps taken.
        reading: The reading, or None.
        said: When mean |Q| leaves its bound, or None.
        bound: What it must not pass, or None.
        kind: Of the alarm, or None.
    """
    found: dict[str, float | None] = {"step": step, "bound": bound}
    if reading is not None:
        for name in ("rows", "mean_abs_q", "max_abs_q", "td_norm", "normalised", "rate", "growth", "rayleigh"):
            found[name] = getattr(reading, name)
        size, excited, bounds = reading.mean_abs_q, reading.excited, reading.bounds
        found["share_of_bound"] = None if size is None or bound is None else size / bound
        found["seem"] = reading.leading
        if reading.leading is None and bounds is not None:
            found |= {"seem_low": bounds.low, "seem_high": bounds.high}
        found["excited"] = None if excited is None else float(excited)
        found["preconditioned"] = None if reading.under_optimiser is None else reading.under_optimiser.leading
    if said is not None:
        ahead = {"crossing": said.signal, "leaves_at": said.leaves_at, "earliest": said.earliest, "latest": said.latest}
        found |= {name: value for name, value in ahead.items() if value is not None and math.isfinite(value)}
    found |= {flag(one): float(one == kind) for one in KINDS}
    return {name: float(value) for name, value in found.items() if value is not None}
