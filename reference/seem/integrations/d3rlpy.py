"""A watch for d3rlpy: a callback of ``fit`` that reads the critics on the library's own batches, scalers included.

X* comes from the target policy of TD3 and its kin, from the mean of the policy elsewhere; of CQL, AWAC and SAC the TD
part of the loss is read, without entropy or conservative terms. What can be earned is max |r|/(1-γ) of the whole data
set, after the reward scaler.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seem.dynamics import Training
from seem.errors import InputError
from seem.integrations import Watching, check_version
from seem.isolation import untouched
from seem.lookahead import value_bound
from seem.watch import Watch

TESTED = ("2.8", "2.9")
DELAYED = ("TD3", "TD3PlusBC")
"""Their targets move with the delayed policy."""
READ = (*DELAYED, "DDPG", "SAC", "CQL", "AWAC")
REFUSED = {
    "IQL": "its target is the value of an expectile, not γQ(s', π(s'))",
    "BCQ": "its target takes the best of perturbed actions that a generator draws",
    "BEAR": "its target takes the best of several actions that are drawn",
    "PLAS": "its policy acts in the latent space of a generator",
    "PLASWithPerturbation": "its policy acts in the latent space of a generator",
    "CRR": "its target takes actions that are drawn from the policy",
    "ReBRAC": "its target has a penalty for actions that differ from the data's",
}


class _Mean(nn.Module):
    """π(s'): the squashed mean."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observations: Tensor) -> Tensor:
        """The actions of some observations."""
        return self.policy(observations).squashed_mu.clamp(-1.0, 1.0)


class WatchCallback(Watching):
    """For ``algo.fit(dataset, ..., callback=WatchCallback(dataset, every=500))``.

    Args:
        dataset: The replay buffer that is trained on.
        options: Of `seem.Watch`, without ``training``. ``fit`` can be stopped by an error only: ``on_alarm="raise"``.

    Raises:
        InputError: On an option that is impossible; at the first step on an algorithm that cannot be read.
    """

    def __init__(self, dataset: Any, **options: Any) -> None:
        check_version("d3rlpy", TESTED)
        if options.get("on_alarm") == "stop":
            raise InputError('d3rlpy\'s fit is stopped by an error only: pass on_alarm="raise"')
        super().__init__(**options)
        self.dataset = dataset
        self._batch: dict[str, Any] = {}

    def __call__(self, algo: Any, epoch: int, total_step: int) -> None:
        """Read where a reading is due.

        Args:
            algo: The algorithm in training.
            epoch: The library's epoch.
            total_step: Updates so far.
        """
        if self.watch is None:
            with untouched():
                self.watch = self._begun(algo)
        if not self.watch.due(total_step):
            return
        modules = algo.impl.modules
        self.watch.read(
            list(modules.q_funcs),
            self._batch,
            total_step,
            policy=_Mean(getattr(modules, "targ_policy", modules.policy)),
            target_critics=list(modules.targ_q_funcs),
        )

    def _begun(self, algo: Any) -> Watch:
        check_algorithm(algo)
        config, optimiser = algo.config, algo.impl.modules.critic_optim
        training = Training(
            discount=config.gamma,
            optimizer=optimiser.optim,
            targets=float(config.tau),
            target_interval=config.update_actor_interval if type(algo).__name__ in DELAYED else 1,
            clip_norm=getattr(optimiser, "_clip_grad_norm", None) or None,
        )
        options = dict(self.options)
        if options.get("bound") is None:
            options["bound"] = _bound(algo, self.dataset)
        watch = Watch(training=training, **options)
        self._batch = _batch(algo, self.dataset, watch.rows)
        return watch


def check_algorithm(algo: Any) -> None:
    """Refuse algorithms whose target is not γQ(s', π(s')).

    Args:
        algo: Of d3rlpy.

    Raises:
        InputError: Saying why.
    """
    name = type(algo).__name__
    if name in REFUSED:
        raise InputError(f"{name} cannot be watched: {REFUSED[name]}; read its critics by hand (seem.read)")
    if name not in READ:
        raise InputError(
            f"{name} is not known to this watch, which reads {', '.join(READ)}: read it by hand (seem.read)"
        )
    factory = type(algo.config.q_func_factory).__name__
    if factory != "MeanQFunctionFactory":
        raise InputError(f"{factory} trains quantiles and not their mean: watch critics of MeanQFunctionFactory")
    if getattr(algo.config, "max_q_backup", False):
        raise InputError("max_q_backup takes the best of actions that are drawn: watch critics trained without it")


def _batch(algo: Any, dataset: Any, rows: int) -> dict[str, Any]:
    """Transitions evenly spaced over the data, as the library makes a batch of them."""
    from d3rlpy.dataset import TransitionMiniBatch  # pyright: ignore[reportMissingImports]
    from d3rlpy.torch_utility import TorchMiniBatch  # pyright: ignore[reportMissingImports]

    try:
        buffer, count = dataset.buffer, dataset.transition_count
        chosen = np.unique(np.linspace(0, count - 1, rows).round().astype(int)).tolist()
        drawn = [dataset.transition_picker(*buffer[index]) for index in chosen]
    except NotImplementedError as error:
        raise InputError("a mixed replay buffer has no order: pass the buffer that holds the data") from error
    scalers = {f"{name}_scaler": getattr(algo, f"{name}_scaler") for name in ("observation", "action", "reward")}
    made = TorchMiniBatch.from_batch(
        TransitionMiniBatch.from_transitions(drawn), algo.config.gamma, False, algo.impl.device, **scalers
    )
    names = ("observations", "actions", "rewards", "next_observations", "terminals")
    return {name: getattr(made, name) for name in names} | {"discounts": algo.config.gamma**made.intervals}


def _bound(algo: Any, dataset: Any) -> float:
    rewards = np.concatenate([np.asarray(episode.rewards, np.float64).ravel() for episode in dataset.episodes])
    if algo.reward_scaler is not None:
        rewards = algo.reward_scaler.transform(torch.from_numpy(rewards)).numpy()
    return value_bound(rewards, algo.config.gamma)
