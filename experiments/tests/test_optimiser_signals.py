"""Which signal the study of optimisers calls the better one, from runs made up for it."""

import math

import numpy as np
import pytest
from studies.optimiser import signals
from studies.shared import ranking

from experiments.tests.optimiser_cases import BOUND, calm, run, several, verdicts

BEST = "toy, Adam: the gated look-ahead has a larger {} than {}"
PRECISION = "precision at recall 0.9"


def test_a_look_ahead_that_is_right_reaches_its_aims():
    found = verdicts([*several(), *calm()])
    assert found["toy, Adam: the gated look-ahead has AUC of at least 0.99"] == "verified"
    assert found[f"toy, Adam: the gated look-ahead has {PRECISION} of at least 0.85"] == "verified"
    assert found[BEST.format("AUC", "SEEM")] == found[BEST.format(PRECISION, "SEEM")] == "verified"
    assert found[BEST.format("AUC", "the look-ahead alone")] == "open", "it is as good, and does not beat"


def test_the_gate_is_what_silences_a_drift_that_leads_nowhere():
    drifting = calm(crossing=10.0)
    found = verdicts([*several(), *drifting])
    for what in ("AUC", PRECISION):
        assert found[BEST.format(what, "the look-ahead alone")] == "verified"
        assert found[BEST.format(what, "the look-ahead where SEEM > 0")] == "verified"
    shut = [run(seed, gate=0.0) for seed in range(6)]
    found = verdicts([*shut, *calm()])
    for what in ("AUC", PRECISION):
        assert found[BEST.format(what, "the look-ahead alone")] == "refuted"
    assert found["toy, Adam: the gated look-ahead has AUC of at least 0.99"] == "refuted"


def test_the_gate_by_seem_is_another_one():
    runs = [*several(normalised=0.5), *calm(crossing=10.0, normalised=0.5)]
    assert verdicts(runs)[BEST.format("AUC", "the look-ahead where SEEM > 0")] == "verified"
    swapped = [run(seed, gate=0.0, normalised=0.5) for seed in range(6)] + calm(crossing=10.0, gate=1.0)
    assert verdicts(swapped)[BEST.format("AUC", "the look-ahead where SEEM > 0")] == "refuted"


def test_a_signal_that_is_no_number_speaks_against_itself():
    for name in ("crossing", "gate"):
        found = verdicts([*several(**{name: math.nan}), *calm()])
        assert found["toy, Adam: the gated look-ahead has AUC of at least 0.99"] == "refuted"
        loud = verdicts([*several(), *calm(**{"gate": 1.0, name: math.nan})])
        assert loud["toy, Adam: the gated look-ahead has AUC of at least 0.99"] == "refuted"


def test_gradient_descent_is_judged_against_td_loss_and_by_itself():
    name = "toy, gradient descent: the gated look-ahead has a larger AUC than TD loss"
    sgd = [kept | {"optimiser": optimiser} for optimiser in ("SGD", "momentum") for kept in several(3)]
    still = [kept | {"optimiser": "SGD"} for kept in calm(curve=2e-4)]
    found = verdicts([*sgd, *still])
    assert found[name] == "verified"
    assert not any(sentence.startswith("toy, Adam") for sentence in found)
    # A TD error that knows, and a look-ahead that is blind.
    knows = [kept | {"optimiser": "SGD", "td_norm": (9 * np.array(kept["td_norm"])).tolist()} for kept in several()]
    for kept in knows:
        kept["series"]["gate"] = [0.0] * len(kept["read_at"])
    assert verdicts([*knows, *(kept | {"optimiser": "SGD"} for kept in calm(curve=0.0))])[name] == "refuted"


def test_fewer_than_five_diverging_runs_decide_nothing():
    found = verdicts([*several(4), *calm()])
    assert {outcome for sentence, outcome in found.items() if sentence.startswith("toy, Adam")} == {"open"}
    alone = verdicts(calm())
    assert {outcome for sentence, outcome in alone.items() if sentence.startswith("toy, Adam")} == {"open"}


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_power_is_extrapolated_to_its_bound_exactly(depth):
    kept = run(depth=depth)
    power = -signals.SIGNALS["|Q| as t^L"](kept)
    assert power[:2].tolist() == [math.inf] * 2
    assert power[2:] == pytest.approx(400 - np.array(kept["read_at"])[2:])


def test_lines_and_exponentials_are_extrapolated_exactly_and_falling_ones_never_arrive():
    steps = np.arange(20, 400, 20)
    line = run(mean_abs_q=BOUND * steps / 400)
    assert -signals.SIGNALS["|Q| as a line"](line)[2:] == pytest.approx(400 - steps[2:])
    rate = math.log(BOUND) / 400
    exponential = run(mean_abs_q=np.exp(rate * steps))
    assert -signals.SIGNALS["|Q| as an exponential"](exponential)[2:] == pytest.approx(400 - steps[2:])
    for name in ("|Q| as a line", "|Q| as t^L", "|Q| as an exponential"):
        falling = -signals.SIGNALS[name](run(mean_abs_q=BOUND * (1 - steps / 400)))
        assert np.isposinf(falling).all()
        past = -signals.SIGNALS[name](run(mean_abs_q=BOUND * steps / 100))
        assert past[-1] == 0
        blind = -signals.SIGNALS[name](run(mean_abs_q=np.where(steps == 100, math.nan, BOUND * steps / 400)))
        assert np.isnan(blind).tolist() == [step in (100, 120, 140) for step in steps]


def test_a_precision_is_that_of_the_highest_threshold_with_its_recall():
    rng = np.random.default_rng(0)
    scores = [(rng.integers(0, 6, 9).astype(float), rng.random(9) < 0.4) for _ in range(5)]
    for recall in (0.5, 0.9, 1.0):
        made = ranking.alarms(scores, recall)
        for drawn in ([0, 1, 2, 3, 4], [0, 0, 3, 3, 3], [4, 4, 4, 4, 4]):
            every = np.concatenate([scores[number][0] for number in drawn])
            will = np.concatenate([scores[number][1] for number in drawn])
            threshold = max(t for t in every if will[every >= t].sum() >= recall * will.sum())
            assert made.precisions(np.array(drawn)) == pytest.approx(will[every >= threshold].mean())
    assert ranking.alarms([(np.ones(2), np.zeros(2, dtype=bool))], 0.9) is None
    assert ranking.alarms([(np.ones(2), np.ones(2, dtype=bool))], 0.9) is None
    assert ranking.alarms([], 0.9) is None
    lone = ranking.alarms([(np.ones(2), np.array([True, False])), (np.ones(1), np.array([False]))], 0.9)
    assert lone.precisions(np.array([[0, 0], [0, 1], [1, 1]])).tolist() == pytest.approx([1 / 2, 1 / 3, 0.0])
