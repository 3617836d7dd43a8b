"""What the study of optimisers concludes, from runs made up for it."""

import copy
import math

import numpy as np
import pytest
from studies.optimiser import growth, leaving, signals
from studies.optimiser.figures import figures, medians, table
from studies.optimiser.runs import SAID
from studies.shared.runs import column

from experiments.tests.optimiser_cases import BOUND, calm, run, several, verdicts

CELL = "toy, L=3, minibatches"
AT_20 = f"{CELL}: over 20 steps the growth of |u| is predicted within 0.1"
NEARER = f"{CELL}: over {{}} steps the predicted growth of |u| is nearer than {{}}"
HALF = f"{CELL}: over 100 steps the predicted growth of |u| is off by less than 0.5 times what persistence is"
ONSET = f"{CELL}: as the surge begins the predicted growth of |u| over 20 steps is off by less than 0.5 times what "
ONSET += "persistence is"
SEEM = "toy: ηλ of plain gradient descent says the growth of |u| over 20 steps under Adam"
MEDIAN, QUARTILES = (
    f"toy: 50 to 200 steps before Q leaves its bound under Adam, stated over real time has its {part}"
    for part in ("median within 0.9 to 1.15", "quartiles within 0.8 to 1.4")
)
HOLDS = "the interval of the calibration seeds holds the step at which Q leaves its bound in 90%, "
FIRST, EVERY = HOLDS + "at the first forecast of each run", HOLDS + "over all forecasts of each run"
NARROW = "that interval's latest end is at most 2 times as far as its earliest"


def judged(runs):
    """Outcomes of what is judged of growth and of times: all but the signals, which are dear."""
    return verdicts(runs, lambda runs: [*growth.judge_growth(runs), *leaving.judge_leaving(runs)])


def test_errors_of_growth_are_those_of_the_readings_in_the_surge():
    kept = run(off=(0.03, -0.3), curve=1e-4)
    assert growth.error(kept, 20, "predicted") == pytest.approx(0.03)
    assert growth.error(kept, 100, "predicted") == pytest.approx(0.3)
    assert growth.error(kept, 20, "persistence") == pytest.approx(0.08)
    assert growth.error(kept, 100, "persistence") == pytest.approx(1.2)
    # |Q| is at a tenth of the bound from step 200 on; the growth over 20 steps from step t is 4e-3 t + .04.
    assert growth.error(kept, 20, "no change") == pytest.approx(4e-3 * 290 + 0.04)
    assert growth.error(kept, 20, "no change", where=growth.beginning) == pytest.approx(4e-3 * 220 + 0.04)


def test_readings_below_a_tenth_of_the_bound_or_past_it_or_without_a_later_one_do_not_count():
    q = np.full(19, BOUND / 20)
    assert growth.error(run(mean_abs_q=q), 20, "predicted") is None
    q[[3, 4]] = BOUND / 10, BOUND * 1.01
    wrong = np.where(np.arange(19) == 3, 0.5, 5.0)
    kept = run(mean_abs_q=q)
    kept["series"]["growth_20"] = (column(kept, "growth_20") + wrong).tolist()
    assert growth.error(kept, 20, "predicted") == pytest.approx(0.5)
    still = run(left=None)
    assert still["read_at"][-1] == still["steps"]
    assert np.isnan(growth.real(still, 20)).tolist() == [False] * 39 + [True]
    assert np.isnan(growth.real(still, 100)).sum() == 5


def test_predictions_that_are_no_numbers_are_the_worst_and_answers_that_are_none_do_not_count():
    assert growth.error(run(growth_20=math.nan), 20, "predicted") == growth.LARGEST
    assert growth.error(run(growth_20=math.inf), 20, "predicted") == growth.LARGEST
    assert growth.error(run(growth_20=50.0), 20, "predicted") == growth.LARGEST
    overflowed = run()
    overflowed["td_norm"] = ["inf"] * len(overflowed["td_norm"])
    assert growth.error(overflowed, 20, "predicted") is None
    assert judged([copy.deepcopy(overflowed) | {"seed": seed} for seed in range(6)])[AT_20] == "open"


