"""The watch in d3rlpy: bits of a training, an alarm before |Q| leaves its bound, scalers, and what is refused."""

import contextlib
import io
import random
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.tests.libraries.autograd import same_bits, state_of
from seem.alarms import AlarmError
from seem.datasets.dataset import EMBEDDED, load
from seem.errors import InputError

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # gym, which it imports, speaks of itself
    warnings.simplefilter("ignore")
    import d3rlpy

from seem import integrations
from seem.integrations.d3rlpy import WatchCallback

SMALL = d3rlpy.models.VectorEncoderFactory([48, 48])
COPIED = {"tau": 1.0, "batch_size": 96, "critic_learning_rate": 1e-3, "actor_learning_rate": 1e-3}


def dataset(steps=300):
    """The first rows of the embedded hopper set, raw."""
    rows = load(EMBEDDED / "hopper-medium.hdf5").transitions
    parts = [getattr(rows, name)[:steps].float().numpy() for name in ("observations", "actions", "rewards")]
    ends = np.zeros(steps, np.float32)
    ends[99::100] = 1
    return d3rlpy.dataset.MDPDataset(*parts, terminals=np.zeros(steps, np.float32), timeouts=ends)


def made(config=d3rlpy.algos.TD3Config, **options):
    d3rlpy.seed(1)
    return config(actor_encoder_factory=SMALL, critic_encoder_factory=SMALL, **options).create(device="cpu:0")


def fit(algo, data, steps, callback=None):
    random.seed(0)
    algo.fit(
        data,
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        save_interval=10**9,
        callback=callback,
    )
    return algo


def bits(algo):
    modules = vars(algo.impl.modules).values()
    parts = [part for part in modules if isinstance(part, torch.nn.Module)]
    optimisers = [part.optim for part in modules if hasattr(part, "optim")]
    keys = np.random.get_state()[1]  # noqa: NPY002 - the generator that the library draws from
    return [*state_of(*parts, *optimisers), torch.tensor(random.getstate()[1]), torch.from_numpy(keys.astype(np.int64))]


@pytest.mark.parametrize(
    "config", [d3rlpy.algos.TD3Config, d3rlpy.algos.SACConfig, d3rlpy.algos.TD3PlusBCConfig, d3rlpy.algos.CQLConfig]
)
def test_no_bit_of_the_training_changes(config):
    data = dataset()
    plain = bits(fit(made(config, batch_size=32), data, 25))
    watch = WatchCallback(data, every=5, rows=48)
    assert same_bits(plain, bits(fit(made(config, batch_size=32), data, 25, watch)))
    assert [entry["step"] for entry in watch.history] == [1, 5, 10, 15, 20, 25]
    assert all(entry["mean_abs_q"] > 0 for entry in watch.history)


def test_a_diverging_run_alarms_before_q_leaves_its_bound():
    """Raw states, copied targets, no behaviour cloning."""
    data, watched = dataset(), []
    algo = made(update_actor_interval=1, target_smoothing_sigma=0.0, **COPIED)
    watch = WatchCallback(data, every=20, on_alarm="raise")
    with pytest.raises(AlarmError, match="about to leave"):
        fit(algo, data, 1500, watch)
    assert watch.alarm.kind == "about to leave"
    assert watch.history[-1]["share_of_bound"] < 1
    # The same run without a watch does leave it.
    bound = watch.history[-1]["bound"]
    again = made(update_actor_interval=1, target_smoothing_sigma=0.0, **COPIED)
    silent = WatchCallback(data, every=20, on_alarm=watched.append)
    fit(again, data, int(watch.alarm.step) + 200, silent)
    assert max(entry["mean_abs_q"] for entry in silent.history) > bound
    assert watched[0].step == watch.alarm.step


def test_scalers_are_the_librarys_own():
    data = dataset()
    scalers = {
        "observation_scaler": d3rlpy.preprocessing.StandardObservationScaler(),
        "reward_scaler": d3rlpy.preprocessing.MultiplyRewardScaler(10.0),
    }
    watch = WatchCallback(data, every=5)
    algo = fit(made(**scalers), data, 5, watch)
    raw = np.concatenate([episode.rewards for episode in data.episodes])
    assert watch.history[-1]["bound"] == pytest.approx(10 * np.abs(raw).max() / 0.01)
    states = np.concatenate([episode.observations for episode in data.episodes])
    seen = watch._batch["observations"].numpy()
    scaled = algo.observation_scaler.transform_numpy(states)
    assert seen.shape[1] == scaled.shape[1]
    assert all((np.abs(scaled - row).max(1) < 1e-5).any() for row in seen)


REFUSALS = {
    "IQL": (d3rlpy.algos.IQLConfig(), "expectile"),
    "BCQ": (d3rlpy.algos.BCQConfig(), "perturbed actions"),
    "quantiles": (d3rlpy.algos.SACConfig(q_func_factory=d3rlpy.models.QRQFunctionFactory()), "trains quantiles"),
    "ReBRAC": (d3rlpy.algos.ReBRACConfig(), "penalty"),
    "BC": (d3rlpy.algos.BCConfig(), "not known to this watch"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_read_is_refused_in_a_sentence(name):
    config, message = REFUSALS[name]
    data = dataset()
    with pytest.raises(InputError, match=message):
        fit(config.create(device="cpu:0"), data, 2, WatchCallback(data, every=1))


def test_options_are_refused_before_training():
    for options, message in (({"every": 0}, "every 0"), ({"on_alarm": "stop"}, 'pass on_alarm="raise"')):
        with pytest.raises(InputError, match=message):
            WatchCallback(dataset(), **options)


def test_another_version_warns_once(monkeypatch):
    monkeypatch.setattr(integrations, "version", lambda name: "3.0.1")
    monkeypatch.setattr(integrations, "_said", set())
    with pytest.warns(UserWarning, match=r"d3rlpy 3.0.1 was not tested"):
        WatchCallback(dataset(), every=1)
    WatchCallback(dataset(), every=1)  # a second warning would be an error here


def test_the_lines_of_the_guide():
    page = (Path(__file__).parents[1] / "docs" / "guides" / "watch.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```py\n(from seem.integrations.d3rlpy.*?)```", page, re.DOTALL)
    # Without files and progress bars.
    quiet = {"n_steps_per_epoch": 3, "show_progress": False, "logger_adapter": d3rlpy.logging.NoopAdapterFactory()}
    names = {"dataset": dataset(), "algo": made(batch_size=8), "n_steps": 3, "quiet": quiet}
    exec(block.replace("n_steps=n_steps", "n_steps=n_steps, **quiet"), names)  # noqa: S102
    assert [entry["step"] for entry in names["watch"].history] == [1]
