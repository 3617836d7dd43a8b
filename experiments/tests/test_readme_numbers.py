"""Every number that the README and docs/results.md give of recorded runs stands in the evidence of these."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies.growth.picture import FRACTION
from studies.growth.verdicts import of_kind
from studies.shared.findings import read_findings
from studies.shared.record import RECORDED, RESULTS, read_results
from studies.shared.recorded import TOGETHER, recorded_verdicts, records
from studies.shared.runs import KeptRun, last_read
from studies.training.surge_events import HORIZON

ROOT = Path(__file__).parents[2]
WRITTEN = (ROOT / "README.md").read_text(encoding="utf-8")
README, RESULTS_PAGE = (" ".join(text.split()) for text in (WRITTEN, (ROOT / "docs" / "results.md").read_text("utf-8")))
PAGES = {"README.md": README, "docs/results.md": RESULTS_PAGE}

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
"""Where docs/results.md has a number, and where the evidence of which record has it."""
DECLARED, INSIDE = "growth-confirmation", r"(\d+)% of their length"
CRASHED, NEAR, ENDED = r"^\d+ of (\d+) ", r"^(\d+) of \d+ ", r"; (\d+) of \d+ runs censored"
PROMISED = "no run that outlives its budget"
DECLARED_NUMBERS = [
    (r"of (\d+) critics that crash \d+ are forecast within 10 % at 80 % of", "forecast at 80%", CRASHED),
    (r"critics that crash (\d+) are forecast", "forecast at 80%", NEAR),
    (r"are forecast within (\d+) %", "forecast at 80%", INSIDE),
    (r"and (\d+) within 2 % at 95 %", "forecast at 95%", NEAR),
    (r"and 51 within (\d+) % at 95 %", "forecast at 95%", INSIDE),
    (r"All of the (\d+) that do not crash", PROMISED, r"^\d+ of (\d+) \["),
    (r"All of the (\d+) that do not crash", PROMISED, r"^(\d+) of \d+ \["),
    (r"All of the (\d+) that do not crash", "forecast at 80%", ENDED),
]
"""The same of the declared study, of which the README and docs/results.md speak in the same words."""


def evidence(folder: str, sentence: str) -> str:
    """What a record says; that it follows from the runs is tested in test_recorded.py."""
    single = (RECORDED / folder / RESULTS).is_file()
    verdicts = read_results(RECORDED / folder)[0]["verdicts"] if single else together(folder)
    (found,) = [item for item in verdicts if re.search(sentence, item["sentence"])]
    return found["evidence"]


@cache
def together(folder: str) -> list[dict[str, Any]]:
    """The verdicts of a study that has a record per data set."""
    return recorded_verdicts(RECORDED / folder)


@pytest.mark.parametrize(("said", "folder", "sentence", "measured"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_number_is_that_of_the_record(said, folder, sentence, measured):
    found = re.search(said, RESULTS_PAGE)
    assert found, f"docs/results.md no longer says {said}: change this test with it"
    assert found[1] == re.search(measured, evidence(folder, sentence))[1]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("said", "sentence", "measured"), DECLARED_NUMBERS)
def test_a_number_of_the_declared_study_is_that_of_its_record(page, said, sentence, measured):
    found = re.search(said, PAGES[page])
    assert found, f"{page} no longer says {said}: change this test with it"
    assert found[1] == re.search(measured, evidence(DECLARED, sentence))[1]


@pytest.mark.parametrize("page", PAGES)
def test_the_budget_of_the_declared_study(page):
    said = re.search(r"that do not crash within (\d+) steps", PAGES[page])[1]
    assert int(said) == read_results(RECORDED / DECLARED)[0]["options"]["budget"]


@pytest.mark.parametrize("page", PAGES)
def test_the_share_of_right_alarms(page):
    steps, percent, always = re.search(
        r"within (\d+) steps follows (\d+) % of such readings and (\d+) % of all", PAGES[page]
    ).groups()
    found = re.search(r"precision (0\.\d+) against (0\.\d+) of", evidence("surge", "always on"))
    assert (int(percent), int(always)) == tuple(round(100 * float(number)) for number in found.groups())
    assert int(steps) == HORIZON


def test_the_difference_of_signals_on_the_same_runs():
    said = re.search(r"by (\.\d+) on the same runs", RESULTS_PAGE)[1]
    found = re.search(r"paired by run SEEM less .*? \+(0\.\d+)", evidence("surge-windows", "every simpler signal"))
    assert f"0{said}" == found[1]


def test_false_alarms():
    found = re.search(r"(\d+) of the (\d+) that do not crash had been forecast to", RESULTS_PAGE)
    alarms = evidence("d4rl-v0-windows", f"{TOGETHER}no run that outlives")
    assert found.groups() == re.match(r"(\d+) of (\d+) ", alarms).groups()


def test_seem_where_norms_are_held():
    said = re.search(r"normalised SEEM of (\.\d+)", RESULTS_PAGE)[1]
    _, runs = read_results(RECORDED / "normalisation")
    held = [last_read(run, "normalised") for run in runs if run["arm"] == "norms held"]
    assert f"{np.mean(held):.2f}" == f"0{said}"


def windows() -> list[KeptRun]:
    """The kept runs of the windows, all files together."""
    studies = sorted((RECORDED / "d4rl-v0-windows").glob("*/results.json"))
    return [run for path in studies for run in read_results(path.parent)[1]]


def test_runs_on_windows():
    rows = windows()
    crashed = sum(row["crash_step"] is not None for row in rows)
    found = re.search(r"(\d+) of (\d+) runs crash within (\d+) steps", RESULTS_PAGE)
    budgets = {read_results(path.parent)[0]["options"]["budget"] for path in records(RECORDED / "d4rl-v0-windows")}
    assert tuple(map(int, found.groups())) == (crashed, len(rows), *budgets)
    assert int(re.search(r"of the (\d+) critics on D4RL v0 windows that crash", README)[1]) == crashed
    assert int(re.search(r"of the (\d+) that do not, the one most often", README)[1]) == len(rows) - crashed
    assert {int(re.search(r"forecast to crash within its (\d+) steps", README)[1])} == budgets
    assert int(re.search(r"the median error at (\d+) % of its run", README)[1]) == round(100 * FRACTION)


def test_the_time_of_the_first_command():
    (took,) = [finding.took for finding in read_findings() if finding.folder == "hopper-embedded"]
    assert took == "3 min on two cores"
    assert "three minutes on two cores" in README


def test_what_the_first_command_says_of_its_sentences():
    verdicts = [item["verdict"] for item in read_results(RECORDED / "hopper-embedded")[0]["verdicts"]]
    assert "One sentence is refuted and others are open" in README
    assert verdicts.count("refuted") == 1
    assert verdicts.count("open") > 1


def test_the_critics_of_the_picture():
    _, runs = read_results(RECORDED / DECLARED)
    assert int(re.search(r"and of (\d+) critics\]", README)[1]) == len(of_kind(runs, "plain"))


KNOWN = {
    "2023": "the paper's year",
    "3.11": "pyproject.toml's requires-python",
    "0": "an exit status of readme_test.py; γ of terminal rows",
    "1": "an exit status",
    "2": "an exit status",
    "70": "an exit status",
}
"""Numbers of the README that are of no record."""


def test_the_readme_has_no_number_that_nothing_checks():
    prose = re.sub(r"<!-- claims: .*<!-- end of claims -->|```.*?```", "", WRITTEN, flags=re.DOTALL)
    prose = " ".join(re.sub(r"`[^`]*`|\]\([^)]*\)|arXiv [\d.]+|D4RL v0", "", prose).split())
    checked = {*KNOWN, "80", "95"}  # the shares of a run are part of the patterns
    patterns = [row[0] for row in DECLARED_NUMBERS]
    patterns += [
        r"that do not crash within (\d+) steps",
        r"within (\d+) steps follows (\d+) % of such readings and (\d+) % of all",
        r"of the (\d+) critics on windows that crash",
        r"of the (\d+) that do not, the one most often",
        r"forecast to crash within its (\d+) steps",
        r"the median error at (\d+) % of its run",
        r"and of (\d+) critics",
    ]
    for pattern in patterns:
        checked.update(number for found in re.finditer(pattern, prose) for number in found.groups())
    assert set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", prose)) <= checked
