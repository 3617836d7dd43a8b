"""What a study concludes: how numbers become verdicts, how these are printed, and the exit status that they give.

No verdict hangs on a point estimate: "verified" and "refuted" both need a 95 % interval on their side, and whatever is
not a finite number counts against the sentence, or leaves it open where no count is taken.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from rich.console import Console
from rich.text import Text
from scipy import stats
from studies.shared.declaration import SHARED_THRESHOLDS
from studies.shared.runs import KeptRun

from seem.statistics import Interval, bootstrap_interval, wilson_interval

Outcome = Literal["verified", "refuted", "open"]
SIGNIFICANT: float = SHARED_THRESHOLDS["significant"]
"""Level of a study's tests."""
LEAST_PAIRS = math.ceil(math.log(SIGNIFICANT, 1 / 2))
"""Fewest pairs that decide: were there no difference, as many would all agree less often than by that level."""
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


def majority(count: int, of: int) -> Outcome:
    """Whether more than half are so, by Wilson's interval of the share.

    Args:
        count: How many are.
        of: Out of how many.
    """
    if not of:
        return "open"
    share = wilson_interval(count, of, confidence=1 - SIGNIFICANT)
    return "verified" if share.low > 1 / 2 else "refuted" if share.high < 1 / 2 else "open"


def share(count: int, of: int) -> str:
    """A count with Wilson's 95 % interval, in words; of none there is no share."""
    if not of:
        return "0 of 0"
    found = wilson_interval(count, of, confidence=1 - SIGNIFICANT)
    return f"{count} of {of} [{found.low:.0%}, {found.high:.0%}]"


def inside(values: Sequence[float], low: float, high: float, seeds: int, least: int) -> tuple[Outcome, Interval | None]:
    """Whether a median over runs is inside limits, by its bootstrap interval.

    Args:
        values: One number a run.
        low: Lower limit.
        high: Upper limit.
        seeds: How many different seeds the runs have.
        least: Fewest seeds that decide.

    Returns:
        "verified" where the whole interval is inside, "refuted" where all of it is outside on one side, else, with
        fewer seeds or with a value that is not finite, "open"; and the interval, None where there is none.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return "open", None
    found = bootstrap_interval(
        np.array(values, dtype=np.float64),
        np.random.default_rng(0),
        statistic=np.median,
        confidence=1 - SIGNIFICANT,
    )
    if seeds < least:
        return "open", found
    if low <= found.low and found.high <= high:
        return "verified", found
    return "refuted" if found.high < low or found.low > high else "open", found


def paired(
    first: Sequence[KeptRun], second: Sequence[KeptRun], value: Callable[[KeptRun], float]
) -> list[tuple[float, float]]:
    """A number of the runs of two arms, for every data set and seed that both have."""
    other = {(run["data"], run["seed"]): run for run in second}
    keys = [(run, other[run["data"], run["seed"]]) for run in first if (run["data"], run["seed"]) in other]
    return [(value(run), value(twin)) for run, twin in keys]


def difference(pairs: Sequence[tuple[float, float]]) -> tuple[Outcome, Interval | None]:
    """Whether the first of each pair is larger, by the bootstrap interval of the median difference over pairs.

    Args:
        pairs: Two numbers of the same data and seed each.

    Returns:
        "open" also with fewer than `LEAST_PAIRS` and where a number is not finite; and the interval.
    """
    differences = np.array([one - other for one, other in pairs], dtype=np.float64)
    if len(differences) < 2 or not np.isfinite(differences).all():
        return "open", None
    found = bootstrap_interval(differences, np.random.default_rng(0), statistic=np.median, confidence=1 - SIGNIFICANT)
    return side(found) if len(differences) >= LEAST_PAIRS else "open", found


def side(found: Interval) -> Outcome:
    """Whether a number is above zero, by its interval."""
    return "verified" if found.low > 0 else "refuted" if found.high < 0 else "open"


def more_often(pairs: Sequence[tuple[float, float]]) -> float:
    """McNemar's exact one-sided p that the first of a pair happens more often than the second.

    Args:
        pairs: Whether each of two runs of the same data and seed does, as 1 or 0.

    Source: McNemar, Psychometrika 12 (1947) (recalled); `scipy.stats.binomtest` on the pairs that differ.
    """
    only_first = sum(one > other for one, other in pairs)
    apart = sum(one != other for one, other in pairs)
    return float(stats.binomtest(only_first, apart, alternative="greater").pvalue) if apart else 1.0


def in_words(found: Interval | None, digits: str = ".2f") -> str:
    """An estimate with its interval."""
    return "none" if found is None else f"{found.estimate:{digits}} [{found.low:{digits}}, {found.high:{digits}}]"
