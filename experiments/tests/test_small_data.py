"""The study on few transitions: what is compared with what, how it is judged, and how it ends."""

import math
import re
import sys

import h5py
import numpy as np
import pytest
import torch
from studies.shared.record import read_results
from studies.shared.study import parse, run_study
from studies.shared.verdicts import as_json
from studies.small_data import runs as small_data_runs
from studies.small_data import study as small_data
from studies.small_data import verdicts as small_data_verdicts
from studies.small_data.learners import NOT_INSTALLED, OwnLearner, PeerLearner, Recipe
from studies.small_data.runs import give, returns_to_go, roll_out, train
from studies.small_data.verdicts import ALGORITHMS, CONSTRAINTS, FRACTIONS, PUBLISHED, SWEPT, over_return

from peers.pipe import find_peer
from seem.config import run_key
from seem.datasets import load
from seem.datasets.dataset import EMBEDDED, WINDOWS
from seem.datasets.hashes import sha256_of
from seem.datasets.registry import PINNED
from seem.errors import InputError

HOPPER = EMBEDDED / "hopper-medium.hdf5"
DISCOUNT = 0.5


def write_episodes(path, *, timeouts=True):
    """Three episodes of hopper's shape: 4 rows to a terminal, 9 rows to a time-out, 3 rows to the end of the file."""
    rows, random = 16, np.random.default_rng(0)
    terminals, limits = np.zeros(rows, bool), np.zeros(rows, bool)
    terminals[3], limits[12] = True, True
    with h5py.File(path, "w") as file:
        file["observations"] = random.standard_normal((rows, 11)).astype(np.float32)
        file["actions"] = random.uniform(-1, 1, (rows, 3)).astype(np.float32)
        file["rewards"] = np.arange(1, rows + 1, dtype=np.float32)
        file["terminals"] = terminals
        if timeouts:
            file["timeouts"] = limits
    return path


def test_returns_are_known_where_the_episode_ends_or_the_future_is_discounted_away(tmp_path):
    found = returns_to_go(load(write_episodes(tmp_path / "hopper-toy.hdf5")), DISCOUNT)
    assert found is not None
    assert found[:4].tolist() == [1 + 2 / 2 + 3 / 4 + 4 / 8, 2 + 3 / 2 + 4 / 4, 3 + 4 / 2, 4]
    # 1/2^7 is the first factor below 1 %, and three of nine rows have seven or more rewards ahead.
    assert np.isfinite(found[4:12]).tolist() == [True] * 3 + [False] * 5
    assert found[4] == sum((5 + k) / 2**k for k in range(9))
    # The time-out's own row is no transition; neither is the file's last row.
    assert len(found) == 14
    assert np.isnan(found[12:]).all()


def test_there_are_no_returns_without_episodes(tmp_path, monkeypatch):
    assert returns_to_go(load(write_episodes(tmp_path / "hopper-toy.hdf5", timeouts=False)), DISCOUNT) is None
    path = write_episodes(tmp_path / "hopper-medium-v0_3x5.hdf5")
    monkeypatch.setitem(PINNED, sha256_of(path), ("hopper-medium-v0", WINDOWS))
    windows = load(path)
    assert windows.label == WINDOWS
    assert returns_to_go(windows, DISCOUNT) is None
    assert over_return({"monte_carlo": None}) is None


def test_returns_of_the_embedded_set_obey_bellmans_equation():
    dataset = load(HOPPER)
    found = returns_to_go(dataset, 0.99)
    assert found is not None
    assert np.isfinite(found).all(), "all its episodes end in a terminal"
    rewards, terminals = (getattr(dataset.transitions, name).double().numpy() for name in ("rewards", "terminals"))
    np.testing.assert_allclose(found[:-1], rewards[:-1] + 0.99 * (1 - terminals[:-1]) * found[1:], rtol=1e-9)


