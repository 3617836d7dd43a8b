"""Conformal intervals of the step of leaving: quantiles by hand, coverage by simulation, and damaged files."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from seem.calibration import Calibration, Kind, calibrate, kind_of
from seem.dynamics import Training
from seem.errors import InputError


def test_quantiles_by_hand():
    kind = Kind(tuple((float(index),) for index in range(1, 10)))
    assert kind.multiples(0.8) == (1.0, 9.0)
    assert kind.multiples(0.6) == (2.0, 8.0)
    assert kind.multiples(0.9) == (0.0, math.inf)  # nine runs hold no 5 %
    assert Kind().multiples(0.5) == (0.0, math.inf)
    # A run's forecasts share its weight: four of the first are as one of the second.
    shared = Kind(((1.0, 1.0, 1.0, 1.0), (2.0,), (3.0,)))
    assert shared.multiples(0.5) == (1.0, 3.0)
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="level"):
            kind.multiples(level)


@pytest.mark.parametrize(("runs", "level"), [(19, 0.9), (30, 0.9), (40, 0.5)])
def test_coverage_of_new_runs_is_the_level_or_more(runs, level):
    """One forecast a run, and several: over 4,000 records the mean coverage is within 3 of its standard errors."""
    generator = np.random.default_rng(0)
    for several in (1, 3):
        hits = []
        for _ in range(4000):
            center = generator.lognormal(0, 0.3, runs + 1)
            ratios = center[:, None] * generator.lognormal(0, 0.1, (runs + 1, several))
            low, high = Kind(tuple(tuple(map(float, run)) for run in ratios[:-1])).multiples(level)
            hits.append(np.mean((low <= ratios[-1]) & (ratios[-1] <= high)))
        slack = 3 * np.std(hits) / math.sqrt(len(hits))
        assert level - slack <= np.mean(hits) <= level + 2 / (runs + 1) + slack


def test_runs_are_added_by_what_became_of_them(tmp_path):
    empty = Calibration(source="seeds 30 to 39")
    left = empty.with_run("a", [(10, 110.0), (50, math.inf), (60, 100.0), (120, 130.0)], left_at=90)
    assert left.kinds["a"] == Kind(((0.8, 0.75),))
    stayed = left.with_run("a", [(10, 200.0)], left_at=None).with_run("a", [(10, math.inf)], left_at=None)
    assert stayed.kinds["a"] == Kind(((0.8, 0.75),), fell_back=1)
    assert stayed.kinds["a"].runs == 2
    assert empty.with_run("b", [(10, math.inf)], left_at=5).kinds == {}
    stayed.write(tmp_path / "calibration.json")
    again = Calibration.read(tmp_path / "calibration.json")
    assert again == stayed


def test_a_recorded_run_gives_its_forecasts_that_count():
    made = [(0, 0.5), (10, 2.0), (20, 50.0), (30, 99.0), (40, 150.0)]
    lines = [SimpleNamespace(step=step, mean_abs_q=size, leaves_at=step + 10.0) for step, size in made]
    sizes = [*np.linspace(0.5, 99, 35), 101.0, math.nan]
    assert calibrate(lines, sizes, bound=100) == ([(20, 30.0), (30, 40.0)], 35)
    assert calibrate(lines[:4], sizes[:35], bound=100) == ([(20, 30.0), (30, 40.0)], None)
    assert calibrate(lines[:3], [1.0, math.nan], bound=100) == ([], 1)


def test_kinds_of_training():
    parameters = [nn.Parameter(torch.ones(1))]
    momentum = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(parameters)
    assert kind_of(Training(discount=0.9, lr=0.1)) == "SGD, copied targets"
    assert kind_of(Training(discount=0.9, optimizer=momentum, targets=0.1)) == "SGD with momentum, averaged targets"
    assert kind_of(Training(discount=0.9, optimizer=[adam, adam], targets="frozen")) == "Adam, frozen targets"


DAMAGED = {
    "no JSON": "{",
    "another format": json.dumps({"format": 2, "source": "", "kinds": {}}),
    "no kinds": json.dumps({"format": 1, "source": ""}),
    "a ratio of 0": json.dumps({"format": 1, "source": "", "kinds": {"a": {"fell_back": 0, "ratios": [[0.0]]}}}),
    "an empty run": json.dumps({"format": 1, "source": "", "kinds": {"a": {"fell_back": 0, "ratios": [[]]}}}),
    "a negative count": json.dumps({"format": 1, "source": "", "kinds": {"a": {"fell_back": -1, "ratios": []}}}),
    "a list": "[]",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(DAMAGED[name])
    with pytest.raises(InputError, match="no record of calibration"):
        Calibration.read(path)
    with pytest.raises(InputError, match="cannot read"):
        Calibration.read(tmp_path / "absent.json")
