"""From evidence to verdicts.

A claim is

- **refuted** when a counterexample stands: a test under ``refutes`` passes, or a record speaks against it;
- **verified**, or **verified under assumptions** where it has some, when all that supports it passes and every claim
  that it uses is verified too;
- **open** otherwise: evidence is missing or inconclusive, or a premise is not verified.

A row is *broken*, and shown red, when evidence can no longer be trusted: a test fails, or a record is missing, was
changed, or does not follow from its numbers. What the claim would be without that evidence is not guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from claims.evidence import Evidence
from claims.ledger import RECORD, Claim, Ledger

Verdict = Literal["verified", "verified under assumptions", "refuted", "open"]
VERIFIED = ("verified", "verified under assumptions")
VERDICTS: tuple[Verdict, ...] = ("refuted", "open", "verified under assumptions", "verified")
"""In the order of the report: what is false comes first."""


@dataclass(frozen=True)
class Row:
    """One claim with its verdict.

    Attributes:
        claim: The claim.
        verdict: What follows from the evidence.
        reason: What decides: the counterexample, what is missing, or the narrowest margin.
        broken: What is wrong with the evidence; empty when it can be trusted.
        evidence: Everything that bears on the claim, in its order, supports first.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    broken: str
    evidence: tuple[Evidence, ...]


def compute(
    ledger: Ledger, evidence: Mapping[str, Evidence], settled: Mapping[str, Verdict] | None = None
) -> dict[str, Row]:
    """The verdict of every claim, in the order of the ledger.

    Args:
        ledger: What is claimed.
        evidence: By name; what is not there was not run.
        settled: Verdicts that are taken as they are, by claim: those of an earlier run.
    """
    rows: dict[str, Row] = {}

    def row(name: str) -> Row:
        if name not in rows:
            claim = ledger.claims[name]
            if settled and name in settled:
                rows[name] = Row(claim, settled[name], "as in an earlier run", "", ())
            else:
                rows[name] = _judge(claim, evidence, {used: row(used) for used in claim.uses})
        return rows[name]

    return {name: row(name) for name in ledger.claims}


def _judge(claim: Claim, evidence: Mapping[str, Evidence], premises: Mapping[str, Row]) -> Row:
    supports, refutes = (
        [evidence.get(name) or Evidence(name, "skipped", "not run") for name in names]
        for names in (claim.supports, claim.refutes)
    )
    both = (*supports, *refutes)
    if broken := [item for item in both if _is_broken(item)]:
        what = "; ".join(f"{item.name} {_complaint(item)}" for item in broken)
        return Row(claim, "open", f"its evidence is broken: {what}", what, both)
    against = [item for item in refutes if item.outcome == "passed"]
    against += [item for item in supports if item.outcome == "failed"]
    if against:
        return Row(claim, "refuted", _reason(against), "", both)
    if missing := [item for item in both if item.outcome in ("skipped", "open")]:
        reason = "; ".join(f"{item.name}: {item.detail or item.outcome}" for item in missing)
        return Row(claim, "open", reason, "", both)
    if refutes:
        # A counterexample that no longer stands, and is no failing test, is a record that says the opposite.
        return Row(claim, "open", f"its counterexample does not stand: {_reason(refutes)}", "", both)
    if weak := [name for name, premise in premises.items() if premise.verdict not in VERIFIED]:
        reason = "; ".join(f"it uses {name}, which is {premises[name].verdict}" for name in weak)
        return Row(claim, "open", reason, "", both)
    return Row(claim, VERIFIED[bool(claim.assumptions)], margin(both), "", both)


def _is_broken(item: Evidence) -> bool:
    return item.outcome == "broken" or (item.outcome == "failed" and not item.name.startswith(RECORD))


def _complaint(item: Evidence) -> str:
    return f"failed: {item.detail}" if item.outcome == "failed" else f"({item.detail})"


def _reason(items: list[Evidence]) -> str:
    return "; ".join(f"{item.name.removeprefix(RECORD)}{f' ({item.detail})' if item.detail else ''}" for item in items)


def margin(items: tuple[Evidence, ...]) -> str:
    """The narrowest margin of some evidence in words: shares of bounds that tests met, numbers of records."""
    said = [narrow] if (narrow := narrowest(items)) else []
    return "; ".join(said + [item.detail for item in items if item.name.startswith(RECORD) and item.detail])


def narrowest(items: tuple[Evidence, ...]) -> str:
    """The largest share of its bound that a test met, in words; empty where none reports one."""
    shares = [(share, label) for item in items for label, share in item.margins.items()]
    return next((f"{label}: at most {share:.2g}" for share, label in sorted(shares, reverse=True)), "")