def test_a_smaller_share_is_part_of_a_larger_one_and_keeps_its_returns():
    dataset = load(HOPPER)
    small, large = (give(dataset, fraction, 7, 0.99) for fraction in (0.01, 0.1))
    assert (len(small.transitions), len(large.transitions)) == (103, 1032)
    assert torch.equal(small.transitions.rewards, large.transitions.rewards[:103])
    np.testing.assert_array_equal(small.returns, large.returns[:103])
    other = give(dataset, 0.01, 8, 0.99)
    assert not torch.equal(small.transitions.rewards, other.transitions.rewards)
    # The environment's states are shifted and scaled as the drawn ones.
    raw = small.transitions.observations.numpy() * small.scale + small.shift
    np.testing.assert_allclose(small.normalise(raw), small.transitions.observations.numpy(), atol=1e-4)


class Exploding:
    """Q that doubles with every step and is no number from step 30 on."""

    library = "toy"

    def __init__(self, *_):
        self.steps = 0

    def fit(self, steps):
        self.steps += steps

    def values(self, observations, actions):
        return np.full(len(observations), np.nan if self.steps >= 30 else 2.0**self.steps)

    def act(self, observations):
        return np.full((len(observations), 3), np.nan)


def test_an_overflow_ends_the_training_and_is_a_result():
    pairs = [np.zeros((4, 11), np.float32), np.zeros((4, 3), np.float32)]
    read_at, sizes = train(Exploding(), pairs, 100, 8)
    assert read_at == [0, 8, 16, 24, 32]
    assert sizes[:4] == [1.0, 2.0**8, 2.0**16, 2.0**24]
    assert np.isnan(sizes[4])
    assert train(Exploding(), pairs, 9, 4)[0] == [0, 4, 8, 9]


def test_episodes_repeat_and_a_policy_that_is_no_number_does_nothing():
    found = roll_out("Hopper-v4", lambda states: np.zeros((len(states), 3)), 3, 0.99)
    states = np.zeros((2, 11), np.float32)
    assert (small_data_runs._acting(Exploding(), states) == 0).all()
    again = roll_out("Hopper-v4", lambda states: small_data_runs._acting(Exploding(), states), 3, 0.99)
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert (found[1] > found[2]).all(), "discounting lowers returns of positive rewards"


def test_the_constraint_pulls_the_policy_to_the_data():
    given = give(load(HOPPER), 0.01, 0, 0.99)
    distances = []
    for weight in (0.0, 10.0):
        learner = OwnLearner(Recipe(constraint=weight, width=32), given.transitions, 64, 0, "cpu")
        learner.fit(200)
        acted = learner.act(given.transitions.observations.numpy())
        distances.append(float(np.abs(acted - given.transitions.actions.numpy()).mean()))
    assert distances[1] < distances[0]


