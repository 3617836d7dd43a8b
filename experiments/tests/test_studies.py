"""The studies of many runs: what they judge, from runs made up for it, and how they run end to end."""

import copy
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from studies.shared.record import read_results
from studies.shared.registry import MODULES, find_study
from studies.shared.runs import COLUMNS, LINE_COLUMNS, largest, return_bound
from studies.shared.study import check_distinct, parse, run_study
from studies.shared.training import TrainingOptions
from studies.shared.verdicts import Verdict
from studies.training import discount, targets
from studies.training.critical_point import early_and_late, over_horizon, shuffled, stands_from
from studies.training.surge_events import HORIZON, alarm, auc_differences, auc_table, labelled, ranking, rise
from studies.training.surge_verdicts import _better

from seem.errors import InputError
from seem.statistics import roc_auc

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
CALM = [run("LayerNorm", seed=seed, seem=-0.1) for seed in range(6)]


def test_a_rise_is_the_first_reading_of_a_lasting_excess():
    found = rise(run("L=2", seem=EARLY, divergence=300))
    assert (found.seem, found.q, found.divergence) == (40, 40, 300)
    dipping = np.where(np.array(READ_AT) == 200, 0.0, 0.5)
    assert rise(run("L=2", seem=dipping, divergence=300)).seem == 220
    assert rise(run("L=2", seem=0.0, divergence=300)).seem is None
    assert rise(run("L=2", seem=0.5)) is None
    assert rise(run("L=2", seem=0.5) | {"divergence_step": 0}) is None
    assert rise(run("L=2", seem=np.where(np.array(READ_AT) == 200, np.nan, 0.5), divergence=300)).seem == 220
    blind = np.where(np.array(READ_AT) == 20, np.nan, 1.0)
    assert rise(run("L=2", seem=0.5, divergence=300, mean_abs_q=blind)).q == 20


def test_readings_are_labelled_by_what_follows_within_the_horizon():
    known, will = labelled(run("L=2", divergence=300))
    steps = np.array(READ_AT)[known]
    assert steps.max() == 280
    assert (will == (steps >= 300 - HORIZON)).all()
    known, will = labelled(run("L=2"))
    assert np.array(READ_AT)[known].max() == 400 - HORIZON, "what is closer to a censored end has no answer"
    assert not will.any()


def first_rises(seem, divergence=300):
    """Six critics that diverge."""
    return [run("L=2", seed=seed, seem=seem, divergence=divergence) for seed in range(6)]


def test_surge_first_is_verified_and_late_is_refuted():
    assert verdicts("surge", [*first_rises(EARLY + 0.2), *CALM])[:2] == ["verified", "verified"]
    assert verdicts("surge", [*first_rises(LATE), *CALM])[:2] == ["refuted", "verified"]
    assert verdicts("surge", [*first_rises(-0.1), *CALM])[:2] == ["refuted", "refuted"]
    assert verdicts("surge", CALM) == verdicts("surge", []) == ["open"] * 6
    # EARLY passes a tenth at the reading at which |Q| does: at one reading neither is late.
    assert verdicts("surge", [*first_rises(EARLY), *CALM])[0] == "verified"
    one_late = [*first_rises(EARLY + 0.2), run("L=2", seed=9, seem=LATE, divergence=300)]
    assert verdicts("surge", [*one_late, *CALM])[0] == "refuted"


def evidence(study, runs, number):
    return find_study(study).judge(runs)[number].evidence


def test_necessity_is_verified_only_where_it_could_have_failed():
    excited = first_rises(EARLY + 0.2)
    assert verdicts("surge", excited)[1] == "open", "every critic has SEEM above zero, whatever becomes of it"
    also_excited = [run("LayerNorm", seed=seed, seem=0.5) for seed in range(6)]
    assert verdicts("surge", [*excited, *also_excited])[1] == "open"
    assert "arms that could have failed, with such critics: none" in evidence("surge", [*excited, *also_excited], 1)
    assert "LayerNorm (6 of 6)" in evidence("surge", [*excited, *CALM], 1)
    assert verdicts("surge", [*excited[:1], *CALM[:1]])[1] == "open", "two critics are no test"
    blind = run("L=3", seed=0, seem=np.nan, divergence=300)
    assert verdicts("surge", [*excited, *CALM, blind])[1] == "refuted", "a SEEM that is no number is not above zero"
    at_zero = run("L=3", seed=0, seem=0.0, divergence=300)
    assert verdicts("surge", [*excited, *CALM, at_zero])[1] == "refuted"


