"""The joint forecast against the critics' own: made-up runs with known answers."""

import pytest
from studies.growth import joint


def run(arm="L=3", seed=0, crash=100, steps=500, own=(90, 100), both=(100, 100)):
    """A run with readings at steps 40 and 70."""
    lines = [[40, own[0], both[0]], [70, own[1], both[1]]]
    kept = {"arm": arm, "data": "d", "label": "made up", "seed": seed, "steps": steps, "crash_step": crash}
    return kept | {"forecasts": lines}


def test_errors_are_those_of_the_last_forecast_made_by_the_share():
    kept = run(own=(90, 130), both=(100, None))
    assert joint.errors(kept, 0.5) == (0.1, 0.0)
    assert joint.errors(kept, 0.8) == (0.3, joint.MISSING)
    assert joint.errors(run(crash=80), 0.5) == (0.125, 0.25), "the reading at half of the run counts"


def test_only_crashes_within_the_budget_are_false_alarms():
    assert joint.false_alarms(run(crash=None, own=(500, 501), both=(None, 400))) == (1, 1)
    assert joint.false_alarms(run(crash=None, own=(10, 20), both=(None, None))) == (2, 0)


def verdicts(runs):
    return {judged.sentence: judged.verdict for judged in joint.judge(runs)}


@pytest.mark.parametrize(
    ("own", "both", "expected"),
    [((80, 80), (99, 99), "verified"), ((99, 99), (80, 80), "refuted"), ((90, 90), (110, 110), "open")],
)
def test_the_nearer_forecast_is_better(own, both, expected):
    runs = [run(seed=seed, own=own, both=both) for seed in range(8)]
    assert verdicts(runs)["L=3: at 50% of the run the joint matrix forecasts the crash better"] == expected
    assert verdicts(runs)["L=3: at 80% of the run the joint matrix forecasts the crash better"] == expected


def test_few_or_mixed_runs_leave_it_open():
    better = [run(seed=seed, own=(80, 80)) for seed in range(4)]
    assert set(verdicts(better).values()) == {"open"}
    worse = [run(seed=seed, own=(100, 100), both=(80, 80)) for seed in range(4, 8)]
    assert set(verdicts([*better, *worse]).values()) == {"open"}


def test_every_depth_is_judged_by_itself():
    runs = [run(arm, seed, both=both) for arm, both in (("L=2", (100, 100)), ("L=4", (50, 50))) for seed in range(6)]
    found = verdicts(runs)
    assert found["L=2: at 50% of the run the joint matrix forecasts the crash better"] == "verified"
    assert found["L=4: at 50% of the run the joint matrix forecasts the crash better"] == "refuted"


def test_fewer_false_alarms_are_counted_over_the_censored_runs():
    censored = [run(seed=seed, crash=None, own=(400, 400), both=(None, 400)) for seed in range(6)]
    assert verdicts(censored)["the joint matrix raises fewer false alarms"] == "verified"
    louder = [run(seed=seed, crash=None, own=(None, None), both=(None, 400)) for seed in range(6)]
    assert verdicts(louder)["the joint matrix raises fewer false alarms"] == "refuted"
    assert verdicts([run()])["the joint matrix raises fewer false alarms"] == "open"


def test_a_crash_at_the_first_step_has_a_forecast_of_step_0():
    kept = run(crash=0) | {"forecasts": [[0, 3, None]]}
    assert joint.errors(kept, 0.5) == (3.0, joint.MISSING)
