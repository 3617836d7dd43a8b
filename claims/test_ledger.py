"""The ledger refuses what cannot be trusted, in one sentence that names the remedy."""

import re

import pytest

from claims.ledger import (
    CLAIMS,
    GRADES,
    REFERENCES,
    Claim,
    Ledger,
    LedgerError,
    check_bindings,
    premises,
    read_ledger,
)
from seem import __version__


def read(repository):
    ledger = read_ledger(repository.path(CLAIMS), repository.path(REFERENCES))
    check_bindings(ledger, repository.root)
    return ledger


def test_the_ledger_of_the_project_hangs_together():
    ledger = read_ledger()
    check_bindings(ledger)
    assert len(ledger.claims) >= 50
    assert {claim.grade for claim in ledger.claims.values()} == set(GRADES)


def test_a_whole_ledger_is_read(repository):
    ledger = read(repository)
    assert list(ledger.claims) == ["SUM", "SUM-LARGE", "SUM-ODD"]
    assert premises("SUM-LARGE", ledger) == {"SUM"}
    assert ledger.claims["SUM-LARGE"].cites == ("yue2023",)
    assert ledger.references["yue2023"].startswith("@inproceedings{yue2023,")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "SUM"\n', 'id = "SUM"\nverdict = "verified"\n', "typed verdict"),
        ('id = "SUM"\n', 'id = "SUM"\nweight = 3\n', "unknown key 'weight'"),
        ('id = "SUM"\n', "", "claim '?' lacks a key"),
        ('id = "SUM-ODD"\n', 'id = "SUM"\n', "stands twice"),
        ('grade = "printed"', 'grade = "rumoured"', "has the grade 'rumoured'"),
        ('uses = ["SUM"]', 'uses = ["PRODUCT"]', "uses 'PRODUCT', which is not defined"),
        ('uses = ["SUM"]', 'uses = ["SUM-LARGE"]', "rests on itself"),
        ('assumptions = ["small"]', 'assumptions = ["tiny"]', "assumptions 'tiny', which is not defined"),
        ('assumptions = ["small"]\n', "", "no claim makes the assumption 'small'"),
        ('supports = ["theory/test_sum.py::test_sum"]\n', "", "'SUM' has no evidence"),
        ('["theory/test_sum.py::test_sum"]', '["theory/test_sum.py::test_gone"]', "does not exist"),
        ('["theory/test_sum.py::test_sum"]', '["theory/test_gone.py::test_sum"]', "does not exist"),
        ('["theory/test_sum.py::test_sum"]', '["theory/test_sum.py::test_large"]', "does not carry"),
        (
            '["theory/test_sum.py::test_sum"]',
            '["theory/test_sum.py::test_sum", "theory/test_sum.py::test_sum"]',
            "names the same evidence twice",
        ),
        ('id = "SUM"\n', 'id = "SUM"\nderivation = "sums"\n', "derived in theory/sums.py, which does not exist"),
        ("[[deviation]]", "[[remark]]", "has a table 'remark'"),
        ('statement = "One', 'statement = One', "cannot be read"),
    ],
)  # fmt: skip
def test_a_ledger_that_does_not_hang_together_is_refused(repository, old, new, message):
    repository.edit(CLAIMS, old, new)
    with pytest.raises(LedgerError, match=re.escape(message)):
        read(repository)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('claim("SUM")', 'claim("SUM", "PRODUCT")', "marked with 'PRODUCT', which the ledger does not know"),
        ('claim("SUM")', 'claim("SUM", "SUM-ODD")', "marked with 'SUM-ODD', which does not name it"),
        ('@pytest.mark.claim("SUM")\n', "", 'does not carry @pytest.mark.claim("SUM")'),
    ],
)
def test_a_marker_that_the_ledger_does_not_answer_is_refused(repository, old, new, message):
    repository.edit("theory/test_sum.py", old, new)
    with pytest.raises(LedgerError, match=re.escape(message)):
        read(repository)


def test_a_missing_ledger_is_refused(repository):
    repository.path(CLAIMS).unlink()
    with pytest.raises(LedgerError, match="restore it"):
        read(repository)


def test_the_project_cites_itself_by_its_version():
    assert f"version = {{{__version__}}}" in read_ledger().references["seemverify"]


def circle(*uses):
    """Claims that use each other, by number; each rests on one test."""
    return Ledger(
        {
            name: Claim(
                name, "", "", "derived", "exact", "", uses=used, supports=(f"theory/test_{name}.py::test",), cites=()
            )
            for name, used in uses
        },
        {},
        (),
        {},
    )


def test_premises_are_found_at_any_remove():
    chain = circle(("A", ()), ("B", ("A",)), ("C", ("B", "A")), ("D", ("C",)))
    assert {name: premises(name, chain) for name in "ABCD"} == {
        "A": set(),
        "B": {"A"},
        "C": {"A", "B"},
        "D": {"A", "B", "C"},
    }


def test_a_circle_of_several_premises_is_refused(repository):
    repository.edit(CLAIMS, 'id = "SUM"\n', 'id = "SUM"\nuses = ["SUM-LARGE"]\n')
    with pytest.raises(LedgerError, match="rests on itself"):
        read(repository)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "SUM-ODD"\n', 'id = "SUM-ODD"\nwhose = "nobody"\n', "has whose = 'nobody'"),
        ('id = "SUM-ODD"\n', 'id = "SUM-ODD"\nsharpens = "PRODUCT"\n', "sharpens 'PRODUCT': name a theorem"),
        ('id = "SUM-ODD"\n', 'id = "SUM-ODD"\nsharpens = "SUM-ODD"\n', "sharpens 'SUM-ODD': name a theorem"),
        ('id = "SUM-LARGE"\n', 'id = "SUM-LARGE"\nsharpens = "SUM"\n', "sharpens 'SUM': name a theorem"),
        ('id = "SUM"\n', 'id = "SUM"\nchanged = "first\\nsecond"\n', "say it in one"),
        ('id = "SUM"\n', 'id = "SUM"\nimplemented_by = ["sums.py::add"]\n', "sums.py::add, which does not exist"),
        (
            'id = "SUM"\n',
            'id = "SUM"\nimplemented_by = ["properties_of_sums.py::multiply"]\n',
            "properties_of_sums.py::multiply, which does not exist",
        ),
    ],
)
def test_what_a_claim_says_of_itself_is_checked(repository, old, new, message):
    repository.edit(CLAIMS, old, new)
    with pytest.raises(LedgerError, match=re.escape(message)):
        read(repository)


def test_whose_sentence_a_claim_is_follows_from_its_grade_but_for_summaries(repository):
    repository.edit(CLAIMS, 'id = "SUM-ODD"\n', 'id = "SUM-ODD"\nsharpens = "SUM"\nwhose = "circulated"\n')
    repository.edit(CLAIMS, 'id = "SUM"\n', 'id = "SUM"\nimplemented_by = ["properties_of_sums.py::add"]\n')
    claims = read(repository).claims
    assert [claim.sentence_of for claim in claims.values()] == ["printed", "this project", "circulated"]


def test_every_theorem_and_law_of_the_package_names_what_implements_it():
    claims = read_ledger().claims
    laws = [claim for claim in claims.values() if claim.id.startswith(("SGD-LAW", "HUBER", "LION", "TWIN-BLOCK"))]
    assert all(claim.implemented_by for claim in laws)
    assert sum(bool(claim.implemented_by) for claim in claims.values()) >= 60