def test_a_divergence_before_the_first_reading_says_nothing():
    early = run("L=3", seed=0, seem=0.5) | {"divergence_step": 0, "last_q": None}
    excited = first_rises(EARLY + 0.2)
    assert verdicts("surge", [*excited, *CALM, early]) == verdicts("surge", [*excited, *CALM])
    assert "1 diverge before their first reading and are not judged" in evidence("surge", [*excited, *CALM, early], 1)
    assert verdicts("surge", [early])[:2] == ["open", "open"]
    every = [run(f"discount {value}", seed=0) | {"divergence_step": 0} for value in discount.DISCOUNTS]
    assert {verdicts("discount", every)[number] for number in (2, 4)} == {"open"}
    for name in ("surge", "normalisation"):
        arm = find_study(name).arms[0].name
        gone = [run(arm, seed=seed) | {"divergence_step": 0, "last_q": None} for seed in range(2)]
        assert find_study(name).tables(gone)
        assert find_study(name).figures(gone, None)


SOON = np.where(np.array(READ_AT) >= 300 - HORIZON, 1.0, -1.0)


def test_a_perfect_signal_beats_a_blind_one():
    runs = [run("L=2", seed=seed, seem=SOON, divergence=300, mean_abs_q=np.ones(20)) for seed in range(6)] + CALM
    table = auc_table(runs)
    assert table["SEEM"].estimate == 1.0
    assert table["gradient norm"].estimate == 0.5
    assert verdicts("surge", runs)[2:] == ["verified", "verified", "open", "open"], "the gap ranks alike"
    gapped = [one | {"series": one["series"] | {"second": one["series"]["leading"]}} for one in runs]
    assert verdicts("surge", gapped)[4] == "verified"
    seeing_q = [run("L=2", seed=seed, divergence=300, mean_abs_q=SOON) for seed in range(6)]
    calm = [run("LayerNorm", seed=seed, mean_abs_q=-np.ones(20)) for seed in range(6)]
    assert verdicts("surge", [*seeing_q, *calm])[3] == "refuted"
    as_good = [one | {"series": one["series"] | {"mean_abs_q": one["series"]["leading"]}} for one in runs]
    assert verdicts("surge", as_good)[3] == "open", "a rival that ranks alike is not beaten, and does not beat"
    assert verdicts("surge", runs[:1])[2:] == ["open"] * 4


def noisy_signals(better):
    """Critics of very different scale, in which one of two signals is better by a little in every single one."""
    rng, runs = np.random.default_rng(1), []
    for seed in range(24):
        gone = seed % 2 == 0
        base = 30 * rng.normal() + rng.normal(size=20) + (6 * (SOON > 0) if gone else 0)
        worse = base + 3 * rng.normal(size=20)
        one, other = (base, worse) if better == "SEEM" else (worse, base)
        shared = dict.fromkeys(("gradient_norm", "kernel_norm", "parameter_norm", "td_norm"), np.ones(20))
        series = shared | {"leading": one, "mean_abs_q": other, "action_saturation": np.ones(20)}
        runs.append(run("L=2", seed=seed, divergence=300 if gone else None, **series))
    return runs


@pytest.mark.parametrize(("better", "sign"), [("SEEM", 1), ("|Q|", -1)])
def test_signals_are_compared_on_the_same_runs(better, sign):
    runs = noisy_signals(better)
    table = auc_table(runs)
    overlap = table["SEEM"].low < table["|Q|"].high and table["|Q|"].low < table["SEEM"].high
    found = auc_differences(runs, "SEEM", ["|Q|"], 0.95)["|Q|"]
    assert overlap, "two intervals say nothing"
    assert sign * found.estimate > 0
    assert found.estimate == pytest.approx(table["SEEM"].estimate - table["|Q|"].estimate)
    width = (table["SEEM"].high - table["SEEM"].low) + (table["|Q|"].high - table["|Q|"].low)
    assert found.high - found.low < width / 2


