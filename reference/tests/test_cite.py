"""What a claim rests on, as it is printed."""

import json
import subprocess
import sys

import pytest

from seem.cite import LEDGER, describe_claim
from seem.errors import InputError

CONTENT = {
    "claims": [
        {
            "id": "SUM",
            "statement": "One and one are two.",
            "source": "arithmetic",
            "grade": "printed",
            "falsifier": "another sum",
            "assumptions": ["small"],
            "uses": ["SUM"],
            "cites": ["peano"],
            "derivation": "addition",
            "implemented_by": ["reference/seem/sums.py::add", "reference/seem/sums.py::Adder"],
            "verdict": "verified under assumptions",
            "reason": "",
            "broken": "",
            "supports": ["theory/test_sum.py::test_sum"],
            "evidence": [
                {"name": "theory/test_sum.py::test_sum", "outcome": "passed"},
                {"name": "record star: it is round", "outcome": "open"},
            ],
        }
    ],
    "assumptions": [{"id": "small", "statement": "The numbers are small."}],
    "references": {"peano": "@book{peano,\n}", "seemverify": "@software{seemverify,\n}"},
}


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(CONTENT))
    return path


def test_everything_that_a_claim_rests_on_is_printed(ledger):
    assert describe_claim("sum", ledger).splitlines() == [
        "SUM: One and one are two.",
        "",
        "verdict     verified under assumptions",
        "because     all its evidence passes",
        "source      arithmetic (printed)",
        "refuted by  another sum",
        "assumes     The numbers are small.",
        "uses        SUM (verified under assumptions)",
        "derived in  theory/addition.py",
        "code        reference/seem/sums.py::add",
        "code        reference/seem/sums.py::Adder",
        "for it      theory/test_sum.py::test_sum: passed",
        "against it  record star: it is round: open",
        "",
        "@book{peano,",
        "}",
        "@software{seemverify,",
        "}",
    ]


def test_a_claim_without_derivation_and_implementation_says_nothing_of_them(ledger):
    claim = CONTENT["claims"][0] | {"derivation": "", "implemented_by": []}
    ledger.write_text(json.dumps(CONTENT | {"claims": [claim]}))
    assert not [line for line in describe_claim("sum", ledger).splitlines() if line.startswith(("derived", "code"))]


def test_broken_evidence_is_said(ledger):
    ledger.write_text(ledger.read_text().replace('"broken": ""', '"broken": "failed"'))
    assert "(its evidence is broken)" in describe_claim("SUM", ledger)


def test_an_unknown_claim_names_the_nearest(ledger):
    with pytest.raises(InputError, match="did you mean SUM"):
        describe_claim("SUMS", ledger)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_ledger_that_is_missing_or_damaged_is_refused(tmp_path, content):
    path = tmp_path / "ledger.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="nox -s claims"):
        describe_claim("SUM", path)


def test_every_claim_of_the_project_can_be_cited():
    for claim in json.loads(LEDGER.read_text(encoding="utf-8"))["claims"]:
        assert "@software{seemverify" in describe_claim(claim["id"])


def test_the_command_line(ledger):
    command = [sys.executable, "-m", "seem", "cite"]
    done = subprocess.run([*command, "SUM", "--ledger", str(ledger)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SUM: One and one are two.")
    done = subprocess.run([*command, "PRODUCT", "--ledger", str(ledger)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no claim 'PRODUCT'" in done.stderr
