"""`verify_laws.py` as a user runs it: bad input, a quick run of every law, and a law that is refuted."""

import math
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from studies.laws.measurement import Measurement, Start, measured_exponent, steps_within
from studies.laws.study import STUDY, check_sgd
from studies.shared.record import read_results
from studies.shared.study import parse, run_study

from seem.errors import InputError

SCRIPT = Path(__file__).parents[1] / "verify_laws.py"


def call(*options: str) -> int:
    """The command in this process."""
    return run_study(STUDY, parse(STUDY, ["--workers", "1", *options]))


BAD = {
    "depth": (("--depths", "1"), "from 2 to 6"),
    "no depth": (("--depths",), "at least one"),
    "width": (("--width", "1"), "4 to 256"),
    "seed": (("--seeds", "-1"), "from 0 to"),
    "law": (("--laws", "sdg"), "pass sgd, adam"),
    "workers": (("--workers", "0"), "1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path):
    options, remedy = BAD[name]
    out = tmp_path / "out"
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        call("--out", str(out), *options)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_bad_input_exits_with_2(tmp_path):
    arguments = [sys.executable, str(SCRIPT), "--width", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_quick_run_verifies_the_fast_laws(tmp_path, capsys):
    laws = ("sgd", "clipping", "huber", "decay")
    status = call("--quick", "--laws", *laws, "--out", str(tmp_path))
    printed = capsys.readouterr().out.splitlines()
    verdicts = [line.split()[0] for line in printed if line.startswith(("VERIFIED ", "REFUTED ", "OPEN "))]
    results, runs = read_results(tmp_path)
    assert [judged["verdict"].upper() for judged in results["verdicts"]] == verdicts == ["VERIFIED"] * len(laws)
    assert status == 0
    assert {run["law"] for run in runs} >= {"SGD", "SGD, not aligned", "Huber loss"}
    assert (tmp_path / "lines.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in (tmp_path / "results.json").read_text()


ROW = Measurement("law", 2, 0, "exponent", 1.0, 1.05, 0.1, "window", 1.0)


def judge(*measurements):
    return STUDY.judge([asdict(measurement) for measurement in measurements])


def test_verdicts():
    assert [judged.verdict for judged in judge(ROW)] == ["verified"]
    (refuted,) = judge(ROW, replace(ROW, measured=2.0, window="steps 1 to 9"))
    assert refuted.verdict == "refuted"
    assert "steps 1 to 9" in refuted.evidence
    assert [judged.verdict for judged in judge(replace(ROW, measured=math.nan))] == ["open"]
    assert judge(replace(ROW, allowed=math.nan)) == []


def test_a_wrong_law_is_refuted(monkeypatch):
    """Descent judged by the exponent of another depth: the measurement must not follow the prediction."""
    monkeypatch.setattr("studies.laws.descent.SGDLaw.exponent", property(lambda law: 2.0))
    assert judge(*check_sgd(Start(2, 0, 8)))[0].verdict == "refuted"


def test_measured_exponent_of_the_exact_recursion():
    for depth in (2, 3):
        scale = [1.0]
        while scale[-1] < 3:
            scale.append(scale[-1] * (1 + 1e-3 * scale[-1] ** (2 * depth - 2)))
        q = np.array(scale) ** depth
        assert measured_exponent(q, depth, slice(0, len(q) - 1)) == pytest.approx((2 * depth - 2) / depth, rel=1e-9)
    assert math.isnan(measured_exponent(np.array([3.0, 2.0, 1.0, 0.5, 0.2, 0.1]), 2, slice(0, 5)))


def test_windows():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert steps_within(values, 2, 3) == slice(1, 3)
    assert steps_within(values, 9, 10) == slice(3, 4)