def test_a_lead_that_a_few_other_runs_could_turn_is_open():
    runs = noisy_signals("SEEM")[:8]
    for number, one in enumerate(runs):
        if number % 2:
            one["series"]["leading"], one["series"]["mean_abs_q"] = (
                one["series"][n] for n in ("mean_abs_q", "leading")
            )
    found = auc_differences(runs, "SEEM", ["|Q|"], 0.95)["|Q|"]
    assert found.low < 0 < found.high
    better = _better("a sentence", runs if found.estimate > 0 else swapped(runs), ["|Q|"])
    assert better.verdict == "open"
    assert "|Q| +" in better.evidence, "the estimate is above zero"


def swapped(runs):
    """The same runs, the two signals exchanged."""
    return [
        one
        | {"series": one["series"] | {"leading": one["series"]["mean_abs_q"], "mean_abs_q": one["series"]["leading"]}}
        for one in runs
    ]


def test_a_kept_series_is_that_of_the_larger_twin():
    twins = [[dict.fromkeys(COLUMNS, 1.0), dict.fromkeys(COLUMNS, 2.0)], [dict.fromkeys(COLUMNS, -1.0)] * 2]
    assert largest(twins) == {key: [2.0, -1.0] for key in COLUMNS}


def test_areas_of_whole_runs_are_those_of_their_pooled_readings():
    runs = noisy_signals("SEEM")
    runs[3]["series"]["leading"] = np.round(runs[3]["series"]["leading"]).tolist()
    for drawn in ([0, 1, 2, 3], [0, 0, 1, 5, 5, 5, 8], list(range(24))):
        chosen = [runs[number] for number in drawn]
        scores, labels = [], []
        for one in chosen:
            known, will = labelled(one)
            scores.append(np.array(one["series"]["leading"])[known])
            labels.append(will)
        slow = roc_auc(np.concatenate(scores), np.concatenate(labels))
        assert ranking(runs, "SEEM").areas(np.array(drawn)) == pytest.approx(slow, abs=1e-12)
    assert ranking(runs, "SEEM").areas(np.array([[0, 0], [1, 1]])).tolist()[1] == 0.5
    assert ranking(runs[1::2], "SEEM") is None


def test_a_signal_that_is_no_number_ranks_as_what_speaks_against_it():
    runs = [run("L=2", seed=seed, seem=SOON, divergence=300) for seed in range(6)] + CALM
    blind = copy.deepcopy(runs)
    blind[0]["series"]["leading"] = [math.nan] * 20
    assert auc_table(blind)["SEEM"].estimate < auc_table(runs)["SEEM"].estimate
    blind = copy.deepcopy(runs)
    blind[-1]["series"]["leading"] = [math.nan] * 20
    assert auc_table(blind)["SEEM"].estimate < auc_table(runs)["SEEM"].estimate


def test_an_alarm_is_held_against_one_that_is_always_on():
    telling = [run("L=2", seed=seed, seem=SOON, divergence=300) for seed in range(6)]
    found = alarm([*telling, *CALM], 0.0)
    assert (found.precision, found.recall, found.later) == (1.0, 1.0, 1.0)
    known = [labelled(one) for one in [*telling, *CALM]]
    assert found.always == pytest.approx(np.concatenate([will for _, will in known]).mean())
    assert verdicts("surge", [*telling, *CALM])[2] == "verified"
    always_on = [run("L=2", seed=s, seem=0.5, divergence=300) for s in range(6)]
    always_on += [run("LayerNorm", seed=seed, seem=0.5) for seed in range(6)]
    assert alarm(always_on, 0.0).gain.estimate == 0
    assert verdicts("surge", always_on)[2] == "open", "an alarm that is always on is no better than itself"
    wrong = [run("L=2", seed=seed, seem=-SOON, divergence=300) for seed in range(6)]
    assert verdicts("surge", [*wrong, *(run("LayerNorm", seed=s, seem=0.5) for s in range(6))])[2] == "refuted"
    assert alarm(CALM, 0.0) is None


