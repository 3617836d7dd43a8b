"""The plugin in real runs of pytest: what it refuses, what it records, and that stale verdicts fail a session."""

import json
from types import SimpleNamespace

import pytest

from claims.evidence import Evidence, fingerprint, read_outcomes
from claims.ledger import CLAIMS, RECORD, ROOT, premises, read_ledger
from claims.plugin import LEDGER, Recorder, read_committed

VERDICTS = {"SUM": "verified", "SUM-LARGE": "verified under assumptions", "SUM-ODD": "refuted"}


def commit(repository, **changed):
    """Write a ledger.json with these verdicts."""
    rows = [
        {"id": name, "verdict": verdict, "uses": ["SUM"] if name == "SUM-LARGE" else []}
        for name, verdict in (VERDICTS | changed).items()
    ]
    repository.path(LEDGER).write_text(json.dumps({"claims": rows}))


def test_a_run_that_confirms_the_ledger_passes(repository):
    commit(repository)
    done = repository.pytest("-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "red"),
    [
        ("properties_of_sums.py", "a + b", "a + b + (a > 50)", "SUM-LARGE is open (its evidence is broken"),
        ("theory/test_sum.py", "== 4", "== 5", "SUM-ODD is open (its evidence is broken"),
        ("experiments/recorded/SHA256SUMS", "baird/results.json", "baird/gone.json", "SUM-LARGE is open"),
    ],
)
def test_broken_evidence_turns_its_row_red_and_fails_the_session(repository, name, old, new, red):
    commit(repository)
    repository.edit(name, old, new)
    done = repository.pytest("-q")
    assert done.returncode == 1
    assert red in done.stdout
    changed = done.stdout.partition("claims whose verdict changed")[2]
    assert "SUM is" not in changed


def test_a_deleted_record_fails_the_session_though_every_test_passes(repository):
    commit(repository)
    repository.path("experiments/recorded/baird/results.json").unlink()
    done = repository.pytest("-q")
    assert "4 passed" in done.stdout
    assert done.returncode == 1
    assert "baird/results.json is missing" in done.stdout


def test_a_ledger_that_says_something_else_fails_the_session(repository):
    commit(repository, **{"SUM-ODD": "open"})
    done = repository.pytest("-q")
    assert done.returncode == 1
    assert "SUM-ODD is refuted" in done.stdout
    assert "in the ledger it is open" in done.stdout


def test_a_part_of_the_tests_decides_only_its_own_claims(repository):
    commit(repository, **{"SUM-ODD": "open", "SUM-LARGE": "open"})
    assert repository.pytest("-q", "theory/test_sum.py::test_sum").returncode == 0


SUMS_OF_SUMS = """
[[claim]]
id = "SUM-OF-SUMS"
statement = "So are sums of sums."
source = "arithmetic"
grade = "derived"
kind = "exact"
uses = ["SUM-LARGE"]
falsifier = "another sum"
supports = ["theory/test_sums.py::test_sum_of_sums"]
"""
TEST_OF_SUMS = """
import pytest


@pytest.mark.claim("SUM-OF-SUMS")
def test_sum_of_sums():
    assert 1 + 1 + 1 == 3
"""


@pytest.mark.parametrize(("verdict", "status"), [("verified", 0), ("open", 1), ("refuted", 1)])
def test_a_claim_is_judged_though_its_premises_did_not_run(repository, verdict, status):
    claims = repository.path(CLAIMS)
    claims.write_text(claims.read_text() + SUMS_OF_SUMS)
    repository.path("theory/test_sums.py").write_text(TEST_OF_SUMS)
    commit(repository, **{"SUM-OF-SUMS": verdict})
    done = repository.pytest("-q", "theory/test_sums.py")
    assert "1 passed" in done.stdout
    assert done.returncode == status, done.stdout


def run_of(folder, **broken):
    """What a run of one folder's tests says of the real ledger, all passed but those that are broken."""
    ledger = read_ledger()
    names = [name for claim in ledger.claims.values() for name in claim.evidence if name.startswith(folder)]
    recorder = Recorder(ROOT, ledger, read_committed(ROOT / LEDGER), None, "")
    recorder.found = {name: Evidence(name, broken.get(name, "passed")) for name in names}
    session = SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    recorder.pytest_sessionfinish(session)
    return recorder, session


