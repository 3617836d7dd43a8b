"""The worked examples as a user runs them: bad input, quick runs, and wrong constants that must be noticed."""

import copy
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from studies.baird import star as baird_star
from studies.baird import verdicts as baird_verdicts
from studies.kernel_map import kernels as ntk_map
from studies.kernel_map import verdicts as ntk_map_verdicts
from studies.maze import training as toy_maze
from studies.maze import verdicts as toy_maze_verdicts
from studies.shared.record import RECORDED, read_results
from studies.shared.registry import find_study
from studies.shared.study import parse, run_study

from seem.errors import InputError
from seem.networks import MLP
from seem.ntk import gram_by_jacobians

FOLDER = Path(__file__).parents[1]
SCRIPTS = ("toy_maze", "baird", "ntk_map")
BAD = {
    "maze, no seed": ("toy_maze", ("--seeds",), "--seeds is empty: pass at least one"),
    "maze, seed": ("toy_maze", ("--seeds", "-1"), "from 0 to"),
    "maze, discount": ("toy_maze", ("--discounts", "1"), "below 1"),
    "maze, budget": ("toy_maze", ("--budget", "9"), "from 400 to"),
    "baird, no step": ("baird", ("--steps",), "--steps is empty: pass at least one"),
    "baird, seed": ("baird", ("--seeds", "-1"), "from 0 to"),
    "baird, step": ("baird", ("--steps", "0.2"), "of at least 0.001 and up to 0.13"),
    "baird, edge": ("baird", ("--discounts", "0.976"), "further than 0.004"),
    "baird, discount": ("baird", ("--discounts", "nan"), "of at least 0 and up to 1"),
    "map, no reference": ("ntk_map", ("--references",), "--references is empty: pass at least one"),
    "map, seed": ("ntk_map", ("--seeds", "-1"), "from 0 to"),
    "map, origin": ("ntk_map", ("--references", "0", "0"), "off the origin"),
    "map, width": ("ntk_map", ("--width", "8"), "from 16 to 20000"),
    "map, points": ("ntk_map", ("--points", "1"), "from 5 to 101"),
}


