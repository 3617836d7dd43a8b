"""What learns from small data: this project's TD3+BC, and d3rlpy's CQL and IQL in an interpreter of their own."""

import atexit
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from studies.shared.runs import Arm, Budget

import seem
from peers import SCRIPTS
from peers.pipe import Peer, find_peer
from seem.agents.td3 import TD3, TD3Config
from seem.checks import open_device
from seem.config import RunConfig
from seem.errors import InputError
from seem.networks import MLPConfig
from seem.transitions import Transitions

Algorithm = Literal["TD3+BC", "CQL", "IQL"]
SCRIPT = SCRIPTS / "d3rlpy_learner.py"
NOT_INSTALLED = "d3rlpy is not installed; run `nox -s peers-d3rlpy`"


@dataclass(frozen=True)
class Recipe:
    """What one arm trains.

    Attributes:
        algorithm: TD3+BC, CQL or IQL.
        fraction: Share of the transitions it is given.
        layer_norm: Whether its critics (of IQL, its value function too) have LayerNorm.
        constraint: Weight of TD3+BC's distance to the data's actions; 1 is the published one, 0 leaves it out.
        width: Units of each of the two hidden layers of every network.
        pace: Share of the study's steps that it takes.
        episodes: Episodes that its policy is rolled out for.
        discount: Discount γ.
        lr: Adam's learning rate of critics and actor.
        target_rate: Share of the current networks that is blended into the targets.
    """

    algorithm: Algorithm = "TD3+BC"
    fraction: float = 1.0
    layer_norm: bool = False
    constraint: float = 1.0
    width: int = 64
    pace: float = 1.0
    episodes: int = 5
    discount: float = 0.99
    lr: float = 1e-3
    target_rate: float = 0.05

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise InputError(f"--episodes {self.episodes} is impossible: pass 1 or more")
        self.td3()

    def td3(self) -> TD3Config:
        """TD3+BC's configuration: the published one but for width, learning rate and target rate."""
        critic = MLPConfig(width=self.width, normalisation="layer" if self.layer_norm else "none")
        config = TD3Config(discount=self.discount, behaviour_cloning=self.constraint, target_rate=self.target_rate)
        rates = {"critic_lr": self.lr, "actor_lr": self.lr}
        return replace(config, critic=critic, actor=MLPConfig(width=self.width), **rates)


@dataclass(frozen=True)
class FewConfig(RunConfig):
    """A run on few transitions.

    Attributes:
        recipe: What is trained; ``agent`` is its TD3+BC, of which CQL and IQL have sizes and rates only.
    """

    recipe: Recipe = Recipe()


@dataclass(frozen=True)
class FewBudget(Budget):
    """What all runs on few transitions share."""

    def run(self, arm: Arm, seed: int) -> FewConfig:
        """The configuration of one run; the arm's agent is a recipe."""
        shared = super().run(replace(arm, agent=arm.agent.td3()), seed)
        return FewConfig(**vars(shared), recipe=arm.agent)


class Learner(Protocol):
    """What is trained and looked at.

    Attributes:
        library: Whose it is, with the version.
    """

    library: str

    def fit(self, steps: int) -> None:
        """Take critic steps."""
        ...

    def values(self, observations: NDArray[np.float32], actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over the critics of Q(s, a), shape (rows,); nan once it has overflowed."""
        ...

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        """The policy's most likely actions, shape (rows, action_dim)."""
        ...


class OwnLearner:
    """TD3+BC of this project.

    Args:
        recipe: What to train.
        transitions: On what, states normalised, float32.
        batch: Rows of a minibatch.
        seed: Draws networks, noise and minibatches.
        device: A torch device.
    """

    def __init__(self, recipe: Recipe, transitions: Transitions, batch: int, seed: int, device: str) -> None:
        self.device, self.library = open_device(device), f"seem {seem.__version__}"
        self.transitions, self.batch = transitions.to(device=self.device), batch
        sizes = (transitions.observation_dim, transitions.action_dim)
        self.agent = TD3(recipe.td3(), *sizes, seed=seed, device=self.device)
        self.batches = torch.Generator().manual_seed(seed)

    def fit(self, steps: int) -> None:
        """Take critic steps."""
        for _ in range(steps):
            self.agent.update(self.transitions.draw(self.batch, self.batches))

    @torch.no_grad()
    def values(self, observations: NDArray[np.float32], actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over both critics of Q(s, a), shape (rows,)."""
        rows = torch.cat((self._tensor(observations), self._tensor(actions)), dim=1)
        return np.mean([critic(rows).squeeze(1).cpu().double().numpy() for critic in self.agent.critics], axis=0)

    @torch.no_grad()
    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        """The policy's actions, shape (rows, action_dim)."""
        return self.agent.actor(self._tensor(observations)).cpu().double().numpy()

    def _tensor(self, rows: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(rows).to(self.device)


class PeerLearner:
    """CQL or IQL of d3rlpy, with d3rlpy's defaults but for what the recipe and d3rlpy_learner.py say.

    Its LayerNorm is that of d3rlpy's own encoder and comes after the non-linearity, this project's before it.
    """

    def __init__(self, recipe: Recipe, transitions: Transitions, batch: int, seed: int, device: str) -> None:
        python = find_peer("d3rlpy")
        if python is None:
            raise InputError(NOT_INSTALLED)
        if _open(python).process.poll() is not None:
            _open.cache_clear()  # it was killed under another run
        self.peer = _open(python)
        self.library = f"d3rlpy {self.peer.told['version']}"
        columns = {name: values.numpy() for name, values in vars(transitions).items()}
        columns |= {name: columns[name][:, None] for name in ("rewards", "terminals")}
        told: dict[str, Any] = {"algorithm": recipe.algorithm, "layer_norm": recipe.layer_norm, "width": recipe.width}
        told |= {"discount": recipe.discount, "lr": recipe.lr, "target_rate": recipe.target_rate}
        told |= {"batch": batch, "seed": seed}
        told |= {"device": "cpu:0" if device == "cpu" else "cuda:0"}
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "transitions.npz"
            np.savez(data, **columns)
            self.peer.ask({"do": "begin", "data": str(data), **told})

    def fit(self, steps: int) -> None:
        """Take critic steps."""
        self.peer.ask({"do": "fit", "steps": steps})

    def values(self, observations: NDArray[np.float32], actions: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over both critics of Q(s, a), shape (rows,); nan once a distribution has overflowed."""
        question = {"do": "values", "observations": observations.tolist(), "actions": actions.tolist()}
        return np.array(self.peer.ask(question)["values"])

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        """The policy's most likely actions, shape (rows, action_dim)."""
        return np.array(self.peer.ask({"do": "act", "observations": observations.tolist()})["actions"])


@cache
def _open(python: Path) -> Peer:
    # One interpreter serves all runs of a process: importing the library takes seconds.
    peer = Peer(python, SCRIPT, {})
    atexit.register(peer.close)
    return peer