@pytest.mark.parametrize(
    ("off", "aim", "nearer", "half"),
    [
        ((0.01, 0.1), "verified", "verified", "verified"),
        ((0.09, 1.3), "verified", "refuted", "refuted"),
        ((0.05, 0.7), "verified", "verified", "refuted"),
        ((3.0, 9.0), "refuted", "refuted", "refuted"),
        ((math.nan, math.nan), "refuted", "refuted", "refuted"),
    ],
)
def test_predicted_growth_is_held_against_its_aim_and_its_rivals(off, aim, nearer, half):
    found = judged(several(off=off))
    assert found[AT_20] == aim
    assert {found[NEARER.format(steps, "persistence")] for steps in (20, 100)} == {nearer}
    assert found[HALF] == half
    assert found[ONSET] == ("verified" if off[0] < 0.04 else "refuted")


def test_no_change_is_a_rival_of_its_own():
    found = judged(several(off=(1.0, 6.0)))
    assert found[NEARER.format(20, "no change")] == "verified"
    assert found[NEARER.format(100, "no change")] == "verified"
    assert found[NEARER.format(20, "persistence")] == "refuted"
    level = several(off=(0.01, 0.01), curve=0.0)
    assert judged(level)[NEARER.format(20, "no change")] == "refuted"


def test_the_beginning_is_judged_by_its_own_readings():
    late = np.where(np.arange(20, 400, 20) >= 260, 1.0, 0.0)
    runs = several()
    for kept in runs:
        kept["series"]["growth_20"] = (column(kept, "growth_20") + late).tolist()
    found = judged(runs)
    assert (found[ONSET], found[AT_20]) == ("verified", "refuted")


def test_mixed_few_and_no_runs_leave_it_open():
    mixed = [*several(3, off=(0.01, 0.1)), *(run(seed, off=(0.5, 5.0)) for seed in range(3, 6))]
    found = verdicts(mixed)
    assert {found[name] for name in (AT_20, HALF, ONSET, NEARER.format(20, "persistence"))} == {"open"}
    assert set(verdicts(several(4)).values()) == {"open"}
    assert set(verdicts([run()]).values()) == {"open"}
    assert verdicts([]) == dict.fromkeys((FIRST, EVERY, NARROW), "open")


def test_data_depth_and_batch_are_judged_apart():
    runs = several(off=(0.07, 0.0)) + several(off=(0.07, 0.0), full_batch=True, arm="full batch")
    runs += several(off=(0.5, 0.0), depth=2, arm="L=2") + several(off=(0.5, 0.0), data="other")
    found = judged(runs)
    assert found[AT_20] == "verified"
    assert found["toy, L=3, full batch: over 20 steps the growth of |u| is predicted within 0.05"] == "refuted"
    assert found["toy, L=2, minibatches: over 20 steps the growth of |u| is predicted within 0.1"] == "refuted"
    assert found["other, L=3, minibatches: over 20 steps the growth of |u| is predicted within 0.1"] == "refuted"


@pytest.mark.parametrize(
    "other", [{"optimiser": "SGD"}, {"optimiser": "momentum"}, {"normalisation": "layer"}, {"target_rate": 0.05}]
)
def test_other_arms_change_no_sentence_on_copied_adam(other):
    wrong = several(off=(9.0, 9.0), ratio=7.0, arm="other", **other)
    found, alone = judged([*several(), *wrong]), judged(several())
    for sentence in (AT_20, HALF, ONSET, MEDIAN, QUARTILES):
        assert found[sentence] == alone[sentence] == "verified"


def test_seem_says_the_growth_only_where_it_is_that_of_plain_descent():
    # ln |u| grows by ln(1.01) at every step: ηλ = .01.
    level = {"curve": 0.0, "slope": math.log(1.01)}
    assert judged(several(leading=10.0, **level))[SEEM] == "verified"
    assert judged(several(leading=1000.0, **level))[SEEM] == "refuted"
    assert judged(several(leading=math.nan, **level))[SEEM] == "refuted"
    assert growth.plain_descent(run(leading=-3000.0), 20)[0] == pytest.approx(20 * math.log(2))


