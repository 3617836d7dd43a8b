"""What is kept of runs, and what becomes of verdicts: numbers of records made up for it, with known answers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from studies.growth import forecast_errors, runs, verdicts
from studies.growth.rows import adam_row, control_row, descent_row, promises
from studies.shared import recorded
from studies.shared.arms import median_step, trend
from studies.shared.record import identity
from studies.shared.registry import find_study
from studies.shared.runs import COLUMNS, PAPERS_TD3, Arm, Budget, before_divergence, diverged, keep, largest, last_read
from studies.shared.training import KEPT, DeclaredRun, measure_once
from studies.shared.verdicts import exit_status, inside, turned

from seem.datasets.dataset import EMBEDDED
from seem.growth import AdamLaw
from seem.records import RunRecord


def critic(value, **changes):
    return dict.fromkeys(COLUMNS, float(value)) | changes


def look(step, *critics, moved=0.0):
    return {"step": step, "critics": list(critics), "action_motion": moved, "action_saturation": 0.5}


def record(q, *looks, crash=None, mechanism=None, depth=2, forecasts=(), norm=None, **outcome):
    q = torch.tensor(q, dtype=torch.float64)
    agent = {"critic": {"depth": depth}, "critic_lr": 0.5}
    told = {"data": {"name": "toy", "label": "made up"}, "run": {"seed": 7, "agent": agent, "budget": 100}}
    told |= {"steps": len(q), "crash_step": crash, "mechanism": mechanism} | outcome
    norm = q if norm is None else torch.tensor(norm, dtype=torch.float64)
    return RunRecord(told, list(looks), list(forecasts), {"mean_abs_q": q, "parameter_norm": norm})


def test_the_larger_twin_stands_for_the_run_series_by_series():
    twins = [critic(1, leading=-3.0), critic(0, leading=2.0, kernel_norm=5.0)]
    found = largest([twins, [critic(-1), critic(-2)]])
    assert (found["leading"], found["kernel_norm"], found["td_norm"]) == ([2.0, -1.0], [5.0, -1.0], [1.0, -1.0])


@pytest.mark.parametrize(
    ("q", "divergence", "last"),
    [
        ([1.0, 2.0, 3.0], None, 3.0),
        ([1.0, 4.0, 4.1, 2.0, 9.0], 2, 9.0),
        ([5.0, 1.0], 0, 1.0),
        ([1.0, math.nan, 2.0], 1, 2.0),
        ([1.0, 3.0, math.inf], 2, 3.0),
        ([math.nan], 0, None),
    ],
)
def test_a_divergence_is_the_first_step_beyond_the_bound_or_without_a_number(q, divergence, last):
    kept = keep(record(q), "arm", 4.0)
    assert (kept["divergence_step"], kept["last_q"], kept["steps"]) == (divergence, last, len(q))
    assert diverged([kept]) == (divergence is not None)


def test_readings_of_an_overflowed_kernel_are_left_out_whole():
    kept = keep(record([1.0] * 9, look(0, critic(1), critic(2)), look(4, critic(3), None)), "arm", 4.0)
    assert (kept["read_at"], kept["series"]["leading"]) == ([0], [2.0])
    assert kept["series"]["action_saturation"] == [0.5]


def kept_run(values, divergence=None, steps=50, **fields):
    series = {"normalised": values, "mean_abs_q": values}
    read_at = [10 * place for place in range(len(values))]
    return {"series": series, "read_at": read_at, "divergence_step": divergence, "steps": steps} | fields


@pytest.mark.parametrize(
    ("divergence", "before", "last"), [(None, 4, 4.0), (20, 2, 9.0), (21, 3, 2.0), (0, 0, math.nan), (99, 4, 4.0)]
)
def test_the_last_reading_is_the_last_before_the_divergence(divergence, before, last):
    run = kept_run([1.0, 9.0, 2.0, 4.0], divergence)
    assert before_divergence(run) == before
    assert last_read(run, "normalised") == pytest.approx(last, nan_ok=True)


@pytest.mark.parametrize(
    ("divergences", "median"),
    [([10, 20, None, None], "20"), ([10, None, None], "-"), ([10, 20, 30], "20"), ([None], "-"), ([0], "0")],
)
def test_the_median_step_counts_the_runs_that_go_on(divergences, median):
    assert median_step([kept_run([1.0], step) for step in divergences]) == median


def test_a_trend_is_of_the_end_of_the_runs_and_their_median():
    rising = kept_run([1.0, 5.0, 10.0, 20.0, 20.0, 25.0])
    assert "+25%" in trend([rising])
    assert "+0%" in trend([rising, kept_run([1.0, 2.0, 3.0, 4.0, 4.0, 4.0]), kept_run([1.0, 2.0, 3.0, 4.0, 4.0, 2.0])])
    assert trend([kept_run([1.0, 2.0, 3.0, 4.0, 4.0, math.nan])]) == trend([]) == "no trend recorded"


FORECASTS = [
    {"step": step, "crash_step": at, "law_step": at, "slope_step": at, "earliest": at, "latest": at, "reason": None}
    for step, at in ((0, math.inf), (10, 100), (20, 101), (30, 99), (40, math.nan), (60, 50))
]


def test_promises_are_the_forecasts_of_a_crash_within_the_budget_made_before_the_end():
    assert promises(record([1.0] * 50, forecasts=FORECASTS)) == {"budget": 100, "forecasts": 5, "promised": 2}
    assert promises(record([1.0] * 60, forecasts=FORECASTS)) == {"budget": 100, "forecasts": 6, "promised": 3}
    assert promises(record([1.0])) == {"budget": 100, "forecasts": 0, "promised": 0}


def test_a_censored_run_has_no_numbers_of_a_crash_and_keeps_its_promises():
    row = descent_row(record([1.0] * 50, forecasts=FORECASTS))
    assert (row["crash_step"], row["exponent"], row["alignment"], row["errors"]) == (None, None, None, [])
    assert row["promised"] == 2


def test_a_crash_keeps_its_errors_its_exponent_and_the_alignment_of_its_surge():
    sizes, scale = [], 1.0
    while scale**2 < 1e12:
        sizes.append(scale**2)
        scale *= 1 + 1e-3 * scale**2 / 2
    crash = len(sizes)
    looks = [look(step, critic(1.0, alignment=0.1 if step < crash - 9 else 0.9)) for step in range(0, crash, 2)]
    forecasts = [FORECASTS[1] | {"step": crash // 2 - 1, "crash_step": 1.2 * crash}]
    row = descent_row(record([*sizes, math.inf], *looks, crash=crash, mechanism="self-excitation", forecasts=forecasts))
    assert row["exponent"] == pytest.approx(1.0, abs=1e-6)
    assert [error["fraction"] for error in row["errors"]] == [0.5, 0.8, 0.9, 0.95]
    assert all(error["crash"] == pytest.approx(0.2) for error in row["errors"])
    assert [error["why"] is None for error in row["errors"]] == [False] * 4
    assert row["alignment"] == pytest.approx(0.1)
    assert row["predicted_exponent"] == 1.0


def test_the_alignment_that_is_kept_is_that_of_the_surge():
    """Twenty rises of a fifth after a slow start: the surge is the last tenfold of them, from step 19 on."""
    sizes = np.cumprod([1.0, *[1.0001] * 12, *[1.2] * 20])
    looks = [look(step, critic(1.0, alignment=value)) for step, value in ((0, 0.1), (5, 0.1), (22, 0.3), (28, 0.8))]
    looks += [look(25, critic(1.0, alignment=0.5))]
    row = descent_row(record([*sizes, math.inf], *looks, crash=len(sizes), mechanism="overshoot"))
    assert row["alignment"] == 0.5


def test_adams_numbers_are_of_the_second_half_and_of_the_parameters_that_move():
    steps = np.arange(400.0)
    q = np.where(steps < 200, 1.0 + steps, (steps + 1) ** 3)
    norm = np.where(steps < 200, 0.0, 2 * steps)
    row = adam_row(record(q.tolist(), norm=norm.tolist(), depth=3, parameters=400, active_parameters=100))
    assert row["power"] == pytest.approx(3, rel=1e-3)
    assert row["norm_slope"] == pytest.approx(2)
    assert (row["paper_slope"], row["active_slope"]) == (pytest.approx(0.5 * 20), pytest.approx(0.5 * 10))
    ratio = AdamLaw(3).step_ratio(400)[200:].mean()
    assert row["finite_beta2_slope"] == pytest.approx(0.5 * 10 * ratio)
    assert adam_row(record(q.tolist(), crash=399, depth=3, parameters=1, active_parameters=1)) == {"crash_step": 399}
    assert "power" not in adam_row(record([1.0, 2.0, 3.0], depth=3, parameters=1, active_parameters=1))


def test_adams_slope_is_held_against_the_ratio_of_a_finite_memory():
    rows = [
        {"kind": "adam", "data": "toy", "depth": 2, "seed": seed, "norm_slope": 3.0 + seed / 100, "crash_step": None}
        | {"finite_beta2_slope": 3.05, "active_slope": 2.0, "paper_slope": 4.0}
        for seed in range(12)
    ]
    found = verdicts._adam_norm_verdict(rows, {"adam_slope_limit": 0.15, "least_seeds": 10})
    assert found.verdict == "verified"
    assert "against lr·sqrt(P) alone 0.76, against lr·sqrt(P active) 1.53" in found.evidence


def test_a_controls_seem_is_the_median_of_its_larger_critic():
    looks = [look(step, critic(value), critic(-9)) for step, value in enumerate((1, 2, 9))]
    row = control_row(record([1.0, 2.0, 5.0], *looks), {"crash_step": 40})
    assert (row["seem"], row["normalised_seem"], row["final_q"], row["plain_crash_step"]) == (2.0, 2.0, 5.0, 40)


@pytest.mark.parametrize(
    ("crash", "depth", "expected"),
    [
        (None, 2, [("plain", 500)]),
        (101, 2, [("plain", 500), ("layer-norm", 303), ("low-discount", 152)]),
        (101, 1, [("plain", 500), ("low-discount", 152)]),
    ],
)
def test_controls_follow_a_crash_and_must_outlive_it(crash, depth, expected, monkeypatch):
    factors = {"layer-norm": 3, "low-discount": 1.5}
    done = []
    monkeypatch.setattr(runs, "CONTROL_FACTORS", factors)
    monkeypatch.setattr(runs, "load", lambda data: None)
    monkeypatch.setattr(
        runs, "_run", lambda options, data, out, group, kind, budget: done.append((kind, budget)) or kind
    )
    monkeypatch.setattr(runs, "kept", lambda kind, plain=None: {"crash_step": crash, "kind": kind, "plain": plain})
    rows = runs.run_group(runs.GrowthOptions(env="hopper"), None, None, runs.Group("sgd", depth, 0))
    assert done == expected
    assert [row["kind"] for row in rows] == [kind for kind, _ in expected]
    assert all(row["plain"] is rows[0] for row in rows[1:])


def test_a_run_differs_from_the_plain_one_in_what_its_kind_says_and_in_nothing_else():
    options = runs.GrowthOptions(env="hopper")
    plain, layer, low, adam = (runs.run_config(options, kind, 3, 5, 77).agent for kind in runs.KINDS)
    assert (layer.critic.normalisation, plain.critic.normalisation) == ("layer", "none")
    assert (low.discount, plain.discount) == (options.control_discount, options.discount)
    assert (adam.critic_optimiser, adam.critic_lr) == ("adam", options.adam_lr)
    assert (plain.critic_optimiser, plain.critic_lr) == ("sgd", options.lr)
    assert {a.target_rate for a in (plain, layer, low, adam)} == {1.0}
    assert {(a.target_interval, a.actor_interval, a.target_noise) for a in (plain, layer, low, adam)} == {(1, 1, 0.0)}
    assert layer.discount == adam.discount == plain.discount
    assert low.critic == adam.critic == plain.critic


def rows_of(*errors):
    for number, error in enumerate(errors):
        found = (
            [{"fraction": 0.8, "crash": error, "covered": abs(error) < 0.2, "why": None}] if error is not None else []
        )
        row = {"depth": 2, "seed": number, "crash_step": 50, "errors": found, "mechanism": "overshoot"}
        yield "toy", row


def test_the_published_medians_are_of_sizes_and_count_what_was_never_forecast():
    lines = forecast_errors._medians([*rows_of(-0.3, 0.05, 0.1, -0.1), ("toy", {"crash_step": None})])
    assert lines[0].startswith("4 of 5 runs crashed")
    (line,) = [line for line in lines if "at 80%" in line]
    assert line == (
        "- at 80% of the run: median |error| 10.0%, worst 30.0%, 3 within 10%; the interval covers 75% of 4"
    )
    (line,) = [line for line in forecast_errors._medians(list(rows_of(0.05, math.inf))) if "at 80%" in line]
    assert "worst no forecast at all" in line


def test_a_censored_run_has_a_line_of_its_own():
    lines = forecast_errors._table([*rows_of(0.25), ("toy", {"depth": 2, "seed": 3, "crash_step": None})])
    assert lines[2] == "| toy | 2 | 0 | 50 |  | +25.0% |  |  | 0/1 | overshoot |  |"
    assert lines[3].startswith("| toy | 2 | 3 | censored |")


def judged(**words):
    return [{"sentence": sentence, "verdict": verdict, "evidence": "n"} for sentence, verdict in words.items()]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["verified"] * 3, "verified"),
        (["verified", "verified", "open"], "open"),
        (["verified", "verified", None], "open"),
        (["verified", "verified", "refuted"], "refuted"),
        (["open", "refuted", "open"], "refuted"),
        (["open"] * 3, "open"),
        (["refuted"] * 3, "refuted"),
    ],
)
def test_data_sets_verify_together_and_refute_alone(words, verdict):
    parts = {name: judged(x=word) if word else [] for name, word in zip("abc", words, strict=True)}
    (found,) = recorded.merge(parts)
    assert found["verdict"] == verdict
    assert found["evidence"].startswith("of 3 data sets ")
    assert found["evidence"].count(": n") == words.count("refuted")


@pytest.mark.parametrize(
    ("folder", "looked_at", "word", "counted"),
    [
        ("a", ("a",), "verified", "open"),
        ("a", ("a",), "refuted", "refuted"),
        ("a", ("a",), "open", "open"),
        ("b", ("a",), "verified", "verified"),
        ("a", (), "verified", "verified"),
    ],
)
def test_what_was_added_after_a_look_counts_as_verified_on_other_runs_only(
    folder, looked_at, word, counted, monkeypatch, tmp_path
):
    asked = []
    declaration = SimpleNamespace(looked_at=lambda sentence: asked.append(sentence) or looked_at)
    monkeypatch.setattr(recorded, "records", lambda folder: [folder / "results.json"])
    monkeypatch.setattr(recorded, "read_results", lambda folder: ({"study": "s"}, []))
    monkeypatch.setattr(recorded, "find_study", lambda name: SimpleNamespace(declaration=declaration))
    (given,) = judged(**{recorded.TOGETHER + "x": word})
    found = recorded._as_counted(tmp_path / folder, given)
    assert found["verdict"] == counted
    assert ("added after a look" in found["evidence"]) == bool(looked_at)
    assert asked == ["x"]


@pytest.mark.parametrize("now", ["verified", "refuted", "open"])
@pytest.mark.parametrize("before", ["verified", "refuted", "open", None])
def test_only_a_verdict_that_turned_round_fails_a_study(now, before):
    then = judged(x=before) if before else judged(y="refuted")
    opposite = {now, before} == {"verified", "refuted"}
    assert turned(judged(x=now), then) == (["x"] if opposite else [])
    assert exit_status(judged(x=now), then, strict=False) == int(opposite)
    assert exit_status(judged(x=now), then, strict=True) == int(opposite or now == "refuted")


def results(**changes):
    told = {"study": "s", "declaration": {"sha256": "d"}, "data": {"toy": "h"}, "options": {"seeds": [1], "out": "o"}}
    return told | changes


def test_records_are_compared_where_study_declaration_options_and_data_are_one():
    whole = identity(results())
    assert identity(results(options={"seeds": [1], "out": "elsewhere", "strict": True, "data": ["toy"]})) == whole
    for changes in (
        {"study": "t"},
        {"declaration": {"sha256": "e"}},
        {"data": {"toy": "i"}},
        {"options": {"seeds": [1, 2], "out": "o"}},
        {"options": {"seeds": [1], "out": "o", "steps": 9}},
    ):
        assert identity(results(**changes)) != whole


def test_a_median_needs_as_many_seeds_as_it_says():
    values = [1.0 + place / 1000 for place in range(12)]
    assert [inside(values, 0.9, 1.1, seeds, 10)[0] for seeds in (1, 9, 10)] == ["open", "open", "verified"]


def test_a_direction_that_turns_as_slowly_from_the_start_on_has_not_converged():
    """Near over every horizon, nearer than in shuffled order, and at the end no nearer than at the start."""
    apart = np.abs(np.subtract.outer(np.arange(26), np.arange(26)))
    kept = {"arm": "Adam L=3", "data": "toy", "seed": 0, "divergence_step": 390, "steps": 500, "reading_interval": 20}
    kept |= dict.fromkeys(("kernel", "kernel_next"), (1 - 0.005 * apart).tolist()) | {"moves": np.zeros((26, 26))}
    assert [found.verdict for found in find_study("critical-point").judge([kept])][:2] == ["refuted"] * 2


def test_a_run_measured_after_a_kill_leaves_nothing_of_the_first_try(tmp_path):
    config = Budget(steps=1, rows=8).run(Arm("plain", PAPERS_TD3), seed=0)
    run = DeclaredRun("toy", "plain", config, EMBEDDED / "hopper-medium.hdf5")
    assert measure_once(tmp_path, "cpu", run, lambda dataset: {"rows": len(dataset.transitions)})["rows"] > 0
    (kept,) = tmp_path.rglob(KEPT)
    kept.rename(kept.with_name(f".{KEPT}.x.partial"))
    measure_once(tmp_path, "cpu", run, lambda dataset: {"rows": 1})
    assert [path.name for path in kept.parent.iterdir()] == [KEPT]
    assert measure_once(tmp_path, "cpu", run, lambda dataset: {"rows": 2}) == {"rows": 1}, "it is kept"
