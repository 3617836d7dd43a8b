"""What a study concludes: one sentence with its verdict, how it is printed, and the exit status that it gives."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.text import Text

Outcome = Literal["verified", "refuted", "open"]
PIPE_WIDTH = 140
COLOURS = {"verified": "green", "refuted": "red", "open": "yellow"}


@dataclass(frozen=True)
class Verdict:
    """One sentence that a study judges.

    Attributes:
        sentence: What is judged.
        verdict: What the runs say of it.
        evidence: Their numbers, in words.
    """

    sentence: str
    verdict: Outcome
    evidence: str


def open_console() -> Console:
    """The console, which takes no words for markup; piped output gets a width that the tables fit into."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one line per verdict, in their order."""
    for verdict in verdicts:
        line = Text(f"{verdict.verdict.upper():8} ", style=COLOURS[verdict.verdict])
        console.print(line.append(f"{verdict.sentence}: {verdict.evidence}", style="default"), soft_wrap=True)


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """The verdicts as JSON objects."""
    return [asdict(verdict) for verdict in verdicts]


def turned(now: Sequence[Mapping[str, str]], before: Sequence[Mapping[str, str]]) -> list[str]:
    """The sentences that were verified and are refuted, or the other way round; "open" against either is neither.

    Args:
        now: Verdicts as JSON objects.
        before: Those of the record.
    """
    recorded = {verdict["sentence"]: verdict["verdict"] for verdict in before}
    opposite = {"verified": "refuted", "refuted": "verified"}
    return [v["sentence"] for v in now if recorded.get(v["sentence"]) == opposite.get(v["verdict"], "never")]


def exit_status(now: Sequence[Mapping[str, str]], before: Sequence[Mapping[str, str]], *, strict: bool) -> int:
    """1 when a verdict turned against the record, or, if ``strict``, when any sentence is refuted; else 0.

    Args:
        now: Verdicts as JSON objects.
        before: Those of the record; empty without one.
        strict: Whether a refuted sentence by itself counts.
    """
    return int(bool(turned(now, before)) or (strict and any(verdict["verdict"] == "refuted" for verdict in now)))