def test_stated_times_count_from_50_to_200_steps_before_alone():
    kept = run(ratio=1.5)
    assert leaving.ratios(kept).tolist() == pytest.approx([1.5] * 8)
    assert leaving.ratios(kept, "crossing").tolist() == pytest.approx([1.5] * 8)
    assert len(leaving.ratios(run(left=None))) == 0
    assert leaving.ratios(run(leaves_at=math.inf)).tolist() == []
    assert leaving.ratios(run(leaves_at=math.nan)).tolist() == []
    assert leaving.ratios(run(ratio=70.0)).tolist() == [leaving.LARGEST] * 8
    half = np.where(np.arange(19) % 2, 500.0, math.inf)
    assert len(leaving.ratios(run(leaves_at=half))) == len(leaving.ratios(run(leaves_at=half), "crossing")) == 4
    # Readings are judged from 50 to 200 steps before, both included.
    assert np.array(kept["read_at"])[leaving.near(kept)].tolist() == list(range(200, 360, 20))
    later = run(left=410)
    assert np.array(later["read_at"])[leaving.near(later)].tolist() == list(range(220, 361, 20))


@pytest.mark.parametrize(
    ("ratios", "median", "quartiles"),
    [
        ([1.0] * 8, "verified", "verified"),
        ([0.85] * 8, "refuted", "verified"),
        ([1.3] * 8, "refuted", "verified"),
        ([0.7] * 8, "refuted", "refuted"),
        ([1.5] * 8, "refuted", "refuted"),
        ([70.0] * 8, "refuted", "refuted"),
        ([math.inf] * 8, "open", "open"),
        ([math.nan] * 8, "open", "open"),
        ([1.0] * 4 + [1.3] * 4, "open", "verified"),
        ([1.0] * 5 + [1.5] * 3, "open", "open"),
        ([1.0] * 4, "open", "open"),
    ],
)
def test_stated_times_are_held_against_their_limits(ratios, median, quartiles):
    found = judged([run(seed, ratio=ratio) for seed, ratio in enumerate(ratios)])
    assert (found[MEDIAN], found[QUARTILES]) == (median, quartiles)


@pytest.mark.parametrize(
    ("every", "outcome"),
    [([1] * 6, "verified"), ([2] * 6, "verified"), ([4] * 6, "refuted"), ([99] * 6, "refuted"), ([1, 4] * 3, "open")],
)
def test_silence_before_the_divergence_is_counted(every, outcome):
    """A time is stated at each reading, or at each second or fourth one, or at none near the divergence."""
    places = np.arange(19)
    said = [np.where(places % period == 0, 400.0, math.inf) for period in every]
    runs = [run(seed, leaves_at=leaves_at) for seed, leaves_at in enumerate(said)]
    sentence = (
        "toy: 50 to 200 steps before Q leaves its bound under Adam a time is stated at 50% of the readings or more"
    )
    assert judged(runs)[sentence] == outcome


def test_a_quartile_of_drawn_runs_is_that_of_their_readings():
    parts = [np.array([1.0, 5.0]), np.array([2.0]), np.array([3.0, 4.0, 6.0])]
    for drawn in ([0, 1, 2], [0, 0, 1], [2, 2, 2]):
        pooled = np.concatenate([parts[number] for number in drawn])
        for share in (0.25, 0.5, 0.75):
            slow = np.quantile(pooled, share, method="inverted_cdf")
            assert leaving.quantile(parts, share)(np.array(drawn)) == slow
    assert leaving.quantile(parts, 0.5)(np.array([[0, 1, 2], [1, 1, 1]])).tolist() == [3.0, 2.0]


def covered(held, missed, **changes):
    """Runs whose intervals hold the step, and runs whose intervals end before it."""
    ends = [(0.8, 1.2)] * held + [(0.5, 0.9)] * missed
    return [run(seed, interval=interval, **changes) for seed, interval in enumerate(ends)]


