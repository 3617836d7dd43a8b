"""What the growth study concludes, from rows made up for it: every sentence verified, refuted and open."""

import math

import numpy as np
import pytest
from studies.growth.verdicts import judge
from studies.shared.declaration import read_declaration
from studies.shared.registry import find_study

AT_80, AT_95, NO_ALARM, PROMISE, MECHANISM = (
    "crash step forecast at 80% of the run",
    "crash step forecast at 95% of the run",
    "no run that outlives its budget was forecast to crash within it",
    "a run that is ever forecast to crash within its budget does so more often than not",
    "every crash has a mechanism",
)


def plain(seed=0, *, depth=2, error=0.0, crash=100, exponent=None, alignment=0.95, promised=3, **changes):
    """The row of one run under gradient descent, whose forecasts at 80 and 95 % are off by one error."""
    errors = [{"fraction": at, "crash": error, "covered": True, "why": None} for at in (0.5, 0.8, 0.95)]
    row = {"kind": "plain", "data": "toy", "depth": depth, "seed": seed, "crash_step": crash, "exponent": exponent}
    row |= {"alignment": alignment, "errors": errors if crash is not None else [], "budget": 500, "forecasts": 10}
    row |= {"promised": promised, "mechanism": "self-excitation" if crash is not None else None}
    return row | changes


def adam(seed, depth, power, *, ratio=1.0):
    row = {"kind": "adam", "data": "toy", "depth": depth, "seed": seed, "crash_step": None, "power": power}
    return row | {"loglog_slope": power, "norm_slope": ratio, **dict.fromkeys(SLOPES, 1.0)}


SLOPES = ("finite_beta2_slope", "paper_slope", "active_slope")


def control(seed, kind="layer-norm", crash=None):
    row = {"kind": kind, "data": "toy", "depth": 2, "seed": seed, "crash_step": crash, "normalised_seem": 0.1}
    return row | {"mechanism": "self-excitation" if crash else None, "plain_crash_step": 100, "steps": 300}


def judged(rows, study="growth"):
    """Verdicts by sentence."""
    return {found.sentence: found for found in judge(rows, study)}


def words(rows):
    return {sentence: found.verdict for sentence, found in judged(rows).items()}


@pytest.mark.parametrize(
    ("errors", "at_80", "at_95"),
    [
        ([0.01] * 10, "verified", "verified"),
        ([-0.05] * 10, "verified", "refuted"),
        ([0.5] * 10, "refuted", "refuted"),
        # The best of ten is no evidence, and a median inside that a few more runs could move is none.
        ([0.0, *[0.5] * 9], "refuted", "refuted"),
        ([0.0] * 6 + [0.5] * 4, "open", "open"),
        ([0.0], "open", "open"),
        ([0.0] * 9 + [math.inf], "verified", "verified"),
        ([0.0] * 4 + [math.nan] * 6, "open", "open"),
        ([math.nan] * 10, "refuted", "refuted"),
        ([0.1] * 10, "verified", "refuted"),
        ([0.02] * 10, "verified", "verified"),
        ([-0.10001] * 10, "refuted", "refuted"),
    ],
)
def test_forecasts_are_judged_by_how_many_are_inside(errors, at_80, at_95):
    found = words([plain(seed, error=error) for seed, error in enumerate(errors)])
    assert (found[AT_80], found[AT_95]) == (at_80, at_95)


def test_a_run_without_a_forecast_is_outside_and_a_censored_one_is_counted():
    silent = [plain(seed, errors=[]) for seed in range(10)]
    assert words(silent)[AT_80] == "refuted"
    found = judged([plain(0), plain(1, error=math.inf), plain(2, crash=None)])[AT_80]
    assert "1 of 2" in found.evidence
    assert "1 of 3 runs censored" in found.evidence
    assert "inf" not in found.evidence.replace("infinite (no forecast of a crash)", "")


def test_an_error_that_is_no_number_is_an_infinite_one():
    found = judged([*(plain(seed) for seed in range(9)), plain(9, error=math.nan)])[AT_80]
    assert "worst infinite (no forecast of a crash)" in found.evidence
    assert "9 of 10" in found.evidence


