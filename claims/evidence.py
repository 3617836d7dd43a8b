"""What the evidence says: outcomes of the tests that claims name, and verdicts of recorded runs."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from claims.ledger import RECORD, ROOT, Ledger, LedgerError

EXPERIMENTS = ROOT / "experiments"
RECORDED = "experiments/recorded"
"""Where recorded runs are, below the root of a repository."""
Outcome = Literal["passed", "failed", "skipped", "open", "broken"]
SOURCES = ("*.py", "*.toml", "*.bib", "*.md", "*.jsonl", "*.json", "*SHA256SUMS")
"""Files on which outcomes of tests depend, as git patterns."""
GENERATED = ("README.md", "claims/README.md", "claims/ledger.json", "claims/report.html")
"""Files that depend on the outcomes instead."""


@dataclass
class Evidence:
    """One piece of evidence with what came of it.

    Attributes:
        name: A test, ``path::function``, or a recorded verdict, ``record FOLDER: SENTENCE``.
        outcome: "passed" says that a test passed or that a recorded sentence is verified, "failed" that a test failed
            or that a recorded sentence is refuted, "skipped" that a test did not run, "open" that a record is
            inconclusive, "broken" that a record is missing, changed, or does not follow from its numbers.
        detail: Numbers of a record, reason of a skip, or a summary of a failure.
        cases: How many parametrised cases a test has.
        margins: The largest share of its bound that a test met, by label.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    cases: int = 1
    margins: dict[str, float] = field(default_factory=dict)


def fingerprint(root: Path = ROOT) -> str:
    """A hash of everything that outcomes depend on, so that stale ones are noticed."""
    git = partial(subprocess.run, cwd=root, check=True, capture_output=True)
    try:
        listed = git(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *SOURCES])
    except (OSError, subprocess.CalledProcessError):
        raise LedgerError(f"{root} is no git repository: run this in a clone, which says what the files are") from None
    names = [name for name in listed.stdout.decode().split("\0") if name and name not in GENERATED]
    present = {name: (root / name).read_bytes() for name in sorted(names) if (root / name).is_file()}
    hashes = (f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in present.items())
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def write_outcomes(path: Path, outcomes: Mapping[str, Evidence], made_from: str) -> None:
    """Keep the outcomes of the tests with the fingerprint of what they were made from."""
    from seem.locks import write_alone  # not above: the plugin is loaded where seem is not installed yet

    content = {"fingerprint": made_from, "tests": [asdict(evidence) for evidence in outcomes.values()]}
    write_alone(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_outcomes(path: Path) -> tuple[str, dict[str, Evidence]]:
    """Kept outcomes, and the fingerprint of what they were made from.

    Raises:
        LedgerError: When the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["fingerprint"], {entry["name"]: Evidence(**entry) for entry in content["tests"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise LedgerError(f"{path} holds no outcomes of tests: run `nox -s claims` to make them") from None


def read_records(ledger: Ledger, recorded: Path = ROOT / RECORDED) -> dict[str, Evidence]:
    """The verdicts of recorded runs that claims name, by their names in the ledger."""
    names = sorted({name for claim in ledger.claims.values() for name in claim.evidence if name.startswith(RECORD)})
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(name.removeprefix(RECORD).partition(": ")[0], []).append(name)
    return {
        evidence.name: evidence
        for folder, wanted in by_folder.items()
        for evidence in _read_folder(recorded / folder, wanted)
    }


def _read_folder(folder: Path, wanted: Iterable[str]) -> list[Evidence]:
    # Here and not above: it draws all experiments in, which most runs of pytest do not need.
    if str(EXPERIMENTS) not in sys.path:
        sys.path.insert(0, str(EXPERIMENTS))
    from studies.shared.recorded import damage, recorded_verdicts

    from seem.errors import InputError

    try:
        wrong = damage(folder)
        found = {} if wrong else {judged["sentence"]: judged for judged in recorded_verdicts(folder)}
    except (InputError, KeyError, ValueError) as error:
        wrong = str(error)
    if wrong:
        return [Evidence(name, "broken", wrong) for name in wanted]
    outcomes: dict[str, Outcome] = {"verified": "passed", "refuted": "failed", "open": "open"}
    evidence = []
    for name in wanted:
        judged = found.get(name.removeprefix(RECORD).partition(": ")[2])
        if judged is None:
            evidence.append(Evidence(name, "broken", f"the record of {folder.name} has no such verdict"))
        else:
            evidence.append(Evidence(name, outcomes[judged["verdict"]], judged["evidence"]))
    return evidence
