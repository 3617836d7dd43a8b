"""The ledger as it is written: claims, assumptions, deviations and references, checked when read.

A verdict is never part of it: `claims.verdicts` computes verdicts from evidence.
"""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLAIMS, REFERENCES = "claims/claims.toml", "claims/references.bib"
"""Where the ledger is written, below the root of a repository."""
GRADES = ("printed", "recalled", "derived")
WHOSE = {"printed": "printed", "recalled": "recalled", "derived": "this project"}
"""Whose sentence a claim of a grade is: the paper's own words, the paper's as remembered, or this project's."""
CIRCULATED = "circulated"
"""Whose: a summary that circulates, which is neither the paper's nor this project's."""
KINDS = ("exact", "asymptotic", "statistical", "empirical")
RECORD = "record "
"""What evidence from a recorded run begins with; everything else is a test."""
TEST_FOLDERS = ("theory", "properties", "reference", "experiments")


class LedgerError(ValueError):
    """A ledger that cannot be trusted as it is written; the message names the remedy."""


@dataclass(frozen=True)
class Assumption:
    """A hypothesis that claims share.

    Attributes:
        id: Its name.
        statement: What is assumed.
    """

    id: str
    statement: str


@dataclass(frozen=True)
class Deviation:
    """Where paper, authors' code and this project differ.

    Attributes:
        topic: In what.
        paper: What the paper does.
        code: What the authors' public code does.
        here: What this project does.
    """

    topic: str
    paper: str
    code: str
    here: str


@dataclass(frozen=True)
class Claim:
    """One falsifiable sentence.

    Attributes:
        id: Its name, in capitals.
        statement: The sentence.
        source: Where it is from.
        grade: "printed", "recalled" or "derived".
        kind: "exact", "asymptotic", "statistical" or "empirical".
        falsifier: What would refute it.
        assumptions: Names of the assumptions it needs.
        uses: Claims that must hold for this one to hold.
        supports: Evidence that must pass for it to hold.
        refutes: Counterexamples: where one of them passes, the claim is false.
        derivation: The module of theory/ that derives it, empty without one.
        cites: Keys of references.bib.
        whose: "circulated" for a sentence of a summary; else it follows from the grade, see `sentence_of`.
        implemented_by: What of the package does what it says, ``path::name``.
        sharpens: The claim of which it is the sentence without a hypothesis, so that its counterexample shows that the
            hypothesis is needed and refutes nobody; empty for others.
        changed: Why its sentence or its verdict last changed, in one line.
    """

    id: str
    statement: str
    source: str
    grade: str
    kind: str
    falsifier: str
    assumptions: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    supports: tuple[str, ...] = ()
    refutes: tuple[str, ...] = ()
    derivation: str = ""
    cites: tuple[str, ...] = ("yue2023",)
    whose: str = ""
    implemented_by: tuple[str, ...] = ()
    sharpens: str = ""
    changed: str = ""

    @property
    def sentence_of(self) -> str:
        """Whose sentence it is: "printed", "recalled", "circulated" or "this project"."""
        return self.whose or WHOSE[self.grade]

    @property
    def evidence(self) -> tuple[str, ...]:
        """All that bears on it."""
        return self.supports + self.refutes


@dataclass(frozen=True)
class Ledger:
    """What claims.toml and references.bib hold.

    Attributes:
        claims: By id, in the order of the file.
        assumptions: By id.
        deviations: In the order of the file.
        references: BibTeX entries by key.
        topics: The heading under which each claim is written, by its id.
    """

    claims: Mapping[str, Claim]
    assumptions: Mapping[str, Assumption]
    deviations: tuple[Deviation, ...]
    references: Mapping[str, str]
    topics: Mapping[str, str] = field(default_factory=dict)


def read_ledger(claims: Path = ROOT / CLAIMS, references: Path = ROOT / REFERENCES) -> Ledger:
    """Read the ledger and refuse one that does not hang together.

    Raises:
        LedgerError: On an unknown or missing key (a verdict among them), a name that is used twice or not defined, a
            claim without evidence or with a circle among its premises.
    """
    try:
        text = claims.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LedgerError(f"{claims.name} cannot be read ({error}): restore it or repair that line") from None
    if unknown := raw.keys() - {"claim", "assumption", "deviation"}:
        raise LedgerError(f"{claims.name} has a table {min(unknown)!r}: use claim, assumption or deviation")
    entries = re.finditer(r"@\w+\{([^,]+),\n.*?\n\}", references.read_text(encoding="utf-8"), re.DOTALL)
    ledger = Ledger(
        claims=_by_id(_read(Claim, entry) for entry in raw.get("claim", [])),
        assumptions=_by_id(_read(Assumption, entry) for entry in raw.get("assumption", [])),
        deviations=tuple(_read(Deviation, entry) for entry in raw.get("deviation", [])),
        references={entry[1]: entry[0] for entry in entries},
        topics=dict(_topics(text)),
    )
    for claim in ledger.claims.values():
        _check(claim, ledger)
    if idle := ledger.assumptions.keys() - {name for claim in ledger.claims.values() for name in claim.assumptions}:
        raise LedgerError(f"no claim makes the assumption {min(idle)!r}: delete it")
    return ledger


def _topics(text: str) -> Iterator[tuple[str, str]]:
    """Each claim's id with the last heading above it, a comment between lines of dashes."""
    heading = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"# -{4} (.+?) -+", line):
            heading = found[1]
        elif found := re.fullmatch(r'id = "([^"]+)"', line):
            yield found[1], heading


