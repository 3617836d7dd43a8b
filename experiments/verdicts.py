"""Verdict lines of an experiment: what they hold, how they are printed, and the exit status they give."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console

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