def call(script: str, *options: str) -> int:
    """A command in this process."""
    study = find_study(script.replace("_", "-"))
    return run_study(study, parse(study, ["--workers", "1", *options]))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path):
    script, options, remedy = BAD[name]
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        call(script, "--out", str(tmp_path / "out"), *options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_bad_input_exits_with_2(script, tmp_path):
    path = FOLDER / f"verify_{script}.py"
    arguments = [sys.executable, str(path), "--seeds", "-1", "--out", str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_quick_run_prints_what_it_records(script, tmp_path, capsys):
    status = call(script, "--quick", "--out", str(tmp_path))
    printed = capsys.readouterr().out.splitlines()
    verdicts = [line.split()[0] for line in printed if line.startswith(("VERIFIED ", "REFUTED ", "OPEN "))]
    text = (tmp_path / "results.json").read_text()
    results = json.loads(text)
    assert [judged["verdict"].upper() for judged in results["verdicts"]] == verdicts
    # Whether the greedy actions settle is refuted by the full run; three crashes may say either. They are too few for
    # an interval of a power, a share of forecasts, or a test of pairs.
    few = ("settle", "linear near", "forecasts the crash", "LayerNorm prevents")
    words = {judged["sentence"]: judged["verdict"] for judged in results["verdicts"]}
    assert {word for name, word in words.items() if not any(part in name for part in few)} == {"verified"}
    assert "refuted" not in {word for name, word in words.items() if "settle" not in name}
    assert status == 0
    assert printed[-1] == "no record of this declaration, these options and these data"
    assert (tmp_path / f"{script}.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in text


@pytest.fixture(scope="module")
def recorded():
    """The recorded runs of every example."""
    return {script: read_results(RECORDED / script.replace("_", "-"))[1] for script in SCRIPTS}


WRONG = {
    "golden value": ("toy_maze", toy_maze_verdicts, "GOLDEN", {**toy_maze_verdicts.GOLDEN, 300: 0.0071}, "printed run"),
    "golden crash": ("toy_maze", toy_maze_verdicts, "GOLDEN_CRASH", 312, "printed run"),
    "golden change": ("toy_maze", toy_maze_verdicts, "GOLDEN_CHANGE", 119, "printed run"),
    "depth of the law": ("toy_maze", toy_maze_verdicts, "DEPTH", 3, "linear near the crash"),
    "step-size threshold": (
        "baird",
        baird_verdicts,
        "threshold",
        lambda step: (15 - 25 * step) / (17 - 25 * step),
        "finite",
    ),
    "limit threshold": ("baird", baird_verdicts, "LIMIT_THRESHOLD", 0.8824, "as η → 0"),
    "eigenvalues": (
        "baird",
        baird_verdicts,
        "leading",
        lambda discount: complex(17 * discount - 15, 1),
        "exactly 1 + ηλ_max",
    ),
    "window": ("baird", baird_verdicts, "WINDOW", (0.42909, 0.985), "nowhere else"),
    "limit of saturation": ("ntk_map", ntk_map_verdicts, "SATURATED", 0.9, "with LayerNorm"),
    "order of growth": ("ntk_map", ntk_map_verdicts, "LINEAR", (80.0, 120.0), "grows linearly"),
}


def of_kind(runs: list, kind: str) -> list:
    return [run for run in runs if run["kind"] == kind]


def verdict_of(script: str, runs: list, words: str) -> str:
    """The verdict of the one sentence that holds some words."""
    judge = find_study(script.replace("_", "-")).judge
    (judged,) = (judged for judged in judge(runs) if words in judged.sentence)
    return judged.verdict


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_constant_is_refuted(name, recorded, monkeypatch):
    script, module, constant, value, words = WRONG[name]
    assert verdict_of(script, recorded[script], words) == "verified"
    monkeypatch.setattr(module, constant, value)
    assert verdict_of(script, recorded[script], words) == "refuted"


def test_a_run_that_should_not_crash_is_noticed(recorded):
    runs = copy.deepcopy(recorded["toy_maze"])
    layer = next(row for row in of_kind(runs, "run") if row["normalisation"] == "layer")
    layer["crash_step"] = 500
    assert verdict_of("toy_maze", runs, "LayerNorm") == "refuted"
    crashed = next(
        row for row in of_kind(runs, "run") if row["crash_step"] and toy_maze_verdicts.kind_of(row) == "plain"
    )
    crashed["end"]["normalised"] = -0.1
    crashed["mechanism"] = "unexplained"
    assert verdict_of("toy_maze", runs, "before every crash") == "refuted"
    assert verdict_of("toy_maze", runs, "mechanism") == "refuted"


def crashed_maze(recorded):
    """The printed run, and its crashed runs, to be changed."""
    runs = copy.deepcopy(recorded["toy_maze"])
    plain = [row for row in of_kind(runs, "run") if toy_maze_verdicts.kind_of(row) == "plain"]
    return runs, [row for row in plain if row["crash_step"] is not None]


def test_the_mazes_power_is_judged_by_its_interval(recorded):
    runs, crashed = crashed_maze(recorded)
    powers = [row["exponent"] for row in crashed]
    for number, row in enumerate(crashed):
        row["exponent"] = 1.3 if number else 1.0
    assert verdict_of("toy_maze", runs, "linear near") == "refuted", "the best run is no evidence"
    for number, (row, power) in enumerate(zip(crashed, powers, strict=True)):
        row["exponent"] = (power or 1.0) + (0.8 if number % 2 else -0.8)
    assert verdict_of("toy_maze", runs, "linear near") == "open", "a median inside and an interval that is not"
    crashed[0]["exponent"] = math.nan
    assert verdict_of("toy_maze", runs, "linear near") == "open"
    runs, crashed = crashed_maze(recorded)
    for row in crashed:
        row["trajectory_seed"] = 0
    assert verdict_of("toy_maze", runs, "linear near") == "open", "one seed many times is one seed"


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "verified"), (9, "open"), (10, "open"), (19, "refuted")])
def test_the_mazes_forecast_is_judged_by_how_many_are_inside(recorded, wrong, verdict):
    runs, crashed = crashed_maze(recorded)
    for number, row in enumerate(crashed):
        row["errors"]["0.8"] = {"law": 0.5 if number < wrong else -0.01, "discrete": 0.0}
    assert len(crashed) == 19
    assert verdict_of("toy_maze", runs, "forecasts the crash") == verdict
    for row in crashed[:15]:
        row["errors"]["0.8"] = None
    assert verdict_of("toy_maze", runs, "forecasts the crash") in ("open", "refuted"), "no forecast is outside"


def test_a_maze_that_reads_no_number_counts_against_the_claim(recorded):
    runs, crashed = crashed_maze(recorded)
    crashed[0]["end"]["normalised"] = math.nan
    assert verdict_of("toy_maze", runs, "before every crash") == "refuted"
    crashed[0]["mechanism"] = None
    assert verdict_of("toy_maze", runs, "mechanism") == "refuted"


def test_few_mazes_prevent_nothing(recorded):
    runs = recorded["toy_maze"]
    layer = [row for row in of_kind(runs, "run") if row["normalisation"] == "layer"]
    others = [row for row in runs if row not in layer]
    gone = {(row["trajectory_seed"], row["discount"]) for row in crashed_maze(recorded)[1]}
    pairs = [row for row in layer if (row["trajectory_seed"], row["discount"]) in gone]
    assert verdict_of("toy_maze", [*others, *pairs[:4]], "LayerNorm") == "open"
    assert verdict_of("toy_maze", [*others, *pairs[:5]], "LayerNorm") == "verified"


