"""Long runs under normalisations, judged on made-up runs; which runs are planned, and for how long."""

import math

import pytest
from studies.shared.study import parse
from studies.training.normalisation_long import ARMS, STUDY, change_at_end, judge, plan

from seem.errors import InputError

READ_AT = [0, 1, 2, 4, 1000, 2000, 3000, 3500, 3900, 4000, 4500, 5000]


def run(arm, *, seed=0, steps=5000, divergence=None, before=10.0, last=10.0):
    """A run whose |Q| has one size in the fifth before the last and another in the last."""
    q = [1.0] * 6 + [before] * 3 + [last] * 3
    shared = {"arm": arm, "seed": seed, "data": "toy", "steps": steps, "divergence_step": divergence}
    return shared | {"read_at": READ_AT, "series": {"mean_abs_q": q}}


def plain(seeds=20):
    return [run("none", seed=seed, steps=1000, divergence=300) for seed in range(seeds)]


def found(runs):
    return {verdict.sentence.removeprefix("toy: "): verdict for verdict in judge(runs)}


PREVENTS = "LayerNorm prevents the divergence within the steps of the study"
SETTLES = "under LayerNorm |Q| has settled by the end of the steps in most runs"


def test_one_critic_that_diverges_refutes_and_none_of_twenty_verifies():
    calm = [run("LayerNorm", seed=seed) for seed in range(20)]
    assert found(plain() + calm)[PREVENTS].verdict == "verified"
    assert "none within 5,000 steps, but up to 16% could" in found(plain() + calm)[PREVENTS].evidence
    gone = [*calm[1:], run("LayerNorm", seed=0, divergence=4999)]
    assert found(plain() + gone)[PREVENTS].verdict == "refuted"
    assert found(calm)[PREVENTS].verdict == "open", "there is nothing to compare with"
    assert found(plain(4) + calm[:4])[PREVENTS].verdict == "open"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ([0.0] * 20, "verified"),
        ([0.0099, -0.0099] * 10, "verified"),
        ([0.02, -0.02] * 10, "refuted"),
        ([0.0] * 10 + [0.5] * 10, "open"),
        ([0.0] * 4 + [math.nan] * 16, "refuted"),
        ([math.nan], "open"),
    ],
)
def test_q_has_settled_where_the_last_fifth_is_as_the_one_before(changes, verdict):
    runs = [run("LayerNorm", seed=seed, last=10 * (1 + change)) for seed, change in enumerate(changes)]
    assert found(plain() + runs)[SETTLES].verdict == verdict


def test_the_change_at_the_end_is_of_the_means_of_two_fifths():
    one = run("LayerNorm")
    one["series"]["mean_abs_q"] = [9.0] * 6 + [1.0, 2.0, 3.0] + [2.0, 3.0, 4.0]
    assert change_at_end(one) == 0.5
    assert math.isnan(change_at_end(one | {"read_at": [0] * 12}))
    assert math.isnan(change_at_end(run("LayerNorm", before=0.0)))
    assert math.isnan(change_at_end(run("LayerNorm", before=math.inf, last=math.inf)))


def test_arms_without_runs_have_no_sentence():
    assert judge([]) == []
    assert judge(plain()) == []
    assert set(found([*plain(), run("RMSNorm")])) == {
        "RMSNorm prevents the divergence within the steps of the study",
        "under RMSNorm |Q| has settled by the end of the steps in most runs",
    }


def planned(*arguments):
    return plan(parse(STUDY, list(arguments))).tasks


def test_every_arm_and_seed_has_its_steps():
    tasks = planned()
    assert len(tasks) == 20 * len(ARMS)
    assert {task.config.budget for task in tasks if task.arm == "none"} == {1000}
    assert {task.config.budget for task in tasks if task.arm != "none"} == {5000}
    assert {task.config.reading_interval for task in tasks} == {250}
    assert {task.config.budget for task in planned("--steps", "60")} == {60}
    assert [task.arm for task in planned("--arms", "norms held", "none", "--seeds", "0")] == ["none", "norms held"]


@pytest.mark.parametrize("arms", [["WeightNorm"], ["none", "none"], []])
def test_arms_that_are_unknown_or_twice_are_refused(arms):
    with pytest.raises(InputError, match="each once"):
        plan(parse(STUDY, ["--arms", *arms]))