@pytest.mark.parametrize("folder", ["properties/", "theory/", "reference/"])
def test_a_run_of_one_folder_judges_the_claims_whose_premises_are_elsewhere(folder):
    recorder, session = run_of(folder)
    assert (recorder.changed, session.exitstatus) == ([], pytest.ExitCode.OK)
    claims, ran = recorder.ledger.claims, recorder.found.keys()
    tests = {name: {test for test in claim.evidence if not test.startswith(RECORD)} for name, claim in claims.items()}
    decided = [name for name, own in tests.items() if own and own <= ran]
    elsewhere = [name for name in decided if any(not tests[used] <= ran for used in premises(name, recorder.ledger))]
    assert elsewhere or folder == "reference/"
    for name in elsewhere:
        for outcome in ("failed", "broken"):
            recorder, session = run_of(folder, **{min(tests[name]): outcome})
            assert any(line.startswith(f"{name} is open (its evidence is broken") for line in recorder.changed)
            assert session.exitstatus == pytest.ExitCode.TESTS_FAILED


def test_a_green_claim_with_a_premise_that_is_not_is_refused(repository):
    commit(repository, SUM="open")
    done = repository.pytest("-q")
    assert done.returncode == 4
    assert "SUM-LARGE is verified under assumptions, but its premise SUM is not" in done.stderr


def test_a_ledger_that_does_not_hang_together_is_refused_before_collection(repository):
    repository.edit(CLAIMS, 'id = "SUM"\n', 'id = "SUM"\nverdict = "verified"\n')
    done = repository.pytest("-q")
    assert done.returncode == 4
    assert "typed verdict" in done.stderr
    assert "passed" not in done.stdout


def test_outcomes_are_written_with_their_cases_under_several_processes(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "new" / "outcomes.json"
    commit(repository)
    assert repository.pytest("-q", "-n", "2", "--claim-outcomes", str(out)).returncode == 0
    made_from, outcomes = read_outcomes(out)
    assert made_from == fingerprint(repository.root)
    assert {name: (found.outcome, found.cases) for name, found in outcomes.items()} == {
        "theory/test_sum.py::test_sum": ("passed", 2),
        "theory/test_sum.py::test_large": ("passed", 1),
        "theory/test_sum.py::test_an_even_sum": ("passed", 1),
    }


def test_runs_of_parts_that_keep_their_outcomes_together_decide_what_none_decides_alone(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "outcomes.json"
    repository.edit(
        CLAIMS, '["theory/test_sum.py::test_sum"]', '["theory/test_sum.py::test_sum", "theory/test_two.py::test_two"]'
    )
    repository.path("theory/test_two.py").write_text(
        TEST_OF_SUMS.replace("SUM-OF-SUMS", "SUM").replace("sum_of_sums", "two")
    )
    commit(repository, SUM="open", **{"SUM-LARGE": "open"})
    assert repository.pytest("-q", "theory/test_two.py", "--claim-outcomes", str(out)).returncode == 0
    done = repository.pytest("-q", "theory/test_sum.py::test_sum", "--claim-outcomes", str(out))
    assert done.returncode == 1
    assert "SUM is verified" in done.stdout
    repository.edit("properties_of_sums.py", "a + b", "b + a")
    assert repository.pytest("-q", "theory/test_sum.py::test_sum", "--claim-outcomes", str(out)).returncode == 0


def test_the_fingerprint_follows_every_source_and_no_output(repository):
    before = fingerprint(repository.root)
    commit(repository)
    assert fingerprint(repository.root) == before
    repository.edit("properties_of_sums.py", "a + b", "b + a")
    assert fingerprint(repository.root) != before


def test_one_claim_chooses_its_tests(repository):
    commit(repository)
    done = repository.pytest("-q", "--claim", "SUM")
    assert "2 passed" in done.stdout
    assert "deselected" not in done.stdout
    done = repository.pytest("-q", "--claim", "SUM", "theory")
    assert "2 passed, 2 deselected" in done.stdout
    done = repository.pytest("-q", "--claim", "PRODUCT")
    assert done.returncode == 4
    assert "there is no claim 'PRODUCT'" in done.stderr


def test_one_claim_collects_no_other_file(repository):
    commit(repository)
    repository.path("theory/test_broken.py").write_text("raise RuntimeError")
    assert repository.pytest("-q", "--claim", "SUM").returncode == 0
    assert repository.pytest("-q", "theory").returncode == 2


def test_a_claim_of_records_alone_names_the_test_that_judges_them(repository):
    repository.edit(CLAIMS, '"theory/test_sum.py::test_large", ', "")
    repository.edit("theory/test_sum.py", '@pytest.mark.claim("SUM-LARGE")\n', "")
    commit(repository)
    done = repository.pytest("-q", "--claim", "SUM-LARGE")
    assert done.returncode == 4
    assert "pytest experiments/tests/test_recorded.py" in done.stderr


def test_outcomes_that_are_missing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nox -s claims"):
        read_outcomes(tmp_path / "none.json")


def test_the_committed_ledger_is_of_the_whole_project():
    rows = json.loads((ROOT / LEDGER).read_text(encoding="utf-8"))["claims"]
    assert not [row["id"] for row in rows if row["broken"]]
