"""Every number that the README gives of recorded runs stands in the evidence that follows from them."""

import re
from pathlib import Path

import numpy as np
import pytest
from studies.shared.record import RECORDED, read_results
from studies.shared.recorded import TOGETHER, recorded_verdicts
from studies.shared.runs import last_read

README = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())

TEN, ERROR = "hopper-embedded-ten-seeds", r"\|error\| ([\d.]+)%"
WINDOWS, ABOVE_ZERO = "hopper-windows-ten-seeds", "if and only if .* above zero"
NUMBERS = [
    (r"at 80 % of the run the median error is ([\d.]+) %", "hopper-embedded", "forecast at 80%", ERROR),
    (r"at 95 % it is ([\d.]+) %", "hopper-embedded", "forecast at 95%", ERROR),
    (r"median errors are ([\d.]+) %", TEN, "forecast at 80%", ERROR),
    (r"median errors are \S+ % and ([\d.]+) %", TEN, "forecast at 95%", ERROR),
    (r"\((\d+) critics, \d+ of them censored", TEN, "forecast at 80%", r"of (\d+) runs censored"),
    (r"critics, (\d+) of them censored", TEN, "forecast at 80%", r"; (\d+) of \d+ runs censored"),
    (r"and in (\d+) of \d+ SEEM rises first", "surge", "rises above a tenth", r"^(\d+) of \d+ diverging"),
    (r"and in \d+ of (\d+) SEEM rises first", "surge", "rises above a tenth", r"^\d+ of (\d+) diverging"),
    (r"by (\d+) steps in the median", "surge", "rises above a tenth", r"median lead (\d+) steps"),
    (r"(\d+) of \d+ runs agree", "discount", ABOVE_ZERO, r"(\d+) of \d+ runs agree"),
    (r"\d+ of (\d+) runs agree", "discount", ABOVE_ZERO, r"\d+ of (\d+) runs agree"),
    (r"in (\d+) of \d+ critics of hopper", "surge-windows", "rises above a tenth", r"^(\d+) of \d+ diverging"),
    (r"in \d+ of (\d+) critics of hopper", "surge-windows", "rises above a tenth", r"^\d+ of (\d+) diverging"),
    (r"of the (\d+) runs of the discount", "discount-windows", ABOVE_ZERO, r"\d+ of (\d+) runs agree"),
    (r"runs of the discount (\d+) agree", "discount-windows", ABOVE_ZERO, r"(\d+) of \d+ runs agree"),
    (r"\((\d+) more critics", WINDOWS, "forecast at 80%", r"of (\d+) runs censored"),
    (r"more critics, (\d+) of them censored", WINDOWS, "forecast at 80%", r"; (\d+) of \d+ runs censored"),
    (r"is off by ([\d.]+) %", WINDOWS, "forecast at 80%", ERROR),
    (r"is off by \S+ % and ([\d.]+) %", WINDOWS, "forecast at 95%", ERROR),
]  # fmt: skip
"""Where the README has a number, and where the evidence of which record has it."""


def evidence(folder: str, sentence: str) -> str:
    (found,) = [item for item in recorded_verdicts(RECORDED / folder) if re.search(sentence, item["sentence"])]
    return found["evidence"]


@pytest.mark.parametrize(("said", "folder", "sentence", "measured"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_number_is_that_of_the_record(said, folder, sentence, measured):
    found = re.search(said, README)
    assert found, f"the README no longer says {said}: change this test with it"
    assert found[1] == re.search(measured, evidence(folder, sentence))[1]


def test_the_share_of_right_alarms():
    percent, always = re.search(
        r"within 100 steps follows (\d+) % of such readings and (\d+) % of all", README
    ).groups()
    found = re.search(r"precision (0\.\d+) against (0\.\d+) of", evidence("surge", "always on"))
    assert (int(percent), int(always)) == tuple(round(100 * float(number)) for number in found.groups())


def test_the_difference_of_signals_on_the_same_runs():
    said = re.search(r"by (\.\d+) on the same runs", README)[1]
    found = re.search(r"paired by run SEEM less .*? \+(0\.\d+)", evidence("surge-windows", "every simpler signal"))
    assert f"0{said}" == found[1]


def test_false_alarms():
    found = re.search(r"(\d+) of the (\d+) that do not crash had been forecast to", README)
    alarms = evidence("d4rl-v0-windows", f"{TOGETHER}no run that outlives")
    assert found.groups() == re.match(r"(\d+) of (\d+) ", alarms).groups()


def test_seem_where_norms_are_held():
    said = re.search(r"normalised SEEM of (\.\d+)", README)[1]
    _, runs = read_results(RECORDED / "normalisation")
    held = [last_read(run, "normalised") for run in runs if run["arm"] == "norms held"]
    assert f"{np.mean(held):.2f}" == f"0{said}"


def test_errors_on_windows():
    found = re.search(r"(\d+) of (\d+) runs crash within 400 steps", README)
    studies = sorted((RECORDED / "d4rl-v0-windows").glob("*/results.json"))
    rows = [run for path in studies for run in read_results(path.parent)[1]]
    assert (int(found[1]), int(found[2])) == (sum(row["crash_step"] is not None for row in rows), len(rows))