@pytest.mark.parametrize(
    ("held", "missed", "outcome"),
    [
        (180, 20, "verified"),
        (172, 28, "verified"),
        (90, 10, "open"),
        (168, 32, "open"),
        (120, 80, "refuted"),
        (200, 0, "refuted"),
        (0, 4, "open"),
        (0, 6, "refuted"),
    ],
)
def test_an_interval_holds_what_it_says_on_enough_runs(held, missed, outcome):
    found = {one.sentence: one.verdict for one in leaving.judge_intervals(covered(held, missed))}
    assert (found[FIRST], found[EVERY]) == (outcome, outcome)


def test_the_first_forecast_is_the_first_from_a_tenth_of_the_bound_on():
    kept = run(interval=(0.8, 1.2))
    assert leaving.forecasts(kept).tolist() == [step >= 200 for step in kept["read_at"]]
    early = np.array(kept["read_at"]) < 200
    late = np.array(kept["read_at"]) == 200
    kept["series"]["latest"] = np.where(early, 0.0, column(kept, "latest")).tolist()
    assert leaving.holds(kept).all()
    kept["series"]["latest"] = np.where(late, 210.0, column(kept, "latest")).tolist()
    assert leaving.holds(kept).tolist() == [False] + [True] * 9
    runs = [copy.deepcopy(kept) | {"seed": seed} for seed in range(6)]
    found = {one.sentence: one.verdict for one in leaving.judge_intervals(runs)}
    assert (found[FIRST], found[EVERY]) == ("refuted", "open")
    without = run(earliest=math.nan)
    assert not leaving.forecasts(without).any(), "a stated step without an interval is none"


def test_ends_belong_to_the_interval():
    assert leaving.holds(run(interval=(1.0, 1.0))).all()
    assert not leaving.holds(run(interval=(1.01, 1.5))).any()


def test_runs_that_stay_are_told_and_do_not_count():
    # The runs that stay have a forecast too: it names a step within their budget.
    stays = {"crossing": 100.0, "leaves_at": 500.0, "earliest": 450.0, "latest": 550.0}
    runs = [*covered(6, 0), *(run(seed, left=None, **stays) for seed in range(10, 13))]
    first = leaving.judge_intervals(runs)[0]
    assert "6 of 6" in first.evidence
    assert "3 of 9 runs with a forecast stayed below it" in first.evidence


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [((0.8, 1.2), "verified"), ((0.5, 1.5), "refuted"), ((0.0, 1.2), "refuted"), ((0.9, math.inf), "refuted")],
)
def test_an_interval_is_narrow_or_not(interval, outcome):
    assert judged(several(interval=interval))[NARROW] == outcome


def test_the_table_and_the_figures_show_every_arm_and_signal():
    runs = [*several(off=(0.02, 0.2)), *calm(), *several(arm="SGD", optimiser="SGD", left=300)]
    shown = table(runs)
    assert shown.row_count == 3
    assert next(iter(shown.columns[4].cells)).split(" / ")[:2] == ["0.020", "0.080"]
    assert next(iter(shown.columns[6].cells)) == "1.00 (1.00-1.00)"
    assert list(shown.columns[7].cells)[:2] == ["6/6", "-"]
    drawn = figures(runs)
    left, right = drawn["growth.png"].axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["centre", "LayerNorm", "SGD"]
    assert {text.get_text() for text in right.texts} == {"predicted", "persistence", "no change"}
    area, precision = drawn["signals.png"].axes
    assert [text.get_text() for text in area.get_yticklabels()] == list(signals.SIGNALS)
    assert area.lines[0].get_xdata()[0] == precision.lines[0].get_xdata()[0] == 1.0
    assert medians(calm(mean_abs_q=1.0), 20) is None
    assert set(figures([run(left=None, mean_abs_q=1.0)])) == set(drawn), "nothing to draw is no failure"
    assert len(table([]).columns) == 8
    assert len(SAID) == len(set(SAID))
