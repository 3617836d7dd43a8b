"""A watch for stable-baselines3: a callback of ``learn``, and a line beside ``train`` for offline loops.

Rows come from the replay buffer as the library samples them, with the statistics of VecNormalize; X* from the target
actor of TD3 and DDPG, from the mode of SAC's, whose entropy term is not read. What can be earned is max |r|/(1-γ) of
the rewards that the buffer holds, scaled as they are now: online it moves as rewards are seen. Entries go to the
logger under ``seem/``.
"""

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from seem.dynamics import Training
from seem.errors import InputError
from seem.integrations import Watching, check_version
from seem.isolation import untouched
from seem.lookahead import value_bound
from seem.watch import Watch
from seem.watch_entry import Entry

TESTED = ("2.9", "2.10")
LOSS_SCALES = {"TD3": 1.0, "DDPG": 1.0, "SAC": 0.5}
REFUSED = {
    "DQN": "it has a value for each action",
    "QRDQN": "it trains quantiles",
    "TQC": "it trains quantiles",
    "CrossQ": "its critics couple the rows of a batch",
}


class _Action(nn.Module):
    """π(s') of the actor that the targets are made with."""

    def __init__(self, actor: nn.Module, noisy: bool) -> None:
        super().__init__()
        self.actor, self.noisy = actor, noisy

    def forward(self, observations: Any) -> Tensor:
        """The actions of some observations."""
        made = self.actor(observations, deterministic=True) if self.noisy else self.actor(observations)
        return made.clamp(-1, 1)


class WatchCallback(Watching, BaseCallback):
    """For ``model.learn(..., callback=WatchCallback(every=500))``; offline, `look` after each ``model.train``.

    Args:
        options: Of `seem.Watch`, without ``training``; with ``on_alarm="stop"`` learning ends.

    Raises:
        InputError: On an option that is impossible; at the start on an algorithm that cannot be read.
    """

    def __init__(self, **options: Any) -> None:
        BaseCallback.__init__(self)
        check_version("stable-baselines3", TESTED)
        Watching.__init__(self, **options)

    @property
    def stop(self) -> bool:
        """Whether an alarm has asked to stop."""
        return self.watch is not None and self.watch.stop

    def _on_training_start(self) -> None:
        check_algorithm(self.model)

    def _on_step(self) -> bool:
        entry = self.look(self.model)
        for name, value in (entry or {}).items():
            self.logger.record(f"seem/{name}", value)
        return not self.stop

    def look(self, model: Any) -> Entry | None:
        """Read where a reading is due, counted in the model's updates.

        Args:
            model: In training.

        Returns:
            The entry, or None.
        """
        step = int(model._n_updates)
        if self.watch is None:
            check_algorithm(model)
            self.watch = Watch(training=_training(model), **self.options)
        last = self.watch.schedule.last
        if step == 0 or step == last or not self.watch.due(step):
            return None
        noisy = type(model).__name__ == "SAC"
        with untouched():
            environment = model._vec_normalize_env
            batch = model.replay_buffer.sample(self.watch.rows, env=environment)
            bound = self.watch.earned.given or _bound(model, environment)
        return self.watch.read(
            model.critic,
            batch,
            step,
            policy=_Action(model.actor if noisy else model.actor_target, noisy),
            target_critics=model.critic_target,
            bound=bound,
        )


def check_algorithm(model: Any) -> None:
    """Refuse algorithms whose target is not γQ(s', π(s')).

    Args:
        model: Of stable-baselines3.

    Raises:
        InputError: Saying why.
    """
    name = type(model).__name__
    if name in LOSS_SCALES:
        return
    known = ", ".join(LOSS_SCALES)
    why = REFUSED.get(name, f"this watch knows {known}")
    raise InputError(f"{name} cannot be watched: {why}; read its critics by hand (seem.read)")


def _training(model: Any) -> Training:
    return Training(
        discount=model.gamma,
        optimizer=model.critic.optimizer,
        loss_scale=LOSS_SCALES[type(model).__name__],
        targets=float(model.tau),
        target_interval=getattr(model, "policy_delay", getattr(model, "target_update_interval", 1)),
    )


def _bound(model: Any, environment: Any) -> float | None:
    """From the rewards that the buffer holds, scaled as they are sampled now; None while they are all 0."""
    buffer = model.replay_buffer
    rewards = buffer.rewards[: buffer.size()].astype(np.float64)
    if environment is not None:
        rewards = environment.normalize_reward(rewards)
    return value_bound(rewards, model.gamma) if np.any(rewards) else None