def test_a_due_crash_leaves_the_criterion_open(recorded):
    runs = copy.deepcopy(recorded["toy_maze"])
    censored = next(row for row in of_kind(runs, "run") if not row["crash_step"])
    censored["end"]["rate"] = 0.1
    assert verdict_of("toy_maze", runs, "before every crash") == "open"


def test_no_crash_leaves_claims_open(recorded):
    runs = [run for run in recorded["toy_maze"] if run["kind"] == "printed" or run["crash_step"] is None]
    for words in ("true Q is 0", "before every crash", "LayerNorm", "mechanism"):
        assert verdict_of("toy_maze", runs, words) == "open"


def test_too_few_runs_leave_claims_open(recorded):
    runs = [run for run in recorded["toy_maze"] if run["kind"] == "printed" or run["trajectory_seed"] == 0]
    for words in ("linear near", "forecasts the crash", "settle"):
        assert verdict_of("toy_maze", runs, words) == "open"
    runs = [run for run in recorded["baird"] if run["kind"] == "threshold" or run["discount"] == 0.9]
    for words in ("exactly 1 + ηλ_max", "nowhere else"):
        assert verdict_of("baird", runs, words) == "open"
    runs = [run for run in recorded["ntk_map"] if run["seed"] == 0]
    assert verdict_of("ntk_map", runs, "printed ratio") == "open"


def test_the_trajectory_moves_as_its_actions_say():
    rows, choices = toy_maze.draw_trajectory(1458)
    states, actions = rows[:, :2], rows[:, 2:]
    noise = choices[:, 0, :2] - states - 0.1 * actions
    assert np.allclose(np.linalg.norm(actions, axis=1), 1)
    assert ((noise >= 0) & (noise <= 0.02)).all()
    assert np.array_equal(choices[:-1, 0, :2], states[1:])


@pytest.mark.parametrize("bias", [True, False])
def test_the_critic_has_torchs_default_weights(bias):
    torch.manual_seed(111)
    first, second = torch.nn.Linear(4, 64), torch.nn.Linear(64, 1)
    state = torch.random.get_rng_state()
    critic = toy_maze.build_critic(toy_maze.Maze(1458, 111, bias=bias))
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.rand(5, 4)
    shifts = (first.bias, second.bias) if bias else (0, 0)
    assert torch.allclose(critic(x), (x @ first.weight.T + shifts[0]).relu() @ second.weight.T + shifts[1])


@pytest.mark.parametrize("discount", [0.0, 0.7, 0.9, 0.99])
def test_stars_step_has_the_closed_forms_gain(discount):
    eigenvalues = np.linalg.eigvals(baird_star.weight_step(discount, 0.05))
    assert np.abs(eigenvalues).max() == pytest.approx(abs(1 + 0.05 * baird_star.leading(discount)), rel=1e-9)


def test_stars_closed_forms_are_those_of_the_theory():
    baird = pytest.importorskip("theory.baird")
    assert float(baird.THRESHOLD) == baird_star.LIMIT_THRESHOLD
    window = [float(baird.WINDOW_LOWER), float(baird.WINDOW_UPPER)]
    assert window == pytest.approx(baird_star.WINDOW, rel=1e-12)
    for discount in (0.7, 0.9, 0.98):
        assert complex(baird.leading().subs(baird.GAMMA, discount)) == pytest.approx(baird_star.leading(discount))


@pytest.mark.parametrize("normalisation", ntk_map.NORMALISATIONS)
def test_the_maps_kernel_is_that_of_the_gradients(normalisation, monkeypatch):
    monkeypatch.setattr(ntk_map, "CHUNK", 3)
    network = ntk_map.build_network("torch", normalisation, 32, seed=0)
    points = np.random.default_rng(0).standard_normal((8, 2))
    block = gram_by_jacobians(network, torch.tensor(points), torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    own = gram_by_jacobians(network, *[torch.tensor([[1.0, 2.0]], dtype=torch.float64)] * 2)
    assert isinstance(network, MLP)
    assert ntk_map.kernel_to(network, (1.0, 2.0), points) == pytest.approx((block / own).squeeze(1).numpy())


def test_without_biases_the_kernel_along_the_reference_is_the_distance():
    network = ntk_map.build_network("normal", "none", 64, seed=1)
    rays = np.array(ntk_map.measure_rays(network, (3.0, 4.0))["rays"])
    assert rays[0] == pytest.approx([1 + rho / 5 for rho in ntk_map.RADII], rel=1e-5)
    assert ntk_map_verdicts.angles()[ntk_map.DIRECTIONS // 2] == 180
    assert not rays[ntk_map.DIRECTIONS // 2, 1:].any()
    assert math.isclose(ntk_map_verdicts.far_slopes({"rays": rays})[0], 0.2, rel_tol=1e-4)