def test_without_a_crash_forecasts_are_open():
    found = words([plain(seed, crash=None, promised=0) for seed in range(12)])
    assert [found[name] for name in (AT_80, AT_95, NO_ALARM, PROMISE, MECHANISM)] == [
        "open",
        "open",
        "verified",
        "open",
        "open",
    ]
    assert set(words([]).values()) == {"open"}


def test_one_false_alarm_refutes_and_forecasts_that_are_not_recorded_verify_nothing():
    crashed, quiet = [plain(seed) for seed in range(9)], plain(9, crash=None, promised=0)
    assert words([*crashed, quiet])[NO_ALARM] == "verified"
    alarmed = plain(10, crash=None, promised=1)
    assert words([*crashed, quiet, alarmed])[NO_ALARM] == "refuted"
    assert "1 of 2" in judged([*crashed, quiet, alarmed])[NO_ALARM].evidence
    unknown = {name: value for name, value in plain(11, crash=None).items() if name not in ("promised", "forecasts")}
    assert words([*crashed, quiet, unknown])[NO_ALARM] == "open"
    assert words([*crashed, alarmed, unknown])[NO_ALARM] == "refuted"
    assert words(crashed)[NO_ALARM] == "open", "no run is censored"


@pytest.mark.parametrize(
    ("crashed", "alarmed", "verdict"), [(9, 1, "verified"), (6, 4, "open"), (1, 9, "refuted"), (0, 0, "open")]
)
def test_a_promise_is_kept_more_often_than_not_or_broken(crashed, alarmed, verdict):
    rows = [plain(seed) for seed in range(crashed)]
    rows += [plain(50 + seed, crash=None, promised=1) for seed in range(alarmed)]
    rows += [plain(90, crash=None, promised=0), plain(91, promised=0)]
    assert words(rows)[PROMISE] == verdict
    assert "crashes came without one" in judged(rows)[PROMISE].evidence


@pytest.mark.parametrize(
    ("mechanism", "verdict"),
    [("overshoot", "verified"), ("unexplained", "refuted"), (None, "refuted"), ("fatigue", "refuted")],
)
def test_one_crash_without_a_mechanism_refutes(mechanism, verdict):
    rows = [*(plain(seed) for seed in range(9)), plain(9, mechanism=mechanism)]
    assert words(rows)[MECHANISM] == verdict
    calm = plain(10, crash=None, mechanism="unexplained")
    assert words([*(plain(seed) for seed in range(9)), calm])[MECHANISM] == "verified"


LINE, ALIGNED = "L={}: Q^(-p) falls linearly, p = {:.2f}", "L={}: where u is aligned Q^(-p) falls linearly, p = {:.2f}"
DEPTHS = [(2, 1.0), (3, 4 / 3), (4, 1.5)]
SPREAD = np.linspace(-0.01, 0.01, 12)


@pytest.mark.parametrize(("depth", "p"), DEPTHS)
def test_an_exponent_is_judged_by_its_interval_aligned_or_not(depth, p):
    def rows(middle, *, alignment=0.95, seeds=range(12)):
        return [
            plain(seed, depth=depth, exponent=middle + step, alignment=alignment)
            for seed, step in zip(seeds, SPREAD, strict=False)
        ]

    line, aligned = LINE.format(depth, p), ALIGNED.format(depth, p)
    for middle, verdict in ((p, "verified"), (p + 0.09 * p, "verified"), (p - 0.3, "refuted"), (p + 0.3, "refuted")):
        found = words(rows(middle))
        assert (found[line], found[aligned]) == (verdict, verdict)
    found = words(rows(p - 0.3, alignment=0.5))
    assert (found[line], found[aligned]) == ("refuted", "open")
    found = words(rows(p, alignment=None))
    assert (found[line], found[aligned]) == ("verified", "open")
    assert words(rows(p, seeds=range(9)))[line] == "open"
    assert words(rows(p, seeds=[0] * 12))[line] == "open", "one seed twelve times is one seed"
    wild = [row | {"exponent": p + 30 * (row["exponent"] - p)} for row in rows(p)]
    assert words(wild)[line] == "open", "the median is right, its interval is not"
    assert words([*rows(p), plain(40, depth=depth, exponent=math.nan)])[line] == "open"
    short = [plain(seed, depth=depth) for seed in range(12)]
    assert words(short)[line] == "open"