def test_the_threshold_of_the_discount_is_that_of_seem_or_not():
    def runs(diverging, excited, seeds=6):
        return [
            run(f"discount {value}", seed=seed, seem=0.5 if value >= excited else -0.1)
            | {"divergence_step": 300 if value >= diverging else None}
            for value in discount.DISCOUNTS
            for seed in range(seeds)
        ]

    def found(given):
        return verdicts("discount", given)[:5]

    assert found(runs(0.95, 0.95)) == ["verified"] * 5
    assert found(runs(0.95, 0.97)) == ["verified", *["refuted", "refuted"] * 2]
    assert found(runs(0.97, 0.95)) == ["verified", *["refuted", "open"] * 2]
    assert found(runs(2.0, 2.0)) == ["verified", *["open", "verified"] * 2]
    assert found(runs(0.0, 0.0))[0] == "refuted"
    assert found(runs(0.95, 0.95, seeds=1)) == ["verified"] * 5
    assert verdicts("discount", []) == []
    # Half of the critics are no more than half.
    half = [one | {"divergence_step": None} if one["seed"] % 2 else one for one in runs(0.95, 0.95)]
    assert found(half)[1] == "refuted"
    both = [one | ({"series": run("", seem=-0.1)["series"]} if one["seed"] % 2 else {}) for one in half]
    assert found(both)[1] == "open", "neither happens in more than half"
    assert "agree in 100% of" in evidence("discount", runs(0.95, 0.95), 1)
    blind = [one | {"series": run("", seem=np.nan)["series"]} for one in runs(0.95, 0.95)]
    assert found(blind) == ["refuted", *["refuted", "refuted"] * 2]


def test_a_level_that_a_reading_only_reaches_is_not_passed():
    at_zero = [run(f"discount {v}", seed=s, seem=0.0) for v in discount.DISCOUNTS for s in range(3)]
    assert verdicts("discount", at_zero)[0] == "verified"
    assert verdicts("discount", at_zero)[4] == "verified"


def test_runs_that_the_surge_study_has_are_no_other_data():
    shared = [run(f"discount {value}", seed=s, seem=SOON, divergence=300) for value in (0.5, 0.99) for s in range(6)]
    assert verdicts("discount", shared)[5:] == ["open"] * 4
    flat = {"mean_abs_q": np.ones(20)}
    other = [run(f"discount {v}", seed=s, seem=SOON, divergence=300, **flat) for v in (0.95, 0.97) for s in range(6)]
    assert verdicts("discount", [*shared, *other])[5:7] == ["verified"] * 2


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
    assert found == ["verified"] * 6 + ["open", "refuted"] + ["verified"] * 5
    assert verdicts("normalisation", arms(none=10, norms_held=3))[7] == "verified"
    assert verdicts("normalisation", arms(none=10, LayerNorm=1))[0] == "refuted"
    assert verdicts("normalisation", arms(none=10, LayerNorm=9, WeightNorm=2))[5] == "refuted"
    assert verdicts("normalisation", arms(none=10, LayerNorm=5, WeightNorm=8))[5] == "open"
    assert verdicts("normalisation", arms(none=10, GroupNorm=1, LayerScale=10))[8:] == [
        "verified",
        "refuted",
        "verified",
        "verified",
        "refuted",
    ]
    assert verdicts("normalisation", arms())[0] == "open"
    assert set(verdicts("normalisation", [run("LayerNorm")])) == {"open"}
    assert verdicts("normalisation", []) == []


def test_preventing_needs_enough_pairs_and_says_what_a_zero_leaves_possible():
    few = [one for one in arms(none=10) if one["seed"] < 4]
    assert verdicts("normalisation", few)[0] == "open"
    assert verdicts("normalisation", [one for one in arms(none=10) if one["seed"] < 5])[0] == "verified"
    assert verdicts("normalisation", arms(none=4))[0] == "open"
    apart = [one | {"seed": one["seed"] + 100 * (one["arm"] == "none")} for one in arms(none=10)]
    assert verdicts("normalisation", apart)[0] == "open", "runs of other seeds are no pairs"
    rising = np.where(np.array(READ_AT) <= 320, 10.0, 12.5)
    grown = [run("LayerNorm", seed=seed, seem=0.01, mean_abs_q=rising) for seed in range(10)]
    said = evidence("normalisation", [one for one in arms(none=10) if one["arm"] != "LayerNorm"] + grown, 0)
    assert "0 of 10 [0%, 28%] diverge" in said
    assert "none within 400 steps, but up to 28% could (95 %)" in said
    assert "|Q| changes by +25% in the last 20% of the steps" in said


