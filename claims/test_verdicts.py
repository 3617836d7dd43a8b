"""Verdicts follow from evidence."""

import dataclasses

import pytest

from claims.evidence import Evidence, read_records
from claims.ledger import CLAIMS, REFERENCES, read_ledger
from claims.verdicts import compute

SUM, LARGE, EVEN = (f"theory/test_sum.py::test_{name}" for name in ("sum", "large", "an_even_sum"))
RECORD = "record baird: unstable above 15/17 as η → 0"
PASSED = {name: Evidence(name, "passed") for name in (SUM, LARGE, EVEN, RECORD)}


@pytest.fixture
def ledger(repository):
    return read_ledger(repository.path(CLAIMS), repository.path(REFERENCES))


def verdicts(ledger, **changed):
    names = {"sum": SUM, "large": LARGE, "even": EVEN, "record": RECORD}
    rows = compute(ledger, PASSED | {names[key]: Evidence(names[key], value) for key, value in changed.items()})
    return {name: (row.verdict, bool(row.broken)) for name, row in rows.items()}


GREEN = {
    "SUM": ("verified", False),
    "SUM-LARGE": ("verified under assumptions", False),
    "SUM-ODD": ("refuted", False),
}


def test_what_all_evidence_supports_is_verified_and_a_counterexample_refutes(ledger):
    assert verdicts(ledger) == GREEN


@pytest.mark.parametrize(
    ("changed", "row", "verdict", "broken"),
    [
        ({"sum": "failed"}, "SUM", "open", True),
        ({"sum": "skipped"}, "SUM", "open", False),
        ({"sum": "failed"}, "SUM-LARGE", "open", False),
        ({"sum": "skipped"}, "SUM-LARGE", "open", False),
        ({"record": "failed"}, "SUM-LARGE", "refuted", False),
        ({"record": "open"}, "SUM-LARGE", "open", False),
        ({"record": "broken"}, "SUM-LARGE", "open", True),
        ({"large": "failed", "record": "failed"}, "SUM-LARGE", "open", True),
        ({"even": "failed"}, "SUM-ODD", "open", True),
        ({"even": "skipped"}, "SUM-ODD", "open", False),
    ],
)
def test_one_changed_piece_changes_its_rows(ledger, changed, row, verdict, broken):
    assert verdicts(ledger, **changed)[row] == (verdict, broken)


def test_other_rows_stay(ledger):
    changed = verdicts(ledger, even="failed")
    assert {name for name in GREEN if changed[name] != GREEN[name]} == {"SUM-ODD"}


def test_what_was_not_run_is_open(ledger):
    rows = compute(ledger, {})
    assert {row.verdict for row in rows.values()} == {"open"}
    assert rows["SUM"].reason == f"{SUM}: not run"


def test_a_record_that_no_longer_refutes_leaves_the_claim_open(ledger):
    claim = dataclasses.replace(ledger.claims["SUM-ODD"], refutes=(RECORD,))
    changed = dataclasses.replace(ledger, claims={**ledger.claims, "SUM-ODD": claim})
    row = compute(changed, {**PASSED, RECORD: Evidence(RECORD, "failed", "no")})["SUM-ODD"]
    assert row.verdict == "open"
    assert "does not stand" in row.reason


def test_the_narrowest_margin_is_told(ledger):
    evidence = PASSED | {
        LARGE: Evidence(LARGE, "passed", margins={"error / bound": 0.25, "value / bound": 0.75}),
        RECORD: Evidence(RECORD, "passed", "off by 1e-7"),
    }
    assert compute(ledger, evidence)["SUM-LARGE"].reason == "value / bound: at most 0.75; off by 1e-7"


def outcome(repository, ledger) -> Evidence:
    return read_records(ledger, repository.path("experiments/recorded"))[RECORD]


def test_a_whole_record_passes_with_its_numbers(repository, ledger):
    assert outcome(repository, ledger).outcome == "passed"
    assert "extrapolated" in outcome(repository, ledger).detail


def test_a_deleted_record_is_broken(repository, ledger):
    for path in repository.path("experiments/recorded/baird").iterdir():
        path.unlink()
    assert outcome(repository, ledger).outcome == "broken"
    assert "missing" in outcome(repository, ledger).detail


def test_an_edited_number_is_broken(repository, ledger):
    path = repository.path("experiments/recorded/baird/results.json")
    path.write_text(path.read_text().replace("0.8823528", "0.8823529", 1))
    assert outcome(repository, ledger).outcome == "broken"
    assert "changed after it was sealed" in outcome(repository, ledger).detail


def test_a_claim_that_a_record_does_not_make_is_broken(repository, ledger):
    name = "record baird: the star is round"
    claim = dataclasses.replace(ledger.claims["SUM-ODD"], refutes=(name,))
    changed = dataclasses.replace(ledger, claims={"SUM-ODD": claim})
    assert read_records(changed, repository.path("experiments/recorded"))[name].outcome == "broken"