def _read(kind: type, entry: Mapping[str, Any]) -> Any:
    name = f"{kind.__name__.lower()} {entry.get('id', entry.get('topic', '?'))!r}"
    if "verdict" in entry:
        raise LedgerError(f"{name} has a typed verdict: delete it, verdicts are computed from evidence")
    if unknown := entry.keys() - {field.name for field in fields(kind)}:
        raise LedgerError(f"{name} has an unknown key {min(unknown)!r}: delete it or correct its spelling")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
    except TypeError as error:
        raise LedgerError(f"{name} lacks a key ({error}): add it") from None


def _by_id(entries: Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        if entry.id in found:
            raise LedgerError(f"{entry.id!r} stands twice in the ledger: rename or delete one of them")
        found[entry.id] = entry
    return found


def _check(claim: Claim, ledger: Ledger) -> None:
    for key, allowed in (("grade", GRADES), ("kind", KINDS)):
        if getattr(claim, key) not in allowed:
            raise LedgerError(f"claim {claim.id!r} has the {key} {getattr(claim, key)!r}: use {', '.join(allowed)}")
    for key, known in (("assumptions", ledger.assumptions), ("uses", ledger.claims), ("cites", ledger.references)):
        if missing := [name for name in getattr(claim, key) if name not in known]:
            raise LedgerError(f"claim {claim.id!r} {key} {missing[0]!r}, which is not defined: define or correct it")
    if not claim.evidence:
        raise LedgerError(f"claim {claim.id!r} has no evidence: name a test or a recorded run, or delete the claim")
    if len(set(claim.evidence)) < len(claim.evidence):
        raise LedgerError(f"claim {claim.id!r} names the same evidence twice: delete one of them")
    if claim.whose not in ("", CIRCULATED):
        raise LedgerError(
            f"claim {claim.id!r} has whose = {claim.whose!r}: use {CIRCULATED!r}, or leave it to the grade"
        )
    theorem = ledger.claims.get(claim.sharpens)
    if claim.sharpens and (theorem is None or theorem.sharpens or claim.supports):
        raise LedgerError(
            f"claim {claim.id!r} sharpens {claim.sharpens!r}: name a theorem, and counterexamples under `refutes`"
        )
    if "\n" in claim.changed:
        raise LedgerError(f"claim {claim.id!r} says in several lines why it changed: say it in one")
    if claim.id in premises(claim.id, ledger):
        raise LedgerError(f"claim {claim.id!r} rests on itself: break the circle among its premises")


def premises(name: str, ledger: Ledger) -> set[str]:
    """All claims that a claim rests on, at any remove."""
    found: set[str] = set()
    waiting = list(ledger.claims[name].uses)
    while waiting:
        used = waiting.pop()
        if used not in found and used in ledger.claims:
            found.add(used)
            waiting += ledger.claims[used].uses
    return found


def check_bindings(ledger: Ledger, root: Path = ROOT) -> None:
    """Refuse a ledger and tests that do not name each other.

    Every test that a claim names must exist and carry the claim's marker, and every marker must name a claim that
    names the test.

    Raises:
        LedgerError: Naming the first claim or test that is wrong.
    """
    marked = {
        f"{path.relative_to(root).as_posix()}::{function}": ids
        for folder in TEST_FOLDERS
        for path in sorted((root / folder).rglob("test_*.py"))
        for function, ids in marks(path).items()
    }
    for claim in ledger.claims.values():
        if claim.derivation and not (root / "theory" / f"{claim.derivation}.py").is_file():
            raise LedgerError(f"claim {claim.id!r} is derived in theory/{claim.derivation}.py, which does not exist")
        for place in claim.implemented_by:
            path, _, name = place.partition("::")
            if not (root / path).is_file() or name not in definitions(root / path):
                raise LedgerError(f"claim {claim.id!r} is implemented by {place}, which does not exist: correct it")
        for test in claim.evidence:
            if test.startswith(RECORD):
                continue
            path, _, function = test.partition("::")
            if not (root / path).is_file() or function not in functions(root / path):
                raise LedgerError(f"claim {claim.id!r} names {test}, which does not exist: correct or delete it")
            if claim.id not in marked.get(test, ()):
                raise LedgerError(f'{test} does not carry @pytest.mark.claim("{claim.id}"): add it, the claim names it')
    for test, ids in marked.items():
        for name in ids:
            if name not in ledger.claims:
                raise LedgerError(f"{test} is marked with {name!r}, which the ledger does not know: correct it")
            if test not in ledger.claims[name].evidence:
                raise LedgerError(f"{test} is marked with {name!r}, which does not name it: add it or unmark the test")


@cache
def _definitions(path: Path, _changed: float) -> dict[str, tuple[str, ...]]:
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            decorators = [call for call in node.decorator_list if isinstance(call, ast.Call)]
            claims = [call for call in decorators if ast.unparse(call.func) == "pytest.mark.claim"]
            found[node.name] = tuple(ast.literal_eval(argument) for call in claims for argument in call.args)
    return found


def functions(path: Path) -> dict[str, tuple[str, ...]]:
    """The functions of a file, with the claims that their markers name."""
    return _definitions(path, path.stat().st_mtime)


def definitions(path: Path) -> set[str]:
    """The names of a file's functions and classes."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def marks(path: Path) -> dict[str, tuple[str, ...]]:
    """Those of them that are marked."""
    if "mark.claim" not in path.read_text(encoding="utf-8"):
        return {}
    return {name: ids for name, ids in functions(path).items() if ids}