@pytest.mark.skipif(find_peer("d3rlpy") is None, reason="needs `nox -s peers-d3rlpy`")
@pytest.mark.parametrize("algorithm", ["CQL", "IQL"])
def test_d3rlpy_learns_and_repeats_itself(algorithm):
    given = give(load(HOPPER), 0.01, 0, 0.99)
    observations, actions = given.transitions.observations.numpy(), given.transitions.actions.numpy()
    found = []
    for layer_norm in (True, True, False):
        learner = PeerLearner(Recipe(algorithm, 0.01, layer_norm, width=16), given.transitions, 32, 3, "cpu")
        before = learner.values(observations, actions)
        learner.fit(20)
        after = learner.values(observations, actions)
        assert before.shape == (103,)
        assert learner.library.startswith("d3rlpy 2.")
        assert (before != after).any()
        assert np.abs(learner.act(observations)).max() <= 1
        found.append(after)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def made_up(*, diverging=(), gain=None, missing=(), strong=-10.0, bias=lambda weight: 20 - weight):
    """Kept runs of all arms over five seeds.

    Args:
        diverging: Pairs (layer_norm, constraint) of the arms that diverge.
        gain: LayerNorm's gain by share.
        missing: Algorithms that are not installed.
        strong: What the strongest constraint adds to the score.
        bias: Q less the policy's return, of the weight.
    """
    runs = []
    for arm in small_data.STUDY.arms:
        recipe = arm.agent
        kept = {name: getattr(recipe, name) for name in ("algorithm", "fraction", "layer_norm", "constraint")}
        kept |= {"arm": arm.name, "data": "toy", "label": "surrogate", "transitions": 100, "not_run": None}
        for seed in range(5):
            run = kept | {"seed": seed, "divergence_step": None, "action_distance": 1.0, "start_return": 100.0}
            run["divergence_step"] = 50 if (recipe.layer_norm, recipe.constraint) in diverging else None
            run["score"] = 40.0 + seed + ((gain or {}).get(recipe.fraction, 0.0) if recipe.layer_norm else 0.0)
            run["score"] += strong if recipe.constraint == CONSTRAINTS[-1] else 0.0
            run |= {"start_q": 100 + bias(recipe.constraint) + seed / 100, "monte_carlo": {"q": 9.0, "return": 3.0}}
            if recipe.algorithm in missing:
                run = kept | {"seed": seed, "not_run": NOT_INSTALLED, "divergence_step": None}
            runs.append(run)
    return runs


def verdicts(**changes):
    return [judged.verdict for judged in small_data_verdicts.judge(made_up(**changes))]


def test_layer_norm_is_judged_by_what_diverges_and_by_the_score():
    plain = [(False, PUBLISHED)]
    assert verdicts(diverging=plain)[:3] == ["verified"] * 3
    assert verdicts(diverging=[*plain, (True, PUBLISHED)])[:3] == ["refuted"] * 3
    assert verdicts()[:3] == ["open"] * 3
    assert verdicts(gain={1.0: 1.0, 0.1: 5.0, 0.01: 20.0})[3:6] == ["verified"] * 3
    assert verdicts(gain={1.0: 20.0, 0.1: 5.0, 0.01: 1.0})[3:6] == ["refuted"] * 3
    assert verdicts(gain={1.0: -9.0, 0.1: -5.0, 0.01: -1.0})[3:6] == ["refuted"] * 3
    assert verdicts(gain={1.0: 3.0, 0.1: 3.0, 0.01: 3.0})[3:6] == ["open"] * 3


def few(runs, seeds):
    return [judged.verdict for judged in small_data_verdicts.judge([run for run in runs if run["seed"] < seeds])]


def test_few_seeds_decide_no_score_and_prevent_nothing():
    gain = {1.0: 20.0, 0.1: 5.0, 0.01: 1.0}
    runs = made_up(diverging=[(False, PUBLISHED), (False, 0.0)], gain=gain)
    assert few(runs, 4)[:6] == ["open"] * 6
    assert few(runs, 5)[:6] == ["verified"] * 3 + ["refuted"] * 3
    assert few(made_up(), 4)[7] == "open"
    assert few(made_up(diverging=[(False, PUBLISHED), (True, PUBLISHED)]), 1)[:3] == ["refuted"] * 3
    blind = [run | {"score": math.nan} if run["seed"] == 0 else run for run in runs]
    assert few(blind, 5)[3:6] == ["open"] * 3
    assert small_data_verdicts.judge([]) == []


def test_the_constraint_is_judged_by_divergence_score_and_bias():
    assert verdicts(diverging=[(False, 0.0)])[6:] == ["verified"] * 3
    assert verdicts(diverging=[(False, 0.0), (False, PUBLISHED)])[6] == "refuted"
    assert verdicts(strong=10.0)[6:8] == ["open", "refuted"]
    assert verdicts(strong=0.0)[7] == "open"
    assert verdicts(bias=lambda weight: weight)[8] == "refuted"
    assert verdicts(bias=lambda weight: 0.0)[8] == "open"
    assert verdicts(bias=lambda weight: -100 - weight)[8] == "open", "who promises too little does not promise too much"


