"""What is kept of reports of pytest, and which claims a run decides."""

import json
from types import SimpleNamespace

import pytest

from claims.evidence import Evidence, write_outcomes
from claims.ledger import Claim, Ledger, LedgerError
from claims.plugin import MARGIN, PROPERTY, Recorder, earlier_outcomes, read_committed

ONE, TWO, THREE = (f"theory/test_a.py::test_{name}" for name in ("one", "two", "three"))


def claim(name, *supports, **fields) -> Claim:
    return Claim(name, "It holds.", "here", "derived", "exact", "that not", supports=supports, **fields)


LEDGER = Ledger(
    {
        "FIRST": claim("FIRST", ONE),
        "SECOND": claim("SECOND", TWO, uses=("FIRST",)),
        "THIRD": claim("THIRD", ONE, THREE),
        "RECORD": claim("RECORD", "record nowhere: at all"),
    },
    {},
    (),
    {},
)
GREEN = dict.fromkeys(LEDGER.claims, "verified")


@pytest.fixture
def recorder(tmp_path) -> Recorder:
    return Recorder(tmp_path, LEDGER, GREEN, None, "")


def tell(recorder, name=ONE, when="call", outcome="passed", properties=(), why="assert 1 == 2"):
    """Report one phase of a test."""
    reason = ("file", 3, why) if outcome == "skipped" else SimpleNamespace(reprcrash=SimpleNamespace(message=why))
    recorder.pytest_runtest_logreport(
        SimpleNamespace(
            nodeid=name,
            when=when,
            user_properties=[(PROPERTY, ["FIRST"]), *properties],
            passed=outcome == "passed",
            failed=outcome == "failed",
            skipped=outcome == "skipped",
            longrepr=reason,
        )
    )
    return recorder.found[name.partition("[")[0]]


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_failure_in_any_phase_is_a_failure(recorder, when):
    for phase in ("setup", "call", "teardown"):
        found = tell(recorder, when=phase, outcome="failed" if phase == when else "passed")
    assert (found.outcome, found.detail) == ("failed", "assert 1 == 2")


@pytest.mark.parametrize("outcomes", [("failed", "passed"), ("passed", "failed"), ("failed", "skipped")])
def test_one_failing_case_fails_the_test(recorder, outcomes):
    for number, outcome in enumerate(outcomes):
        found = tell(recorder, name=f"{ONE}[{number}]", outcome=outcome)
    assert (found.outcome, found.cases) == ("failed", 2)


def test_a_fixture_that_could_be_made_is_no_pass(recorder):
    assert tell(recorder, when="setup").outcome == "skipped"
    assert tell(recorder, when="teardown").outcome == "skipped"
    assert tell(recorder, when="call").outcome == "passed"


def test_a_skip_keeps_its_reason_and_takes_no_pass_away(recorder):
    found = tell(recorder, when="setup", outcome="skipped", why="no GPU")
    assert (found.outcome, found.detail) == ("skipped", "no GPU")
    assert tell(recorder, name=f"{ONE}[1]").outcome == "passed"
    found = tell(recorder, name=f"{ONE}[2]", when="setup", outcome="skipped", why="no GPU")
    assert (found.outcome, found.detail) == ("passed", "")


def test_cases_are_counted_once_however_many_phases_they_have(recorder):
    for case in ("[a]", "[b]", "[c]"):
        for when in ("setup", "call", "teardown"):
            found = tell(recorder, name=ONE + case, when=when)
    assert found.cases == 3


def test_the_largest_share_of_a_bound_is_kept_by_label(recorder):
    for share in (0.2, 0.7, 0.4):
        found = tell(recorder, when="teardown", properties=[(MARGIN, ("error", share)), (MARGIN, ("step", share / 2))])
    assert found.margins == {"error": 0.7, "step": 0.35}


def test_other_tests_are_none_of_its_business(recorder):
    report = SimpleNamespace(nodeid=ONE, when="call", user_properties=[(MARGIN, ("error", 0.5))], failed=True)
    recorder.pytest_runtest_logreport(report)
    assert recorder.found == {}


