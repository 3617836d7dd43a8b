"""What follows from evidence, piece by piece, on claims made up for it."""

import pytest

from claims.evidence import Evidence
from claims.ledger import Assumption, Claim, Ledger
from claims.verdicts import VERDICTS, Row, compute, margin

ONE, TWO, SEEN, HEARD = "theory/test_a.py::test_one", "theory/test_a.py::test_two", "record a: seen", "record b: heard"


def claim(name="MAIN", **fields) -> Claim:
    words = {"statement": "It holds.", "source": "here", "grade": "derived", "kind": "exact", "falsifier": "that not"}
    return Claim(name, **words | {key: tuple(value) for key, value in fields.items()})


def rows(*claims, settled=None, **outcomes):
    """The rows of a ledger of these claims, from outcomes of the four pieces of evidence."""
    names = {"one": ONE, "two": TWO, "seen": SEEN, "heard": HEARD}
    evidence = {names[key]: Evidence(names[key], value) for key, value in outcomes.items()}
    assumed = {name: Assumption(name, "so be it") for each in claims for name in each.assumptions}
    return compute(Ledger({each.id: each for each in claims}, assumed, (), {}), evidence, settled)


def verdict(*claims, **outcomes):
    return rows(*claims, **outcomes)["MAIN"].verdict


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("passed", "skipped", "refuted"),
        ("skipped", "passed", "refuted"),
        ("passed", "passed", "refuted"),
        ("skipped", "skipped", "open"),
        ("passed", "failed", "open"),
    ],
)
def test_one_counterexample_of_several_is_enough(one, two, expected):
    assert verdict(claim(refutes=(ONE, TWO)), one=one, two=two) == expected


@pytest.mark.parametrize(
    ("seen", "heard", "expected"),
    [
        ("failed", "passed", "refuted"),
        ("passed", "failed", "refuted"),
        ("failed", "open", "refuted"),
        ("failed", "broken", "open"),
        ("passed", "open", "open"),
        ("passed", "passed", "verified"),
    ],
)
def test_one_record_of_several_that_speaks_against_it_is_enough(seen, heard, expected):
    assert verdict(claim(supports=(SEEN, HEARD)), seen=seen, heard=heard) == expected


def test_a_counterexample_outweighs_all_that_supports_it_and_all_that_is_missing():
    both = claim(supports=(ONE, SEEN), refutes=(TWO,))
    assert verdict(both, one="passed", seen="passed", two="passed") == "refuted"
    assert verdict(both, one="skipped", seen="open", two="passed") == "refuted"
    assert verdict(claim(supports=(SEEN,), refutes=(HEARD,)), seen="passed", heard="passed") == "refuted"


@pytest.mark.parametrize("outcome", ["failed", "open", "skipped"])
def test_a_record_that_does_not_refute_verifies_nothing(outcome):
    assert verdict(claim(supports=(ONE,), refutes=(SEEN,)), one="passed", seen=outcome) == "open"


@pytest.mark.parametrize(("outcome", "evidence"), [("failed", ONE), ("broken", ONE), ("broken", SEEN)])
@pytest.mark.parametrize("side", ["supports", "refutes"])
def test_evidence_that_cannot_be_trusted_breaks_the_row(side, outcome, evidence):
    found = compute(
        Ledger({"MAIN": claim(**{side: (evidence,)})}, {}, (), {}), {evidence: Evidence(evidence, outcome, "bent")}
    )["MAIN"]
    assert (found.verdict, evidence in found.broken, "bent" in found.broken) == ("open", True, True)


def test_what_is_wrong_is_told_as_a_failure_or_as_it_is():
    evidence = {ONE: Evidence(ONE, "failed", "1 == 2"), SEEN: Evidence(SEEN, "broken", "it is missing")}
    found = compute(Ledger({"MAIN": claim(supports=(ONE, SEEN))}, {}, (), {}), evidence)["MAIN"]
    assert found.broken == f"{ONE} failed: 1 == 2; {SEEN} (it is missing)"
    assert found.reason == f"its evidence is broken: {found.broken}"


