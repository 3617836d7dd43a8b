"""The studies of many runs: what they judge, from runs made up for it, and how they run end to end."""

import json
import re

import numpy as np
import pytest
from studies.shared.record import read_results
from studies.shared.registry import MODULES, find_study
from studies.shared.runs import COLUMNS, LINE_COLUMNS
from studies.shared.study import parse, run_study
from studies.shared.training import TrainingOptions
from studies.training import discount, targets
from studies.training.surge_events import HORIZON, auc_table, labelled, rise

from seem.errors import InputError

TRAINING = [name for name in MODULES if isinstance(find_study(name).options, TrainingOptions)]
READ_AT = list(range(0, 400, 20))
BOUND = 100.0


def run(arm, *, seed=0, seem=0.0, divergence=None, data="toy", **series):
    """A kept run of 400 steps: SEEM a number or one a reading, |Q| rising to its bound at the divergence."""
    readings = np.arange(len(READ_AT))
    columns = dict.fromkeys((*COLUMNS, *LINE_COLUMNS), np.ones(len(readings)))
    columns["normalised"] = columns["leading"] = np.broadcast_to(seem, readings.shape)
    columns["mean_abs_q"] = (
        np.full(len(readings), 1.0) if divergence is None else BOUND * np.array(READ_AT) / divergence
    )
    columns |= series
    return {
        "arm": arm,
        "data": data,
        "label": "surrogate",
        "seed": seed,
        "depth": 3,
        "steps": 400,
        "crash_step": None,
        "divergence_step": divergence,
        "bound": BOUND,
        "last_q": float(columns["mean_abs_q"][-1]),
        "mechanism": None,
        "outcome_sha256": "0" * 64,
        "read_at": READ_AT,
        "series": {name: np.asarray(values, dtype=float).tolist() for name, values in columns.items()},
    }


def verdicts(study, runs):
    """The study's verdicts in order."""
    return [judged.verdict for judged in find_study(study).judge(runs)]


EARLY = np.linspace(0, 1, len(READ_AT))
"""SEEM that passes a tenth at the third reading, at step 40."""
LATE = np.where(np.array(READ_AT) < 280, 0.0, 0.5)
CALM = [run("LayerNorm", seed=seed, seem=-0.1) for seed in range(3)]


def test_a_rise_is_the_first_reading_of_a_lasting_excess():
    found = rise(run("L=2", seem=EARLY, divergence=300))
    assert (found.seem, found.q, found.divergence) == (40, 40, 300)
    dipping = np.where(np.array(READ_AT) == 200, 0.0, 0.5)
    assert rise(run("L=2", seem=dipping, divergence=300)).seem == 220
    assert rise(run("L=2", seem=0.0, divergence=300)).seem is None
    assert rise(run("L=2", seem=0.5)) is None
    assert rise(run("L=2", seem=0.5) | {"divergence_step": 0}) is None


def test_readings_are_labelled_by_what_follows_within_the_horizon():
    known, will = labelled(run("L=2", divergence=300))
    steps = np.array(READ_AT)[known]
    assert steps.max() == 280
    assert (will == (steps >= 300 - HORIZON)).all()
    known, will = labelled(run("L=2"))
    assert np.array(READ_AT)[known].max() == 400 - HORIZON, "what is closer to a censored end has no answer"
    assert not will.any()


def test_surge_first_is_verified_and_late_is_refuted():
    first = [run("L=2", seed=seed, seem=EARLY + 0.2, divergence=300) for seed in range(3)]
    assert verdicts("surge", [*first, *CALM])[:2] == ["verified", "verified"]
    late = [run("L=2", seed=seed, seem=LATE, divergence=300) for seed in range(3)]
    assert verdicts("surge", [*late, *CALM])[:2] == ["refuted", "verified"]
    without = [run("L=2", seed=seed, seem=-0.1, divergence=300) for seed in range(3)]
    assert verdicts("surge", [*without, *CALM])[:2] == ["refuted", "refuted"]
    assert verdicts("surge", CALM) == ["open"] * 4


