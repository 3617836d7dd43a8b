"""Canonical JSON: one text for one value, and the value comes back.

Hypotheses of the way back: keys are texts, no value is one of the texts "inf", "-inf" and "nan", and numbers that
JSON lacks stand in objects, not in lists: so records are written. What happens without is at the end.
"""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from seem.files import NON_FINITE, canonical_json, digest, parse_json
from seem.records import append_line, read_lines, write_lines

texts = st.text(max_size=5).filter(lambda text: text not in NON_FINITE)  # all but three texts
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
special = st.sampled_from((math.inf, -math.inf, math.nan))


def nested(values: st.SearchStrategy) -> st.SearchStrategy:
    """Objects and lists of values; numbers that JSON lacks in objects only."""
    return st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values | special, max_size=3)


values = st.recursive(plain, nested, max_leaves=8)
objects = st.dictionaries(st.text(max_size=4), values | special, max_size=4)


def exact(value: Any) -> Any:
    """The value with its types: 1, 1.0 and True differ, so do 0.0 and -0.0, and nan equals nan."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return type(value).__name__, repr(value)


def reordered(value: Any, reverse: bool) -> Any:
    """The value with the keys of every object in another order."""
    if isinstance(value, dict):
        items = [(key, reordered(item, reverse)) for key, item in value.items()]
        return dict(reversed(items) if reverse else sorted(items, key=lambda item: item[0][::-1]))
    return [reordered(item, reverse) for item in value] if isinstance(value, list) else value


@given(value=objects)
def test_an_object_comes_back_as_it_was(value):
    text = canonical_json(value)
    assert exact(parse_json(text)) == exact(value)
    assert text.isascii(), "so that a torn file is never torn inside a character"
    assert "\n" not in text
    json.loads(text, parse_constant=pytest.fail)  # strict JSON has no NaN and no Infinity


@given(value=objects, reverse=st.booleans())
def test_the_order_of_keys_does_not_matter(value, reverse):
    other = reordered(value, reverse)
    event("another order" if list(other) != list(value) else "the same order")
    assert canonical_json(other) == canonical_json(value)


@given(first=objects, second=objects)
def test_different_values_have_different_texts(first, second):
    assert (canonical_json(first) == canonical_json(second)) == (exact(first) == exact(second))


@dataclass(frozen=True)
class Inner:
    """A dataclass with a tuple."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    """A dataclass in a dataclass."""

    name: str
    inner: Inner


@given(name=texts, numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3))
def test_a_dataclass_is_the_object_of_its_fields(name, numbers):
    expected = {"name": name, "inner": {"values": numbers}}
    assert canonical_json(Outer(name, Inner(tuple(numbers)))) == canonical_json(expected)
    assert digest(canonical_json(Outer(name, Inner(tuple(numbers))))) == digest(canonical_json(expected))


@given(lines=st.lists(objects, max_size=4), data=st.data())
def test_lines_torn_at_any_byte_leave_the_whole_lines_before(lines, data):
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):  # nothing waits for the disk
        path = Path(folder) / "lines.jsonl"
        write_lines(path, lines)
        whole = path.read_bytes()
        left = data.draw(st.integers(0, len(whole)), label="bytes left")
        path.write_bytes(whole[:left])
        found = read_lines(path)
        assert exact(found) == exact(lines[: whole[:left].count(b"\n")])
        write_lines(path, found)  # as a resumed run does
        for line in lines[len(found) :]:
            append_line(path, line)
        assert path.read_bytes() == whole


DROPPED = {
    "no text of a number": ({"x": "nan"}, {"x": math.nan}),
    "no infinity in a list": ({"x": [math.inf]}, {"x": ["inf"]}),
    "keys are texts": ({1: None}, {"1": None}),
}


@pytest.mark.parametrize("hypothesis", DROPPED)
def test_without_its_hypothesis_another_value_comes_back(hypothesis):
    value, back = DROPPED[hypothesis]
    assert exact(parse_json(canonical_json(value))) == exact(back) != exact(value)