def test_holding_the_norms_refutes_only_where_it_prevents_what_layernorm_prevents():
    assert verdicts("normalisation", arms(none=10, LayerNorm=1))[7] == "open"
    assert verdicts("normalisation", arms(none=4))[7] == "open"
    assert verdicts("normalisation", [o for o in arms(none=10) if o["arm"] != "norms held"])[7] == "open"
    three = [one for one in arms(none=10) if one["arm"] != "norms held" or one["seed"] < 3]
    assert verdicts("normalisation", three)[7] == "open", "three pairs are no proof that none would diverge"


def test_layernorm_lowers_seem_by_pairs():
    def runs(shift, seeds=10):
        return [
            run(name, seed=seed, seem=5.0 * seed + (shift if name == "none" else 0))
            for name in ("none", "LayerNorm")
            for seed in range(seeds)
        ]

    assert verdicts("normalisation", runs(0.1))[4] == "verified", "though the spread between seeds is larger"
    assert verdicts("normalisation", runs(-0.1))[4] == "refuted"
    assert verdicts("normalisation", runs(0.0))[4] == "open"
    assert verdicts("normalisation", runs(0.1, seeds=4))[4] == "open"
    assert verdicts("normalisation", [*runs(0.1)[1:], run("none", seed=0, seem=np.nan)])[4] == "open"


def test_batchnorm_oscillates_where_q_falls_more_often():
    swinging = np.tile([1.0, 2.0], 10)
    runs = [r for r in arms(none=10) if r["arm"] != "BatchNorm"]
    batch = [run("BatchNorm", seed=seed, mean_abs_q=swinging) for seed in range(10)]
    assert verdicts("normalisation", [*runs, *batch])[6] == "verified"
    other = [r for r in arms(none=10) if r["arm"] != "LayerNorm"]
    layer = [run("LayerNorm", seed=seed, mean_abs_q=swinging) for seed in range(10)]
    assert verdicts("normalisation", [*other, *layer])[6] == "refuted"


def test_older_targets_that_diverge_earlier_refute_the_delay():
    def runs(step, seeds=5):
        return [
            run(name, seed=seed, seem=0.5, divergence=step(lag))
            for name, lag in targets.LAGS.items()
            for seed in range(seeds)
        ]

    assert verdicts("targets", runs(lambda lag: 100 + lag)) == ["verified", "open"]
    assert verdicts("targets", runs(lambda lag: 390 - lag)) == ["refuted", "open"]
    assert verdicts("targets", runs(lambda lag: 100 + lag, seeds=4))[0] == "open"
    assert verdicts("targets", runs(lambda _: 100))[0] == verdicts("targets", runs(lambda _: None))[0] == "open"
    # Censored runs come after all that diverge, and tie.
    assert verdicts("targets", runs(lambda lag: 200 if lag < 10 else None))[0] == "verified"
    assert verdicts("targets", runs(lambda lag: 200 if lag > 10 else None))[0] == "refuted"
    said = evidence("targets", runs(lambda lag: 200 if lag < 10 else None), 0)
    assert "are censored, and tie" in said
    assert "among the" in said
    one_odd = [*runs(lambda lag: 100 + lag), run("copied every 1", seed=9, seem=0.5, divergence=390)]
    assert verdicts("targets", one_odd)[0] == "verified"
    assert (
        verdicts("targets", [run("average 0.5", seed=s, seem=-0.1, divergence=300) for s in range(5)])[1] == "refuted"
    )


def looks(kernel, *, divergence=390, moves=0.0, readings=26):
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
    assert verdicts("critical-point", [looks(settling)]) == ["verified"] * 3 + ["open", "verified"]
    turning = looks(lambda first, second: 1.0 - 0.02 * (second - first))
    assert verdicts("critical-point", [turning])[:2] == ["refuted"] * 2
    # Near from the start on: nothing has converged.
    assert verdicts("critical-point", [looks(lambda *_: 0.99)])[:2] == ["refuted"] * 2
    assert verdicts("critical-point", [looks(settling, moves=0.5)])[2] == "refuted"
    assert verdicts("critical-point", [looks(settling), looks(settling, divergence=None)])[3] == "refuted"
    calm = looks(lambda first, second: 1.0 - 0.1 * (second - first), divergence=None)
    assert verdicts("critical-point", [looks(settling), calm])[3] == "verified"
    assert verdicts("critical-point", [calm]) == verdicts("critical-point", []) == ["open"]