def test_a_broken_piece_is_told_though_a_counterexample_stands():
    found = rows(claim(refutes=(ONE, TWO)), one="passed", two="failed")["MAIN"]
    assert (found.verdict, TWO in found.broken, ONE in found.broken) == ("open", True, False)


def test_what_refutes_is_the_reason_with_its_numbers():
    evidence = {SEEN: Evidence(SEEN, "failed", "3 of 9"), ONE: Evidence(ONE, "passed")}
    found = compute(Ledger({"MAIN": claim(supports=(ONE, SEEN))}, {}, (), {}), evidence)["MAIN"]
    assert found.reason == "a: seen (3 of 9)"
    evidence = {SEEN: Evidence(SEEN, "failed", "3 of 9"), HEARD: Evidence(HEARD, "failed")}
    found = compute(Ledger({"MAIN": claim(supports=(HEARD, SEEN))}, {}, (), {}), evidence)["MAIN"]
    assert found.reason == "b: heard; a: seen (3 of 9)"


@pytest.mark.parametrize(
    ("premise", "outcome", "expected"),
    [
        ({"supports": (ONE,)}, "passed", "verified"),
        ({"supports": (ONE,), "assumptions": ("small",)}, "passed", "verified"),
        ({"supports": (ONE,)}, "skipped", "open"),
        ({"supports": (ONE,)}, "failed", "open"),
        ({"refutes": (ONE,)}, "passed", "open"),
    ],
)
def test_a_claim_is_no_better_than_its_premise(premise, outcome, expected):
    main = claim(supports=(TWO,), uses=("FIRST", "LAST"))
    for name, other in (("FIRST", "LAST"), ("LAST", "FIRST")):
        ledger = (claim(name, **premise), claim(other, supports=(TWO,)), main)
        assert verdict(*ledger, one=outcome, two="passed") == expected


def test_a_premise_at_any_remove_counts():
    chain = (claim("FAR", refutes=(ONE,)), claim("NEAR", supports=(TWO,), uses=("FAR",)))
    found = rows(*chain, claim(supports=(TWO,), uses=("NEAR",)), one="passed", two="passed")
    assert [row.verdict for row in found.values()] == ["refuted", "open", "open"]
    assert found["MAIN"].reason == "it uses NEAR, which is open"


def test_its_own_counterexample_comes_before_a_weak_premise():
    used = claim("USED", supports=(ONE,))
    assert verdict(used, claim(refutes=(TWO,), uses=("USED",)), one="skipped", two="passed") == "refuted"


def test_its_own_assumptions_decide_under_which_it_is_verified():
    used = claim("USED", supports=(ONE,), assumptions=("small",))
    assert verdict(used, claim(supports=(TWO,), uses=("USED",)), one="passed", two="passed") == "verified"
    found = verdict(claim(supports=(TWO,), assumptions=("small",)), two="passed")
    assert found == "verified under assumptions"


@pytest.mark.parametrize("settled", VERDICTS)
def test_a_settled_verdict_stands_whatever_its_evidence_says(settled):
    found = rows(
        claim("USED", supports=(ONE,)),
        claim(supports=(TWO,), uses=("USED",)),
        settled={"USED": settled},
        one="failed",
        two="passed",
    )
    expected = "verified" if settled.startswith("verified") else "open"
    assert (found["USED"].verdict, found["MAIN"].verdict) == (settled, expected)
    assert found["USED"] == Row(claim("USED", supports=(ONE,)), settled, "as in an earlier run", "", ())


def test_the_narrowest_margin_is_the_largest_share_of_all_tests_and_numbers_are_those_of_records():
    pieces = (
        Evidence(ONE, "passed", "a remark", margins={"wide": 0.01, "near": 0.2}),
        Evidence(SEEN, "passed", "7 of 9"),
        Evidence(TWO, "passed", margins={"nearest": 0.91}),
        Evidence(HEARD, "passed"),
    )
    assert margin(pieces) == "nearest: at most 0.91; 7 of 9"
    assert margin(pieces[:1]) == "near: at most 0.2"
    assert margin(()) == ""
