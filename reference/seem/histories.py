"""Histories of readings as a forecast takes them: checked, and as the known numbers of plain gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch

from seem.errors import InputError
from seem.reading_result import Reading
from seem.spectrum import CriticReading

AnyReading = CriticReading | Reading
History = Sequence[Any]
"""Readings of one critic, or joint ones of several, oldest first; None where the kernel had overflowed."""


@dataclass(frozen=True)
class Plain:
    """What the law needs of a reading under plain gradient descent; every number is known."""

    step: int
    step_size: float
    leading: float
    trailing: float
    growth: float
    excitation_gain: float
    overshoot_gain: float
    max_abs_q: float
    mean_abs_q: float

    @property
    def rate(self) -> float:
        """ηλ."""
        return self.step_size * self.leading


def precision_of(dtype: str | torch.dtype) -> torch.dtype:
    """The floating dtype that was named.

    Raises:
        InputError: When it is none.
    """
    found = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f'dtype "{dtype}" is unknown: pass the training\'s floating dtype, as "float32"')
    return found


def histories_of(histories: Sequence[History] | History) -> list[History]:
    """Histories as such, or one of them; their entries are readings or None.

    Raises:
        InputError: On something else.
    """
    flat = any(reading is None or isinstance(reading, AnyReading) for reading in histories)
    made = cast(list[History], [histories] if flat else list(histories))
    for history in made:
        for reading in history:
            if reading is not None and not isinstance(reading, AnyReading):
                what = type(reading).__name__
                raise InputError(f"a history holds a {what}, which has no gains: pass readings of seem.read")
    return made


def plain_of(histories: Sequence[History]) -> list[list[Plain]]:
    """Histories of known numbers; readings of an overflow or of another optimiser are left out."""
    names = [field.name for field in fields(Plain)]
    made: list[list[Plain]] = []
    for history in histories:
        numbers = [{name: getattr(reading, name) for name in names} for reading in history if reading is not None]
        made.append([Plain(**known) for known in numbers if None not in known.values()])
    return made


def why_no_rate(reading: AnyReading) -> str | None:
    """Why a reading knows no growth per step of plain gradient descent, or None where it does."""
    if reading.rate is not None:
        return None
    why = reading.why("rate") if isinstance(reading, Reading) else None
    return why or "a step of this training has no known size"