def test_a_perfect_signal_beats_a_blind_one():
    soon = np.where(np.array(READ_AT) >= 300 - HORIZON, 1.0, -1.0)
    runs = [run("L=2", seed=seed, seem=soon, divergence=300, mean_abs_q=np.ones(20)) for seed in range(4)] + CALM
    table = auc_table(runs)
    assert table["SEEM"].estimate == 1.0
    assert table["gradient norm"].estimate == 0.5
    assert verdicts("surge", runs)[2:] == ["verified", "verified"]
    seeing_q = [run("L=2", seed=seed, divergence=300, mean_abs_q=soon) for seed in range(4)]
    calm = [run("LayerNorm", seed=seed, mean_abs_q=-np.ones(20)) for seed in range(3)]
    assert verdicts("surge", [*seeing_q, *calm])[3] == "refuted"


def test_the_threshold_of_the_discount_is_that_of_seem_or_not():
    def runs(diverging, excited):
        return [
            run(f"discount {value}", seed=seed, seem=0.5 if value >= excited else -0.1)
            | {"divergence_step": 300 if value >= diverging else None}
            for value in discount.DISCOUNTS
            for seed in range(3)
        ]

    assert verdicts("discount", runs(0.95, 0.95)) == ["verified"] * 5
    assert verdicts("discount", runs(0.95, 0.97)) == ["verified", *["refuted", "refuted"] * 2]
    assert verdicts("discount", runs(0.97, 0.95)) == ["verified", *["refuted", "open"] * 2]
    assert verdicts("discount", runs(2.0, 2.0)) == ["verified", *["open", "verified"] * 2]
    assert verdicts("discount", runs(0.0, 0.0))[0] == "refuted"


def arms(**rates):
    """Ten runs of every normalisation, of which so many diverge as is said; high SEEM without normalisation only."""
    names = [arm.name for arm in find_study("normalisation").arms]
    return [
        run(name, seed=seed, seem=0.5 if name == "none" else 0.01 + seed / 1000)
        | {"divergence_step": 300 if seed < rates.get(name.replace(" ", "_"), 0) else None}
        for name in names
        for seed in range(10)
    ]


def test_normalisations_are_judged_by_what_diverges():
    found = verdicts("normalisation", arms(none=10, WeightNorm=6))
    assert found == ["verified"] * 6 + ["open", "refuted"]
    assert verdicts("normalisation", arms(none=10, norms_held=3))[7] == "verified"
    assert verdicts("normalisation", arms(none=10, LayerNorm=1))[0] == "refuted"
    assert verdicts("normalisation", arms(none=10, LayerNorm=9, WeightNorm=2))[5] == "refuted"
    assert verdicts("normalisation", arms())[0] == "open"


def test_batchnorm_oscillates_where_q_falls_more_often():
    swinging = np.tile([1.0, 2.0], 10)
    runs = [r for r in arms(none=10) if r["arm"] != "BatchNorm"]
    batch = [run("BatchNorm", seed=seed, mean_abs_q=swinging) for seed in range(10)]
    assert verdicts("normalisation", [*runs, *batch])[6] == "verified"


def test_older_targets_that_diverge_earlier_refute_the_delay():
    def runs(step):
        return [
            run(name, seed=seed, seem=0.5, divergence=int(step(lag)) + seed)
            for name, lag in targets.LAGS.items()
            for seed in range(5)
        ]

    assert verdicts("targets", runs(lambda lag: 100 + lag)) == ["verified", "verified"]
    assert verdicts("targets", runs(lambda lag: 390 - lag)) == ["refuted", "verified"]
    assert (
        verdicts("targets", [run("average 0.5", seed=s, seem=-0.1, divergence=300) for s in range(5)])[1] == "refuted"
    )


