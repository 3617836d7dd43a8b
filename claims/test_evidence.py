"""What a record says becomes evidence: verdicts word by word, and whatever is wrong with it."""

import pytest
from studies.shared import recorded

from claims.evidence import read_records
from claims.ledger import Claim, Ledger
from seem.errors import InputError


def ledger(*names):
    claim = Claim("MAIN", "It holds.", "here", "derived", "empirical", "that not", supports=names)
    return Ledger({"MAIN": claim}, {}, (), {})


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Verdicts, and what is wrong, by folder."""
    verdicts, wrong = {}, {}

    def judged(folder):
        found = verdicts[folder.name]
        if isinstance(found, Exception):
            raise found
        return [{"sentence": s, "verdict": v, "evidence": f"{s} {v}"} for s, v in found.items()]

    monkeypatch.setattr(recorded, "damage", lambda folder: wrong.get(folder.name, ""))
    monkeypatch.setattr(recorded, "recorded_verdicts", judged)

    def read(*names, **folders):
        verdicts.update(folders)
        wrong.update({name: f"{name} is missing" for name in folders if folders[name] is None})
        return {name: (item.outcome, item.detail) for name, item in read_records(ledger(*names), tmp_path).items()}

    return read


def test_a_verified_record_passes_a_refuted_one_fails_and_an_open_one_is_open(records):
    found = records("record a: x", "record a: y", "record b: z", a={"x": "verified", "y": "refuted"}, b={"z": "open"})
    assert found == {
        "record a: x": ("passed", "x verified"),
        "record a: y": ("failed", "y refuted"),
        "record b: z": ("open", "z open"),
    }


def test_a_sentence_with_a_colon_is_one_sentence(records):
    assert records("record a: hopper: it grows", a={"hopper: it grows": "verified"}) == {
        "record a: hopper: it grows": ("passed", "hopper: it grows verified")
    }


def test_a_sentence_that_the_record_lacks_is_broken(records):
    found = records("record a: x", "record a: absent", a={"x": "verified"})
    assert [outcome for outcome, _ in found.values()] == ["broken", "passed"]


def test_a_damaged_folder_breaks_all_that_rests_on_it_and_nothing_else(records):
    found = records("record a: x", "record a: y", "record b: z", a=None, b={"z": "verified"})
    assert found == {
        "record a: x": ("broken", "a is missing"),
        "record a: y": ("broken", "a is missing"),
        "record b: z": ("passed", "z verified"),
    }


@pytest.mark.parametrize("error", [InputError("numbers moved"), KeyError("numbers moved"), ValueError("numbers moved")])
def test_a_record_that_does_not_follow_from_its_numbers_is_broken(records, error):
    assert records("record a: x", a=error)["record a: x"] == ("broken", str(error))