def test_what_is_not_installed_is_said_and_stays_open():
    verdicts = small_data_verdicts.judge(made_up(diverging=[(False, PUBLISHED)], missing=("CQL", "IQL")))
    assert [judged.verdict for judged in verdicts[:3]] == ["verified", "open", "open"]
    assert all("nox -s peers-d3rlpy" in judged.evidence for judged in (*verdicts[1:3], *verdicts[4:6]))


def call(*arguments):
    return run_study(small_data.STUDY, parse(small_data.STUDY, ["--workers", "1", *arguments]))


def test_a_quick_run_without_d3rlpy_is_kept_and_not_repeated(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    monkeypatch.setattr(small_data_runs, "find_peer", lambda name: None)
    arguments = ("--quick", "--steps", "4", "--width", "8", "--out", str(tmp_path))
    call(*arguments)
    results, runs = read_results(tmp_path)
    missing = [run for run in runs if run["not_run"]]
    assert {run["algorithm"] for run in missing} == {"CQL", "IQL"}
    assert len(missing) == 2 * 2 * len(FRACTIONS)
    assert len(runs) == len(missing) + 2 * (len(FRACTIONS) + len(CONSTRAINTS) - 1)
    printed = capsys.readouterr().out
    assert NOT_INSTALLED in printed
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "fractions-hopper-medium.png",
        "constraint-hopper-medium.png",
    }
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("kept.json")}
    assert len(kept) == len(runs) - len(missing), "what was not run is not finished"
    call(*arguments)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("kept.json")} == kept
    assert read_results(tmp_path)[0]["verdicts"] == results["verdicts"]


def test_overflows_are_recorded_judged_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    monkeypatch.setattr(small_data_runs, "find_peer", lambda name: None)
    monkeypatch.setattr(small_data_runs, "OwnLearner", Exploding)
    assert call("--quick", "--strict", "--out", str(tmp_path)) == 1
    results, runs = read_results(tmp_path)
    crashed = [run for run in runs if not run["not_run"]]
    assert {(run["divergence_step"], run["crash_step"], run["last_q"]) for run in crashed} == {(10, 30, 5.3687e8)}
    assert all(np.isnan(run["start_q"]) and np.isfinite(run["score"]) for run in crashed)
    assert as_json(small_data_verdicts.judge(runs)) == results["verdicts"]
    assert results["verdicts"][0]["verdict"] == "refuted"


BAD = {
    "seed": (("--seeds", "-1"), "from 0 to"),
    "rows": (("--rows", "1"), "from 2 to"),
    "steps": (("--steps", "0"), "from 1 to"),
    "episodes": (("--episodes", "0"), "from 1 to"),
    "width": (("--width", "0"), "from 1 to"),
    "data": (("--data", "swimmer"), "hopper"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path):
    arguments, remedy = BAD[name]
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        call("--out", str(tmp_path / "out"), *arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_gymnasium_nothing_is_started(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=re.escape("seem-verify[collect]")):
        call("--quick", "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_another_recipe_is_another_run():
    budget, data = small_data.budget(100, 64), load(HOPPER)
    configs = [budget.run(arm, 0) for arm in small_data.STUDY.arms]
    assert len({run_key(config, data, "cpu") for config in configs}) == len(configs)
    longer = small_data.arms(width=64, episodes=9)[0]
    assert run_key(budget.run(longer, 0), data, "cpu") != run_key(configs[0], data, "cpu")


def test_every_arm_has_a_name_of_its_own():
    names = [arm.name for arm in small_data.STUDY.arms]
    assert len(set(names)) == len(names) == len(ALGORITHMS) * 2 * len(FRACTIONS) + 2 * (len(CONSTRAINTS) - 1)
    assert SWEPT in FRACTIONS
