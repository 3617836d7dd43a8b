"""Verdict lines of an experiment: what they hold, how they are printed, and the exit status they give."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from rich.console import Console

from seem.config import versions
from seem.plots import save_figure
from seem.records import canonical_json, parse_json, write_atomically

Verdict = Literal["verified", "refuted", "open"]

PIPE_WIDTH = 140
COLOURS = {"verified": "green", "refuted": "red", "open": "yellow"}


@dataclass(frozen=True)
class Claim:
    """One verdict line.

    Attributes:
        name: Which claim.
        verdict: What the numbers say.
        evidence: The numbers, in words.
    """

    name: str
    verdict: Verdict
    evidence: str


def open_console() -> Console:
    """The console; piped output gets a width that the tables fit into."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def print_claims(console: Console, claims: Sequence[Claim]) -> int:
    """Print one line a claim.

    Args:
        console: Where to.
        claims: In the order in which they are printed.

    Returns:
        The exit status: 1 when a claim is refuted, else 0.
    """
    for claim in claims:
        verdict = f"[{COLOURS[claim.verdict]}]{claim.verdict.upper():8}[/]"
        console.print(f"{verdict} {claim.name}: {claim.evidence}", highlight=False, soft_wrap=True)
    return 1 if any(claim.verdict == "refuted" for claim in claims) else 0


def as_json(claims: Sequence[Claim]) -> list[dict[str, str]]:
    """The claims as JSON objects."""
    return [asdict(claim) for claim in claims]


def conclude(
    console: Console,
    out: Path,
    name: str,
    options: Any,
    numbers: dict[str, Any],
    judge: Callable[[dict[str, Any]], list[Claim]],
    plot: Callable[[dict[str, Any]], Figure],
) -> int:
    """End a script: judge its numbers, write results.json and a figure drawn from what was written, print the claims.

    Args:
        console: Where to print.
        out: Its folder, which exists.
        name: File name of the figure.
        options: Its command line, a dataclass with the field ``out``.
        numbers: What was measured, a JSON object.
        judge: From numbers to claims.
        plot: From numbers to a figure.

    Returns:
        The exit status.
    """
    claims = judge(numbers)
    results = {"options": {**asdict(options), "out": None}, "versions": versions(), "claims": as_json(claims)}
    written = canonical_json({**results, "numbers": numbers}) + "\n"
    write_atomically(out / "results.json", written)
    save_figure(plot(parse_json(written)["numbers"]), out / name)
    console.print(f"results.json and {name}: {out}", highlight=False, soft_wrap=True)
    return print_claims(console, claims)