def looks(kernel, *, divergence=300, moves=0.0, readings=26):
    """A run of the critical point's study: cosines that depend on the two readings."""
    numbers = np.arange(readings)
    table = np.array([[kernel(min(a, b), max(a, b)) for b in numbers] for a in numbers])
    kept = {"arm": "Adam L=3", "data": "toy", "label": "surrogate", "seed": 0, "divergence_step": divergence}
    kept |= {"steps": 500, "reading_interval": 20, "kernel": table.tolist(), "kernel_next": table.tolist()}
    return kept | {"moves": np.full(table.shape, moves).tolist()}


def settling(first, second):
    """Directions that turn until reading 15 and then stand still."""
    return 1.0 - 0.02 * (min(second, 15) - min(first, 15))


def test_a_critical_point_is_a_direction_that_comes_to_rest():
    assert verdicts("critical-point", [looks(settling)]) == ["verified"] * 3 + ["open"]
    turning = looks(lambda first, second: 1.0 - 0.02 * (second - first))
    assert verdicts("critical-point", [turning])[:2] == ["refuted"] * 2
    # Near from the start on: nothing has converged.
    assert verdicts("critical-point", [looks(lambda *_: 0.99)])[:2] == ["refuted"] * 2
    assert verdicts("critical-point", [looks(settling, moves=0.5)])[2] == "refuted"
    assert verdicts("critical-point", [looks(settling), looks(settling, divergence=None)])[3] == "refuted"
    calm = looks(lambda first, second: 1.0 - 0.1 * (second - first), divergence=None)
    assert verdicts("critical-point", [looks(settling), calm])[3] == "verified"
    assert verdicts("critical-point", [calm]) == ["open"]


def test_sac_is_judged_offline_and_online_apart():
    def runs(data, plain, layer):
        arms = (("none", plain), ("LayerNorm", layer))
        return [
            run(f"offline {name}", data=data, seed=seed) | {"divergence_step": 300 if seed < count else None}
            for name, count in arms
            for seed in range(5)
        ]

    assert verdicts("sac", runs("toy", 5, 0)) == ["verified", "verified"]
    assert verdicts("sac", runs("toy", 5, 1)) == ["verified", "refuted"]
    assert verdicts("sac", runs("toy", 0, 0)) == ["open", "open"]
    assert verdicts("sac", [*runs("toy", 5, 0), *runs("toy online", 0, 1)])[2:] == ["open", "refuted"]


def call(study, *arguments):
    return run_study(find_study(study), parse(find_study(study), ["--workers", "1", *arguments]))


BAD = {
    "no seed": (("--seeds",), "at least one"),
    "seed": (("--seeds", "-1"), "from 0 to"),
    "rows": (("--rows", "1"), "from 2 to"),
    "steps": (("--steps", "0"), "from 1 to"),
    "data": (("--data", "swimmer"), "hopper"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path):
    arguments, remedy = BAD[name]
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        call("surge", "--out", str(tmp_path / "out"), *arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("study", TRAINING)
def test_a_quick_run_ends_with_records_that_say_the_same(study, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    arguments = ("--quick", "--steps", "25", "--rows", "16", "--out", str(tmp_path))
    status = call(study, *arguments)
    printed = capsys.readouterr().out
    results, runs = read_results(tmp_path)
    judged = find_study(study).judge(runs)
    assert [verdict.verdict for verdict in judged] == [verdict["verdict"] for verdict in results["verdicts"]]
    assert status == 0
    assert printed.splitlines()[-1] == "no record of this declaration, these options and these data"
    assert call(study, *arguments, "--strict") == any(verdict.verdict == "refuted" for verdict in judged)
    assert len(runs) == len(find_study(study).arms)
    assert "embedded (made by this project)" in printed
    assert len(list(tmp_path.glob("*.png"))) == len(find_study(study).figures(runs, tmp_path / "runs"))
    lines = (tmp_path / "runs.jsonl").read_text()
    (tmp_path / "runs.jsonl").write_text(lines.replace('"seed":10', '"seed":11', 1))
    with pytest.raises(InputError, match="changed after the run"):
        read_results(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["study"] == study