def test_a_direction_that_shuffled_readings_have_too_has_not_converged():
    def parted(first, second):
        """Readings far apart are alike, near ones in the middle not: their order brings nothing near."""
        return 0.5 if second - first == 4 and first < 8 else 0.97 if second - first == 4 else 0.999

    found = looks(parted)
    early, late = early_and_late(over_horizon(found, "kernel"))
    assert late > early
    assert late >= 0.95
    assert late < shuffled(found, "kernel")
    assert verdicts("critical-point", [found])[:2] == ["refuted"] * 2


def test_directions_and_moves_that_are_no_numbers_count_against_the_claim():
    assert verdicts("critical-point", [looks(lambda *_: math.nan)])[:2] == ["refuted"] * 2
    assert verdicts("critical-point", [looks(settling, moves=math.nan)])[2] == "refuted"
    assert verdicts("critical-point", [looks(lambda *_: math.nan)])[4] == "refuted"


def test_the_direction_stands_from_its_last_turn_on():
    assert stands_from(looks(settling)) == 20 * 13, "from there on four readings turn it by less than the limit"
    assert stands_from(looks(lambda first, second: 1.0 - 0.02 * (second - first))) is None
    assert verdicts("critical-point", [looks(settling, divergence=260)])[4] == "verified"
    assert verdicts("critical-point", [looks(settling, divergence=259)])[4] == "refuted"
    assert verdicts("critical-point", [looks(settling), looks(settling, divergence=100)])[4] == "refuted"


def test_sac_is_judged_offline_and_online_apart():
    def runs(data, plain, layer, seeds=5):
        arms = (("none", plain), ("LayerNorm", layer))
        return [
            run(f"offline {name}", data=data, seed=seed) | {"divergence_step": 300 if seed < count else None}
            for name, count in arms
            for seed in range(seeds)
        ]

    assert verdicts("sac", runs("toy", 5, 0)) == ["verified", "verified"]
    assert verdicts("sac", runs("toy", 5, 1)) == ["verified", "refuted"]
    assert verdicts("sac", runs("toy", 0, 0)) == ["open", "open"]
    assert verdicts("sac", runs("toy", 3, 0)) == ["open", "open"], "three of five are no majority that stands"
    assert verdicts("sac", [*runs("toy", 5, 0), *runs("toy online", 0, 1)])[2:] == ["open", "refuted"]
    assert verdicts("sac", [run("offline none")]) == ["open", "open"]


def test_without_rewards_only_an_overflow_is_beyond_what_can_be_earned():
    assert return_bound(2.0, 0.5) == 4.0
    for most, gamma in ((0.0, 0.9), (1.0, 1.0)):
        assert math.isfinite(return_bound(most, gamma))
        assert return_bound(most, gamma) > 1e300


def test_a_run_that_is_there_twice_is_refused():
    twice = [run("L=2", seed=1), run("L=2", seed=2), run("L=2", seed=1, seem=0.5)]
    with pytest.raises(InputError, match="toy L=2 3 1 is there twice"):
        check_distinct(twice)
    apart = [run("L=2", seed=1), run("L=3", seed=1), run("L=2", seed=2), run("L=2", seed=1, data="other")]
    assert check_distinct(apart) == apart


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


def test_a_refuted_sentence_is_status_1_when_strict(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    statuses = set()
    for sentence in ("verified", "refuted"):
        study = replace(find_study("surge"), judge=lambda runs, found=sentence: [Verdict("it is so", found, "")])
        options = ("--quick", "--steps", "2", "--rows", "8", "--workers", "1", "--out", str(tmp_path))
        strict = run_study(study, parse(study, [*options, "--strict"]))
        assert strict == (sentence == "refuted")
        statuses |= {strict, run_study(study, parse(study, options))}
    assert statuses == {0, 1}
    assert "REFUTED  it is so" in capsys.readouterr().out


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
    assert len(runs) == len(find_study(study).arms)
    assert "embedded (made by this project)" in printed
    assert list(tmp_path.glob("*.png"))
    lines, seed = (tmp_path / "runs.jsonl").read_text(), find_study(study).declaration.seeds[0]
    (tmp_path / "runs.jsonl").write_text(lines.replace(f'"seed":{seed}', f'"seed":{seed + 1}', 1))
    with pytest.raises(InputError, match="changed after the run"):
        read_results(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["study"] == study
