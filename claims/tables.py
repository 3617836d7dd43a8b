"""The tables of claims: the README's headlines, and all of them in claims/README.md, by topic."""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from claims.evidence import RECORDED
from claims.ledger import CIRCULATED, RECORD, WHOSE, LedgerError
from claims.page import in_markdown, is_needed
from claims.verdicts import VERDICTS

BEGIN, END = "<!-- claims: written by `nox -s claims`, not by hand -->", "<!-- end of claims -->"
HEADLINES = (
    "SIGN-GROWTH",
    "SIGN-POINTWISE",
    "SGD-CRASH-STEP",
    "SGD-FALSE-ALARMS",
    "SURGE-FIRST",
    "SURGE-ALARM",
    "LN-BOUND",
    "LN-PREVENTS",
)
"""The claims of the README: of each part of the theory what holds, and what does not."""
WHOLE = "claims/README.md"
ABOUT = """# Claims

Every sentence of the theory that can be false, by topic; what has failed without a theorem's hypothesis stands under
the theorem (↳). A verdict is computed from tests and recorded runs by `nox -s claims`, which writes this page, and is
never typed. *Verified under assumptions*: all evidence passes, and the claim assumes something; *refuted*: a
counterexample stands; *open*: the evidence cannot decide. Whose sentence it is: *printed* in the paper or its code,
*recalled* from the paper's body, *circulated* in summaries, or *this project*'s.

Each row leads in one step to what it has of formula (a derivation in sympy), code, tests and recorded runs.
`pytest --claim SGD-LAW` runs the tests of one row; `python -m seem cite SGD-LAW` prints what it assumes, what would
refute it and what it rests on. [report.html](report.html), opened in a browser, holds all of that on one page.
[FINDINGS.md](../experiments/FINDINGS.md) counts otherwise: it has each sentence of each study, while a claim may rest
on several of them, or on tests alone. How a claim is added: [the guide](../docs/guides/claims.md).
"""
JUDGED_AGAIN = "experiments/tests/test_recorded.py"
"""The test that judges every recorded run anew."""
Link = Callable[[str, str], str]
"""From a path below the root and a word to a link in Markdown."""


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


def total(ledger: dict[str, Any]) -> str:
    """The counts of all claims in one line."""
    counts = ", ".join(f"{ledger['counts'][verdict]} {verdict}" for verdict in VERDICTS)
    return f"{len(ledger['claims'])} claims: {counts}."


def headlines(ledger: dict[str, Any]) -> str:
    """The README's table: the claims of `HEADLINES`, each linked to its row.

    Raises:
        LedgerError: When the ledger lacks one of them.
    """
    claims = {claim["id"]: claim for claim in ledger["claims"]}
    if missing := [name for name in HEADLINES if name not in claims]:
        raise LedgerError(f"the README's headlines name {missing[0]!r}, which is no claim: correct claims/tables.py")
    lines = ["| claim | whose | verdict |", "|---|---|---|"]
    for claim in (claims[name] for name in HEADLINES):
        name = f"[`{claim['id']}`]({WHOLE}#{claim['id']})"
        lines.append(f"| {name} {in_markdown(claim['statement'])} | {claim['whose']} | {_verdict(claim)} |")
    return "\n".join([*lines, "", f"[All {total(ledger)}]({WHOLE})"])


def from_claims(path: str, word: str) -> str:
    """A link as the page in claims/ has it."""
    return f"[{word}](../{path})"


def whole(ledger: dict[str, Any]) -> str:
    """The page with all claims."""
    return "\n".join([ABOUT, *table(ledger, from_claims), ""])


def table(ledger: dict[str, Any], link: Link) -> Iterator[str]:
    """Counts, the refuted sentences, and a table per topic.

    Args:
        ledger: What ledger.json holds.
        link: Writes the links to derivations, code, tests and records.
    """
    claims = ledger["claims"]
    yield total(ledger)
    yield ""
    yield from (f"- {line}" for line in counted(claims))
    refuted = [claim["id"] for claim in claims if claim["verdict"] == "refuted" and not is_needed(claim)]
    yield f"\nRefuted: {', '.join(f'[{name}](#{name})' for name in refuted)}."
    needed, names = [claim for claim in claims if is_needed(claim)], {claim["id"] for claim in claims}
    topics: dict[str, list[dict[str, Any]]] = {}
    for claim in claims:
        if claim not in needed:
            topics.setdefault(claim["topic"], []).append(claim)
    for topic, own in topics.items():
        yield f"\n## {topic or 'Others'}\n"
        yield "| claim | whose | verdict | follow it |"
        yield "|---|---|---|---|"
        for claim in own:
            yield _row(claim, link, names)
            yield from (_row(below, link, names) for below in needed if below["sharpens"] == claim["id"])


def _row(claim: dict[str, Any], link: Link, names: set[str]) -> str:
    mark = "↳ " if is_needed(claim) else ""
    name = f'<a id="{html.escape(claim["id"])}"></a>{mark}`{claim["id"]}`'
    places = " · ".join(_places(claim, link))
    words = re.split(r"\b([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+)\b", in_markdown(claim["statement"]))
    statement = "".join(f"[{word}](#{word})" if word in names else word for word in words)
    return f"| {name} {statement} | {claim['whose']} | {_verdict(claim)} | {places} |"


def _places(claim: dict[str, Any], link: Link) -> Iterator[str]:
    """Formula, code, tests and runs, each kind once, with a link per file."""
    tests = [item for item in (*claim["supports"], *claim["refutes"]) if not item.startswith(RECORD)]
    runs = [item for item in (*claim["supports"], *claim["refutes"]) if item.startswith(RECORD)]
    files = [test.partition("::")[0] for test in tests] + ([JUDGED_AGAIN] if runs else [])
    folders = [item.removeprefix(RECORD).partition(": ")[0] for item in runs]
    kinds = {
        "formula": [(f"theory/{claim['derivation']}.py", claim["derivation"])] if claim["derivation"] else [],
        "code": [place.partition("::")[::2] for place in claim["implemented_by"]],
        "tests": [(path, path) for path in files],
        "runs": [(f"{RECORDED}/{folder}", folder) for folder in folders],
    }
    for kind, places in kinds.items():
        if places:
            yield f"{kind}: " + ", ".join(link(path, word) for path, word in dict.fromkeys(places))


def _verdict(claim: dict[str, Any]) -> str:
    if claim["broken"]:
        return "**evidence broken**"
    if is_needed(claim):
        return f"needed for [{claim['sharpens']}](#{claim['sharpens']})"
    return "**refuted**" if claim["verdict"] == "refuted" else claim["verdict"]


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