def stale(recorder, **outcomes):
    names = {"one": ONE, "two": TWO, "three": THREE}
    recorder.found = {names[key]: Evidence(names[key], value) for key, value in outcomes.items()}
    return [line.partition(" ")[0] for line in recorder.stale()]


def test_a_claim_is_decided_when_all_its_own_tests_ran(recorder):
    recorder.committed = dict.fromkeys(LEDGER.claims, "refuted")
    assert stale(recorder, one="passed") == ["FIRST"]
    assert stale(recorder, one="passed", three="skipped") == ["FIRST"]
    assert stale(recorder, one="passed", three="passed") == ["FIRST", "THIRD"]
    assert stale(recorder, one="passed", two="passed", three="passed") == ["FIRST", "SECOND", "THIRD"]
    assert stale(recorder) == []


def test_a_premise_that_did_not_run_counts_as_committed(recorder):
    assert stale(recorder, two="passed") == []
    recorder.committed = GREEN | {"FIRST": "refuted"}
    assert stale(recorder, two="passed") == ["SECOND"]


def test_a_premise_that_ran_counts_as_it_came_out(recorder):
    assert stale(recorder, one="failed", two="passed") == ["FIRST", "SECOND"]


def test_a_claim_that_the_committed_ledger_lacks_is_stale(recorder):
    recorder.committed = {}
    assert stale(recorder, one="passed") == ["FIRST"]


@pytest.mark.parametrize(
    ("before", "after"), [(pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), (pytest.ExitCode.INTERRUPTED,) * 2]
)
def test_a_changed_verdict_fails_a_session_that_would_pass(recorder, before, after):
    recorder.found = {ONE: Evidence(ONE, "failed")}
    session = SimpleNamespace(exitstatus=before)
    recorder.pytest_sessionfinish(session)
    assert session.exitstatus == after
    assert recorder.changed[0].startswith("FIRST is open (its evidence is broken")


def test_outcomes_of_an_earlier_run_count_where_nothing_has_changed_since(tmp_path):
    out = tmp_path / "outcomes.json"
    write_outcomes(out, {ONE: Evidence(ONE, "passed", cases=3), TWO: Evidence(TWO, "failed")}, "abc")
    assert {name: found.outcome for name, found in earlier_outcomes(out, "abc").items()} == {
        ONE: "passed",
        TWO: "failed",
    }
    assert earlier_outcomes(out, "abd") == {}
    recorder = Recorder(tmp_path, LEDGER, GREEN, out, "abc")
    recorder.found = {TWO: Evidence(TWO, "passed"), THREE: Evidence(THREE, "passed")}
    recorder.pytest_sessionfinish(SimpleNamespace(exitstatus=pytest.ExitCode.OK))
    assert recorder.changed == []
    kept = earlier_outcomes(out, "abc")
    assert {name: found.outcome for name, found in kept.items()} == dict.fromkeys((ONE, TWO, THREE), "passed")
    assert kept[ONE].cases == 3


def committed(tmp_path, **verdicts):
    uses = {"SECOND": ["FIRST"], "THIRD": ["SECOND"]}
    rows = [{"id": name, "verdict": verdict, "uses": uses.get(name, [])} for name, verdict in verdicts.items()]
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps({"claims": rows}))
    return path


@pytest.mark.parametrize("weak", ["refuted", "open"])
@pytest.mark.parametrize("green", ["verified", "verified under assumptions"])
def test_a_committed_ledger_has_no_green_claim_on_a_weak_one(tmp_path, weak, green):
    with pytest.raises(LedgerError, match=f"SECOND is {green}, but its premise FIRST is not"):
        read_committed(committed(tmp_path, FIRST=weak, SECOND=green))
    with pytest.raises(LedgerError, match="its premise FIRST is not"):
        read_committed(committed(tmp_path, SECOND=green))
    whole = {"FIRST": green, "SECOND": green, "THIRD": weak}
    assert read_committed(committed(tmp_path, **whole)) == whole
    assert read_committed(tmp_path / "none.json") == {}
