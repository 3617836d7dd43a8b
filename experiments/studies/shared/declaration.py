"""What a study declares in a file of its own: seeds, arms, thresholds, statistics, falsifiers, and when it was written.

A declaration lies beside its study, ``studies/FAMILY/NAME.toml``. Its hash is in every record that was made by it, so
that a threshold cannot move after a look at the runs without being seen.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from seem.errors import InputError
from seem.records import canonical_json, digest

STUDIES = Path(__file__).parents[1]
REGISTER, COMMON = (Path(__file__).with_name(name) for name in ("seeds.toml", "thresholds.toml"))
SHARED_THRESHOLDS: dict[str, float] = tomllib.loads(COMMON.read_text(encoding="utf-8"))
"""Thresholds that several studies have; part of every declaration's hash."""
WRITTEN = ("before the runs", "after the runs")


@dataclass(frozen=True)
class Declaration:
    """A study's declaration as it is read.

    Attributes:
        study: Name of the study.
        question: What it asks.
        written: "before the runs", or "after the runs" for records that are older than declarations.
        date: When it was written.
        seeds: Seeds of the study's runs; all are reported.
        arms: Names of its arms.
        thresholds: Every number that a verdict hangs on, by name.
        verdicts: The sentences that are judged, each with its statistic and its falsifier; `looked_at` names the
            records that had been looked at when a sentence was added or its test made easier.
        content: All of that as plain values, for its hash.
    """

    study: str
    question: str
    written: str
    date: date
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    thresholds: dict[str, Any]
    verdicts: tuple[dict[str, Any], ...]
    content: dict[str, Any]

    def sha256(self, arms: Sequence[Any]) -> str:
        """The hash of what is declared, the configurations of its arms included.

        Args:
            arms: The study's arms: dataclasses, names, or tuples of these.
        """
        return digest(canonical_json([self.content, [described(arm) for arm in arms]]))

    def covers(self, sentence: str) -> bool:
        """Whether a sentence is one of those declared; words in braces stand for any words."""
        return any(_pattern(verdict["sentence"]).fullmatch(sentence) for verdict in self.verdicts)

    def looked_at(self, sentence: str) -> tuple[str, ...]:
        """The records that a sentence, or its test, was chosen on: they can refute it and cannot verify it."""
        own = (verdict for verdict in self.verdicts if _pattern(verdict["sentence"]).fullmatch(sentence))
        return tuple(next(own, {}).get("looked_at", ()))

    @property
    def in_words(self) -> str:
        """One line for people: a declaration written after the runs declared nothing."""
        return f"declaration of the study {self.study}: written {self.written}, {self.date}"


def described(value: Any) -> Any:
    """A configuration by what differs from the defaults of its kind, so that a new option leaves old hashes alone.

    Args:
        value: A dataclass, a sequence, or a plain value.
    """
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != f.default}
        return {"kind": type(value).__name__} | {name: described(own) for name, own in changed.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    return value


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(sentence)))


@cache
def read_declaration(study: str) -> Declaration:
    """The declaration of a study, checked against the register of seeds.

    Args:
        study: Its name.

    Raises:
        InputError: When there is none, or it cannot be trusted as it is written.
    """
    found = sorted(STUDIES.glob(f"*/{study.replace('-', '_')}.toml"))
    if not found:
        raise InputError(f"there is no study {study!r}: choose one of {', '.join(declared_studies())}")
    return parse_declaration(found[0].read_text(encoding="utf-8"), found[0].name, study)


def declared_studies() -> list[str]:
    """The names of all studies that have a declaration."""
    return sorted(path.stem.replace("_", "-") for path in STUDIES.glob("*/*.toml") if path.parent.name != "shared")


def parse_declaration(text: str, name: str, study: str) -> Declaration:
    """A declaration from its text.

    Args:
        text: TOML.
        name: What the file is called.
        study: Which study it must be of.

    Raises:
        InputError: Naming what is missing or wrong.
    """
    try:
        content = tomllib.loads(text)
        plain = content | {"date": content["date"].isoformat(), "shared_thresholds": SHARED_THRESHOLDS}
        verdicts = tuple(content["verdict"])
        declared = Declaration(
            study=content["study"],
            question=content["question"],
            written=content["written"],
            date=content["date"],
            seeds=tuple(content["seeds"]),
            arms=tuple(content["arms"]),
            thresholds=content.get("thresholds", {}),
            verdicts=verdicts,
            content=plain,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name} is no declaration ({type(error).__name__}: {error}): mend or restore it") from error
    if declared.study != study:
        raise InputError(f"{name} declares the study {declared.study!r}, not {study!r}: rename one of them")
    if declared.written not in WRITTEN:
        raise InputError(f"{name} was written {declared.written!r}: say {' or '.join(WRITTEN)}")
    if any(set(verdict) - {"looked_at"} != {"sentence", "statistic", "falsifier"} for verdict in verdicts):
        raise InputError(f"{name} has a verdict without sentence, statistic and falsifier: declare all three")
    if not verdicts:
        raise InputError(f"{name} declares no sentence with its statistic and falsifier: declare what is judged")
    if declared.written == WRITTEN[0] and any("looked_at" in verdict for verdict in verdicts):
        raise InputError(
            f"{name} was written before its runs, which nothing can have been looked at of: drop looked_at"
        )
    _check_seeds(declared, name)
    return declared


def _check_seeds(declared: Declaration, name: str) -> None:
    blocks = tomllib.loads(REGISTER.read_text(encoding="utf-8"))["block"]
    owners = {seed: block["studies"] for block in blocks for seed in range(block["first"], block["last"] + 1)}
    if len(set(declared.seeds)) < len(declared.seeds):
        raise InputError(f"{name} declares a seed twice: a run that is counted twice is no evidence")
    for seed in declared.seeds:
        if seed not in owners:
            raise InputError(f"{name} declares seed {seed}, which {REGISTER.name} does not have: register it first")
        if declared.written == WRITTEN[0] and declared.study not in owners[seed]:
            raise InputError(
                f"{name} was written before its runs, but the block of seed {seed} in {REGISTER.name} is not of the "
                f"study {declared.study}: take seeds of a block of its own"
            )
