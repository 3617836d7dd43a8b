"""The history of a watch: written a line a reading, read back checked, and as a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.alarms import KINDS, Alarm
from seem.errors import InputError
from seem.files import parse_json
from seem.paths import read_text
from seem.watch_entry import Entry, flag

COLUMNS = (
    ("step", "step", ".0f"),
    ("mean |Q|", "mean_abs_q", ".4g"),
    ("of bound", "share_of_bound", ".3g"),
    ("SEEM", "seem", ".3g"),
    ("excited", "excited", ".0f"),
    ("leaves at", "leaves_at", ".0f"),
    ("earliest", "earliest", ".0f"),
    ("latest", "latest", ".0f"),
)
"""Heading, name in an entry, format."""
WHAT = "history of a watch"


@dataclass(frozen=True)
class Line:
    """One reading.

    Attributes:
        entry: Its numbers (`seem.watch_entry`).
        text: What an alarm said that began here, or None.
    """

    entry: Entry
    text: str | None = None

    @property
    def step(self) -> float:
        """Critic steps taken before it."""
        return self.entry["step"]

    @property
    def kind(self) -> str | None:
        """Of the alarm at this reading, or None."""
        return next((kind for kind in KINDS if self.entry.get(flag(kind)) == 1), None)


class HistoryFile:
    """A file of JSON Lines that a training does without where it cannot be written.

    Args:
        path: Where, or None for no history.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def append(self, entry: Entry, alarm: Alarm | None) -> str | None:
        """Append a reading, on the disk when this returns.

        Args:
            entry: Its numbers.
            alarm: What began here, or None.

        Returns:
            None; or why it could not be written, and then nothing will be.
        """
        if self.path is None:
            return None
        from seem.records import append_line

        try:
            append_line(self.path, entry if alarm is None else {**entry, "alarm": {"text": alarm.text}})
        except InputError as error:
            self.path = None
            return str(error)
        return None


def read_history(path: Path) -> list[Line]:
    """Read a history; a last line that a kill has torn is left out.

    Args:
        path: The file of a watch.

    Returns:
        One line a reading, at least one.

    Raises:
        InputError: When it cannot be read, or is no such history.
    """
    *texts, _torn = read_text(path, WHAT).split("\n")
    lines: list[Line] = []
    for number, text in enumerate(texts, 1):
        try:
            line = _line(parse_json(text))
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError(f"{path} is no {WHAT}: line {number} is no reading ({_short(error)})") from error
        if lines and not line.step > lines[-1].step:
            raise InputError(
                f"{path} goes from step {lines[-1].step:.0f} to {line.step:.0f} in line {number}: "
                "give each training a file of its own"
            )
        lines.append(line)
    if not lines:
        raise InputError(f"{path} holds no reading yet: let the watch take one, or pass another file")
    return lines


def _line(value: Any) -> Line:
    alarm = value.pop("alarm", None)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in value.values()):
        raise ValueError("a value is no number")
    entry = {name: float(number) for name, number in value.items()}
    if not math.isfinite(entry["step"]):
        raise ValueError("the step is not finite")
    return Line(entry, None if alarm is None else printable(str(alarm["text"])))


def printable(text: str) -> str:
    """A text without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _short(error: Exception) -> str:
    return printable(str(error))[:80]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """A history as text: a row a reading, then what the alarms said.

    Args:
        lines: At least one.
    """
    yield "  ".join(f"{heading:>9}" for heading, *_ in COLUMNS) + "  alarm"
    for line in lines:
        cells = [format(line.entry[name], form) if name in line.entry else "" for _, name, form in COLUMNS]
        yield ("  ".join(f"{cell:>9}" for cell in cells) + f"  {line.kind or ''}").rstrip()
    for line in lines:
        if line.text is not None:
            yield ""
            yield line.text