@pytest.mark.parametrize(("other", "p"), DEPTHS)
def test_the_exponent_of_another_depth_is_never_verified(other, p):
    for depth, own in DEPTHS:
        rows = [plain(seed, depth=depth, exponent=p + step / 10) for seed, step in enumerate(SPREAD)]
        assert (words(rows)[LINE.format(depth, own)] == "verified") == (depth == other)


def test_one_layer_grows_exponentially():
    rows = [plain(seed, depth=1, exponent=step) for seed, step in enumerate(SPREAD)]
    assert words(rows)["L=1: Q grows exponentially"] == "verified"
    bent = [plain(seed, depth=1, exponent=1 + step) for seed, step in enumerate(SPREAD)]
    assert words(bent)["L=1: Q grows exponentially"] == "refuted"
    assert not any("aligned" in name for name in words(rows))


POWER, NORM = "Adam, L=4: Q grows as t^4", "Adam: norm slope is lr·sqrt(P active) times the finite-β₂ ratio"


@pytest.mark.parametrize(
    ("middle", "verdict"),
    [(4.0, "verified"), (4.38, "verified"), (4.49, "refuted"), (4.4, "open"), (3.5, "refuted"), (math.nan, "open")],
)
def test_a_power_of_t_is_not_rounded(middle, verdict):
    rows = [adam(seed, 4, middle + step) for seed, step in enumerate(SPREAD)]
    assert words([plain(0, depth=4), *rows])[POWER] == verdict
    assert words([plain(0, depth=4), *rows[:9]])[POWER] == "open"


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.0, "verified"), (1.13, "verified"), (1.3, "refuted"), (0.8, "refuted"), (1.15, "open")]
)
def test_adams_slope_is_judged_by_its_interval(ratio, verdict):
    rows = [adam(seed, 4, 4.0, ratio=ratio + step) for seed, step in enumerate(SPREAD)]
    assert words([plain(0, depth=4), *rows])[NORM] == verdict
    crashed = [{"kind": "adam", "data": "toy", "depth": 4, "seed": seed, "crash_step": 9} for seed in range(12)]
    assert words([plain(0, depth=4), *crashed])[NORM] == "open"


@pytest.mark.parametrize(("kind", "sentence"), [("layer-norm", "LayerNorm"), ("low-discount", "a low discount")])
def test_one_control_that_crashes_refutes_and_few_that_do_not_verify_nothing(kind, sentence):
    name = f"{sentence} prevents the crash"
    assert words([plain(0), *(control(seed, kind) for seed in range(8))])[name] == "verified"
    assert words([plain(0), *(control(seed, kind) for seed in range(4))])[name] == "open"
    assert words([plain(0), *([control(0, kind)] * 8)])[name] == "open"
    assert words([plain(0), *(control(seed, kind) for seed in range(8)), control(8, kind, 50)])[name] == "refuted"
    assert "0 of 8 [0%, 32%]" in judged([plain(0), *(control(s, kind) for s in range(8))])[name].evidence


def test_the_confirmation_is_judged_alike_by_thresholds_of_its_own_file():
    first, second = (read_declaration(name) for name in ("growth", "growth-confirmation"))
    shared = {name: value for name, value in first.thresholds.items() if name != "control_factors"}
    assert shared == second.thresholds
    assert second.written == "before the runs"
    assert not any("looked_at" in verdict for verdict in second.verdicts)
    rows = [plain(seed, exponent=1 + step) for seed, step in enumerate(SPREAD)]
    assert find_study("growth-confirmation").judge(rows) == find_study("growth").judge(rows)
    assert find_study("growth-confirmation").plan is find_study("growth").plan
