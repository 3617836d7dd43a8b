"""What a claim of the theory rests on: verdict, source, evidence and references, from the computed ledger."""

import difflib
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seem.errors import InputError

_INSTALLED = Path(__file__).with_name("ledger.json")
LEDGER = _INSTALLED if _INSTALLED.exists() else Path(__file__).parents[2] / "claims" / "ledger.json"
"""The ledger with its verdicts: shipped with an installed package, in claims/ of a clone."""


def describe_claim(name: str, ledger: Path = LEDGER) -> str:
    """A claim with verdict, source and grade, premises, derivation, implementation, evidence, and BibTeX.

    Args:
        name: Its id, in any case.
        ledger: A ledger.json as ``nox -s claims`` writes it.

    Returns:
        Plain text of several lines.

    Raises:
        InputError: When there is no such claim, or the ledger is missing or damaged.
    """
    try:
        content = json.loads(ledger.read_text(encoding="utf-8"))
        claims = {claim["id"]: claim for claim in content["claims"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{ledger} holds no ledger of claims: run `nox -s claims` in a clone to write it") from None
    if name.upper() not in claims:
        near = difflib.get_close_matches(name.upper(), claims, 3, cutoff=0) or sorted(claims)[:3]
        raise InputError(f"there is no claim {name!r}: did you mean {', '.join(near)}?")
    return "\n".join(_describe(claims[name.upper()], content))


def _describe(claim: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    yield from textwrap.wrap(f"{claim['id']}: {claim['statement']}", 100)
    yield ""
    yield from _item("verdict", claim["verdict"] + (" (its evidence is broken)" if claim["broken"] else ""))
    yield from _item("because", claim["reason"] or "all its evidence passes")
    yield from _item("source", f"{claim['source']} ({claim['grade']})")
    yield from _item("refuted by", claim["falsifier"])
    statements = {assumption["id"]: assumption["statement"] for assumption in content["assumptions"]}
    for assumption in claim["assumptions"]:
        yield from _item("assumes", statements[assumption])
    verdicts = {other["id"]: other["verdict"] for other in content["claims"]}
    for used in claim["uses"]:
        yield from _item("uses", f"{used} ({verdicts[used]})")
    if claim["derivation"]:
        yield from _item("derived in", f"theory/{claim['derivation']}.py")
    for place in claim["implemented_by"]:
        yield from _item("code", place)
    for evidence in claim["evidence"]:
        side = "for it" if evidence["name"] in claim["supports"] else "against it"
        yield from _item(side, f"{evidence['name']}: {evidence['outcome']}")
    yield ""
    for key in dict.fromkeys((*claim["cites"], "seemverify")):
        yield content["references"][key]


def _item(label: str, text: str) -> list[str]:
    return textwrap.wrap(f"{label:12}{text}", 100, subsequent_indent=" " * 12, break_on_hyphens=False)
