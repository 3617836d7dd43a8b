"""Compute every verdict and write the ledger, the report and the README's table.

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
from claims.ledger import CIRCULATED, ROOT, WHOSE, Ledger, LedgerError, check_bindings, read_ledger
from claims.page import in_markdown, is_needed, page
from claims.plugin import LEDGER
from claims.verdicts import VERDICTS, Row, compute, narrowest
from seem.config import versions
from seem.errors import InputError, run_command
from seem.records import write_atomically

OUT = ROOT
README, PAGE = ROOT / "README.md", Path(__file__).with_name("report.html")
BEGIN, END = "<!-- claims: written by `nox -s claims`, not by hand -->", "<!-- end of claims -->"
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
            | {"whose": row.claim.sentence_of, "margin": narrowest(row.evidence)}
            | {"verdict": row.verdict, "reason": row.reason, "broken": row.broken}
            | {"evidence": [asdict(item) for item in row.evidence]}
            for row in rows
        ],
        "assumptions": [asdict(assumption) for assumption in ledger.assumptions.values()],
        "deviations": [asdict(deviation) for deviation in ledger.deviations],
        "references": dict(ledger.references),
    }


def by_whose(claims: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """How many claims have each verdict, by whose sentence they are."""
    found: dict[str, Counter[str]] = {whose: Counter() for whose in (*WHOSE.values(), CIRCULATED)}
    for claim in claims:
        found[claim["whose"]]["needed" if is_needed(claim) else claim["verdict"]] += 1
    return {whose: counts for whose, counts in found.items() if counts}


def counted(claims: list[dict[str, Any]]) -> list[str]:
    """The counts by whose sentence, one line each."""
    lines = []
    for whose, counts in by_whose(claims).items():
        said = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS]
        said += [f"{counts['needed']} without a hypothesis that a theorem needs"] if counts["needed"] else []
        lines.append(f"{whose}: {counts.total()} claims, {', '.join(said)}")
    return lines


def markdown(ledger: dict[str, Any]) -> str:
    """The README's table: what is false or open in view, needed hypotheses and what is verified folded away."""
    counts = ", ".join(f"{ledger['counts'][verdict]} {verdict}" for verdict in VERDICTS)
    lines = [f"{len(ledger['claims'])} claims: {counts}.", ""]
    lines += [f"- {line}" for line in counted(ledger["claims"])]
    needed = [claim for claim in ledger["claims"] if is_needed(claim)]
    verified = [claim for claim in ledger["claims"] if claim["verdict"].startswith("verified")]
    rest = [claim for claim in ledger["claims"] if claim not in needed and claim not in verified]
    lines += ["", *_rows(sorted(rest, key=lambda claim: VERDICTS.index(claim["verdict"])))]
    lines += ["", f"<details><summary>The {len(needed)} that fail without a theorem's hypothesis</summary>", ""]
    lines += [*_rows(needed), "", "</details>"]
    lines += ["", f"<details><summary>The {len(verified)} that are verified</summary>", ""]
    lines += [*_rows(verified), "", "</details>"]
    return "\n".join(lines)


def _rows(claims: list[dict[str, Any]]) -> list[str]:
    lines = ["| claim | verdict | id |", "|---|---|---|"]
    for claim in claims:
        verdict = "**refuted**" if claim["verdict"] == "refuted" else claim["verdict"]
        verdict = f"needed for `{claim['sharpens']}`" if is_needed(claim) else verdict
        verdict = "**evidence broken**" if claim["broken"] else verdict
        lines.append(f"| {in_markdown(claim['statement'])} | {verdict} | `{claim['id']}` |")
    return lines


def with_table(readme: str, table: str) -> str:
    """The README with its table replaced.

    Raises:
        LedgerError: When it has no place for one.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise LedgerError(f"README.md has no place for the claims: put the lines {BEGIN!r} and {END!r} there")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


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
        readme = with_table(README.read_text(encoding="utf-8"), markdown(written))
    except LedgerError as error:
        raise InputError(str(error)) from None
    changed = changes(committed_claims(), written["claims"])
    content = json.dumps(written, indent=1, ensure_ascii=False) + "\n"
    write_atomically(OUT / LEDGER, content)
    write_atomically(PAGE, page(json.loads(content), MARKS))
    write_atomically(README, readme)
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
    print(f"written: {OUT / LEDGER}, {PAGE}, {README}")
    return int(any(row.broken for row in rows.values()))


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(ReportOptions)))
