"""The pytest plugin: `@pytest.mark.claim("ID")`, outcomes of marked tests, and a ledger that is up to date.

Nothing is collected with a ledger that does not hang together or that tests and claims read differently. After a run
the verdicts that it decides must be those of the committed ledger.json, else the session fails: `nox -s claims` makes
it anew.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from claims.evidence import RECORDED, Evidence, fingerprint, read_outcomes, read_records, write_outcomes
from claims.ledger import CLAIMS, RECORD, REFERENCES, Ledger, LedgerError, check_bindings, premises, read_ledger
from claims.verdicts import VERIFIED, Verdict, compute

LEDGER = "claims/ledger.json"
"""The committed verdicts, below the root of a repository."""
PROPERTY, MARGIN = "claims", "margin"
"""Names of what marked tests report: the claims they bear on, and label and share of a bound that they met."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("claims")
    group.addoption("--claim", metavar="ID", help="run only the tests that bear on this claim")
    outcomes = "keep the outcomes of marked tests here; those of other tests, of the same files, count too"
    group.addoption("--claim-outcomes", metavar="FILE", type=Path, help=outcomes)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    root, out = config.rootpath, config.getoption("--claim-outcomes")
    try:
        ledger = read_ledger(root / CLAIMS, root / REFERENCES)
        check_bindings(ledger, root)
        committed = read_committed(root / LEDGER)
        made_from = fingerprint(root) if out else ""
    except LedgerError as error:
        raise pytest.UsageError(str(error)) from None
    if chosen := config.getoption("--claim"):
        tests = tests_of(chosen, ledger)
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args = [str(root / name) for name in tests]  # nothing else is even collected
    config.pluginmanager.register(Recorder(root, ledger, committed, out, made_from))


def tests_of(chosen: str, ledger: Ledger) -> list[str]:
    """The tests that bear on a claim, as arguments of pytest.

    Raises:
        pytest.UsageError: When there is no such claim, or it rests on recorded runs alone.
    """
    if chosen not in ledger.claims:
        raise pytest.UsageError(f"there is no claim {chosen!r}: choose an id of claims/claims.toml")
    tests = [name for name in ledger.claims[chosen].evidence if not name.startswith(RECORD)]
    if not tests:
        raise pytest.UsageError(
            f"{chosen} rests on recorded runs alone: `pytest experiments/tests/test_recorded.py` judges them again"
        )
    return tests


def read_committed(path: Path) -> dict[str, Verdict]:
    """The verdicts of the committed ledger, by claim; none when there is no such file yet.

    Raises:
        LedgerError: When a claim is green there whose premises are not.
    """
    if not path.exists():
        return {}
    rows = {row["id"]: row for row in json.loads(path.read_text(encoding="utf-8"))["claims"]}
    for row in rows.values():
        weak = [name for name in row["uses"] if name not in rows or rows[name]["verdict"] not in VERIFIED]
        if row["verdict"] in VERIFIED and weak:
            raise LedgerError(
                f"{path.name} says that {row['id']} is {row['verdict']}, but its premise {weak[0]} is not: "
                "run `nox -s claims`, which computes verdicts"
            )
    return {name: row["verdict"] for name, row in rows.items()}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if ids := _claims(item):
            item.user_properties.append((PROPERTY, ids))
    if chosen := config.getoption("--claim"):
        config.hook.pytest_deselected(items=[item for item in items if chosen not in _claims(item)])
        items[:] = [item for item in items if chosen in _claims(item)]


def _claims(item: pytest.Item) -> list[str]:
    return [name for marker in item.iter_markers("claim") for name in marker.args]


class Recorder:
    """Collects the outcomes of marked tests in the process that controls the run.

    Args:
        root: The root of the repository.
        ledger: What is claimed.
        committed: Verdicts of the committed ledger.
        out: Where the outcomes are kept, or None; earlier ones of the same fingerprint count as evidence.
        made_from: Fingerprint of what they are made from.
    """

    def __init__(
        self, root: Path, ledger: Ledger, committed: dict[str, Verdict], out: Path | None, made_from: str
    ) -> None:
        self.root, self.ledger, self.committed, self.out, self.made_from = root, ledger, committed, out, made_from
        self.found: dict[str, Evidence] = {}
        self.earlier = {} if out is None else earlier_outcomes(out, made_from)
        self.cases: dict[str, set[str]] = {}
        self.changed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = list(report.user_properties)
        if not any(name == PROPERTY for name, _ in properties):
            return
        name = report.nodeid.partition("[")[0]
        evidence = self.found.setdefault(name, Evidence(name, "skipped", cases=0))
        self.cases.setdefault(name, set()).add(report.nodeid)
        evidence.cases = len(self.cases[name])
        if report.failed:
            evidence.outcome, evidence.detail = "failed", _summary(report)
        elif report.skipped and evidence.outcome == "skipped":
            evidence.detail = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "skipped"
        elif report.when == "call" and report.passed and evidence.outcome == "skipped":
            evidence.outcome, evidence.detail = "passed", ""
        for key, value in properties:
            if key == MARGIN and report.when == "teardown":
                label, share = value
                evidence.margins[label] = max(share, evidence.margins.get(label, 0.0))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            write_outcomes(self.out, dict(sorted((self.earlier | self.found).items())), self.made_from)
        self.changed = list(self.stale())
        if self.changed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def stale(self) -> Iterator[str]:
        """Claims whose verdict, all their tests having run, is not the committed one.

        A premise whose tests did not all run counts with its committed verdict, so that no claim goes unjudged.
        """
        found = self.earlier | self.found
        run = {name for name, evidence in found.items() if evidence.outcome != "skipped"}
        tests = {name: [e for e in claim.evidence if "::" in e] for name, claim in self.ledger.claims.items()}
        decided = [name for name, own in tests.items() if own and run.issuperset(own)]
        if not decided:
            return
        needed = set(decided).union(*(premises(name, self.ledger) for name in decided))
        part = replace(self.ledger, claims={name: self.ledger.claims[name] for name in needed})
        absent = {name for name in needed if not run.issuperset(tests[name])}
        settled = {name: self.committed[name] for name in absent & self.committed.keys()}
        judged = replace(part, claims={name: part.claims[name] for name in needed - absent})
        rows = compute(part, found | read_records(judged, self.root / RECORDED), settled)
        for name in decided:
            row, before = rows[name], self.committed.get(name, "not there")
            if row.verdict != before:
                yield f"{name} is {row.verdict} ({row.reason}), in the ledger it is {before}"

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if self.changed:
            terminalreporter.section("claims whose verdict changed: `nox -s claims` writes the ledger anew", red=True)
            for line in self.changed:
                terminalreporter.write_line(line)


def earlier_outcomes(path: Path, made_from: str) -> dict[str, Evidence]:
    """Outcomes that an earlier run kept, where nothing has changed since; none otherwise."""
    try:
        then, outcomes = read_outcomes(path)
    except LedgerError:
        return {}
    return outcomes if then == made_from else {}


def _summary(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message.splitlines() or ["no message"])[0] if crash else str(report.longrepr).splitlines()[-1]
