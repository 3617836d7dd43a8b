"""Compute every verdict and write the ledger, the report, the table of claims and the README's headlines.

    python -m claims.report

Reads the outcomes of the last `nox -s claims` where nothing has changed since, else runs all marked tests first.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from claims.evidence import Evidence, fingerprint, read_outcomes, read_records
from claims.ledger import ROOT, Ledger, LedgerError, check_bindings, read_ledger
from claims.page import page
from claims.plugin import LEDGER
from claims.tables import counted, headlines, whole, with_table
from claims.verdicts import VERDICTS, Row, compute, narrowest
from seem.config import versions
from seem.errors import InputError, run_command
from seem.locks import write_alone

OUT = ROOT
README, TABLE, PAGE = ROOT / "README.md", *map(Path(__file__).with_name, ("README.md", "report.html"))
MARKS = {"verified": "✔", "verified under assumptions": "✔", "open": "?", "refuted": "✘"}


@dataclass(frozen=True)
class ReportOptions:
    """Command line.

    Attributes:
        outcomes: Where the outcomes of the tests are kept.
        rerun: Run the tests even where their outcomes are fresh.
    """

    outcomes: Path = ROOT / "runs" / "claims" / "outcomes.json"
    rerun: bool = False


def gather(options: ReportOptions, ledger: Ledger) -> dict[str, Evidence]:
    """Outcomes of all tests that claims name, fresh, and the verdicts of recorded runs.

    Raises:
        LedgerError: When the tests cannot be run.
    """
    try:
        made_from, outcomes = read_outcomes(options.outcomes)
    except LedgerError:
        made_from, outcomes = "", {}
    if options.rerun or made_from != fingerprint():
        options.outcomes.unlink(missing_ok=True)
        run_tests(options.outcomes)
        _, outcomes = read_outcomes(options.outcomes)
    return outcomes | read_records(ledger)


def run_tests(out: Path) -> None:
    """Run every marked test and write the outcomes."""
    command = [sys.executable, "-m", "pytest", "-n", "auto", "-q", "-m", "claim", "--claim-outcomes", str(out)]
    subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - the exit status says less than the outcomes


def as_ledger(ledger: Ledger, rows: Iterable[Row]) -> dict[str, Any]:
    """What ledger.json holds: the ledger with its verdicts."""
    rows = list(rows)
    counted = Counter(row.verdict for row in rows)
    return {
        "counts": {verdict: counted[verdict] for verdict in VERDICTS},
        "environment": versions(),
        "claims": [
            asdict(row.claim)
            | {"topic": ledger.topics.get(row.claim.id, ""), "whose": row.claim.sentence_of}
            | {"margin": narrowest(row.evidence)}
            | {"verdict": row.verdict, "reason": row.reason, "broken": row.broken}
            | {"evidence": [asdict(item) for item in row.evidence]}
            for row in rows
        ],
        "assumptions": [asdict(assumption) for assumption in ledger.assumptions.values()],
        "deviations": [asdict(deviation) for deviation in ledger.deviations],
        "references": dict(ledger.references),
    }


def committed_claims(root: Path = ROOT) -> list[dict[str, Any]]:
    """The claims of the last committed ledger; none without one, or outside a clone."""
    try:
        asked = ["git", "show", f"HEAD:{LEDGER}"]
        shown = subprocess.run(asked, cwd=root, check=True, capture_output=True)  # noqa: S603 - a fixed command
        return json.loads(shown.stdout)["claims"]
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return []


def changes(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    """One line per claim whose verdict is another one, that is new, or that is gone: old, new, and the reason.

    Args:
        before: Claims of the last committed ledger.
        now: Claims of this one.
    """
    old, new = ({claim["id"]: claim for claim in claims} for claims in (before, now))
    lines = []
    for name in old | new:
        was, is_ = (claims[name]["verdict"] if name in claims else "not there" for claims in (old, new))
        if was != is_:
            found = new.get(name, {})
            reason = found.get("changed") or found.get("reason") or "its evidence passes"
            lines.append(f"{name}: {was} -> {is_}: {' '.join(reason.split()) if found else 'dropped'}")
    return lines


def main(options: ReportOptions) -> int:
    """Compute, write, and print the counts.

    Returns:
        The exit status: 1 when evidence is broken; refuted claims are results.
    """
    try:
        ledger = read_ledger()
        check_bindings(ledger)
        rows = compute(ledger, gather(options, ledger))
        written = as_ledger(ledger, rows.values())
        readme = with_table(README.read_text(encoding="utf-8"), headlines(written))
    except LedgerError as error:
        raise InputError(str(error)) from None
    changed = changes(committed_claims(), written["claims"])
    content = json.dumps(written, indent=1, ensure_ascii=False) + "\n"
    write_alone(OUT / LEDGER, content)
    write_alone(PAGE, page(json.loads(content), MARKS))
    write_alone(README, readme)
    write_alone(TABLE, whole(written))
    print(f"{len(rows)} claims: {', '.join(f'{count} {verdict}' for verdict, count in written['counts'].items())}")
    for line in counted(written["claims"]):
        print(f"  {line}")
    for row in rows.values():
        if row.broken or row.verdict in ("refuted", "open"):
            print(f"{'BROKEN' if row.broken else row.verdict.upper():8} {row.claim.id}: {row.claim.statement}")
            print(f"         {row.reason}")
    print(f"{len(changed)} verdicts changed since the last committed ledger{':' if changed else ''}")
    for line in changed:
        print(f"  {line}")
    print(f"written: {OUT / LEDGER}, {PAGE}, {README}, {TABLE}")
    return int(any(row.broken for row in rows.values()))


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(ReportOptions)))
