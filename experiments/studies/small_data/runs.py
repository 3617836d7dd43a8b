"""One run on few transitions: which it is given, how its Q is compared with returns, how its policy is scored."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun, short, value_bound
from studies.shared.training import DeclaredRun, measure_once
from studies.small_data.learners import NOT_INSTALLED, FewConfig, Learner, OwnLearner, PeerLearner, Recipe

from peers.pipe import find_peer
from seem.datasets import Dataset, load
from seem.datasets.collect import ENVIRONMENTS
from seem.datasets.d4rl import open_hdf5
from seem.datasets.dataset import WINDOWS
from seem.datasets.rollout import make_env
from seem.transitions import STATE_EPSILON, Transitions

_THRESHOLDS = read_declaration("small-data").thresholds
CUT_OFF: float = _THRESHOLDS["cut_off"]
"""Largest factor γ^k of what is cut off by a time limit from a return that still counts as known."""
FEWEST: int = _THRESHOLDS["fewest"]
"""Fewest transitions of a run, and fewest of them with a return."""


@dataclass(frozen=True)
class Given:
    """The transitions of one run.

    Attributes:
        transitions: Drawn without replacement; states shifted and scaled by their own mean and deviation.
        returns: Discounted return to go of each in the data's episode, nan where it is not known, shape (M,).
        shift: Mean of the raw states, shape (observation_dim,).
        scale: Their deviation and 1e-3, shape (observation_dim,).
    """

    transitions: Transitions
    returns: NDArray[np.float64]
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]

    def normalise(self, states: NDArray[np.float64]) -> NDArray[np.float32]:
        """Raw states as the networks see them."""
        return ((states - self.shift) / self.scale).astype(np.float32)


def give(dataset: Dataset, fraction: float, seed: int, discount: float) -> Given:
    """Draw a share of a data set's transitions; the draw follows from the seed alone, whatever the arm.

    Args:
        dataset: The data.
        fraction: Which share of them.
        seed: Draws them: a smaller share is part of every larger one of the same seed.
        discount: Discount of the returns.
    """
    total = len(dataset.transitions)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[: size_of(dataset, fraction)]
    raw = dataset.transitions.select(chosen)
    shift, deviation = raw.observations.mean(0), raw.observations.std(0, correction=0)
    known = returns_to_go(dataset, discount)
    returns = np.full(len(chosen), np.nan) if known is None else known[chosen.numpy()]
    return Given(raw.normalised(), returns, shift.numpy(), (deviation + STATE_EPSILON).numpy())


def size_of(dataset: Dataset, fraction: float) -> int:
    """How many transitions a share of a data set is."""
    return max(FEWEST, round(fraction * len(dataset.transitions)))


def returns_to_go(dataset: Dataset, discount: float) -> NDArray[np.float64] | None:
    """Discounted returns to go of a data set's transitions, in their order; nan where the episode is cut off too soon.

    Episodes that end in a terminal are complete. Of one that ends by a time limit, or with the file, only the rows are
    kept whose future is cut off by a factor γ^k of at most `CUT_OFF`; nothing is bootstrapped.

    Args:
        dataset: The data.
        discount: Discount γ.

    Returns:
        Shape (M,), or None where there are no episodes: windows, or a file that does not mark its time-outs, or one of
        another layout than D4RL's.
    """
    if dataset.layout != "D4RL":
        return None
    with open_hdf5(dataset.path) as file:
        if dataset.label == WINDOWS or "timeouts" not in file:
            return None
        columns = (file[name][()].reshape(-1) for name in ("rewards", "terminals", "timeouts"))
        rewards, terminals, timeouts = (values.astype(np.float64) for values in columns)
    found, ends = np.empty(len(rewards)), np.flatnonzero(terminals + timeouts)
    begin = 0
    for end in np.unique(np.append(ends, len(rewards) - 1)):
        rows = slice(begin, end + 1)
        found[rows] = lfilter([1.0], [1.0, -discount], rewards[rows][::-1])[::-1]
        if not terminals[end]:
            ahead = np.arange(end + 1 - begin, 0, -1)
            found[rows] = np.where(discount**ahead <= CUT_OFF, found[rows], np.nan)
        begin = end + 1
    return found[np.flatnonzero(timeouts[:-1] == 0)]


def measure(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """One run; where its library is missing, why, which is not kept, so that it is done once it is there.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.
    """
    assert isinstance(run.config, FewConfig)
    recipe = run.config.recipe
    if recipe.algorithm == "TD3+BC" or find_peer("d3rlpy") is not None:
        return measure_once(out, device, run, partial(_measure, device, run, recipe))
    return _described(run, recipe, load(run.data)) | {"not_run": NOT_INSTALLED, "divergence_step": None}


def _described(run: DeclaredRun, recipe: Recipe, dataset: Dataset) -> KeptRun:
    kept = {"arm": run.arm, "data": dataset.name, "label": dataset.label, "seed": run.config.seed}
    kept |= {"transitions": size_of(dataset, recipe.fraction)}
    return kept | {name: getattr(recipe, name) for name in ("algorithm", "fraction", "layer_norm", "constraint")}


def _measure(device: str, run: DeclaredRun, recipe: Recipe, dataset: Dataset) -> KeptRun:
    config, bound = run.config, value_bound(dataset, recipe.discount)
    given = give(dataset, recipe.fraction, config.seed, recipe.discount)
    make = OwnLearner if recipe.algorithm == "TD3+BC" else PeerLearner
    learner = make(recipe, given.transitions, config.batch or len(given.transitions), config.seed, device)
    known = np.flatnonzero(np.isfinite(given.returns))
    compared = len(known) >= FEWEST
    rows = (known if compared else np.arange(len(given.transitions)))[: config.rows]
    pairs = [getattr(given.transitions, name).numpy()[rows] for name in ("observations", "actions")]
    read_at, sizes = train(learner, pairs, max(1, round(config.budget * recipe.pace)), config.reading_interval)
    beyond = [step for step, size in zip(read_at, sizes, strict=True) if not size <= bound]
    finite = [size for size in sizes if np.isfinite(size)]
    values, distance = learner.values(*pairs), _acting(learner, pairs[0]) - pairs[1]
    return _described(run, recipe, dataset) | {
        "not_run": None,
        "library": learner.library,
        "bound": short(bound),
        "steps": read_at[-1],
        "divergence_step": beyond[0] if beyond else None,
        "crash_step": None if np.isfinite(sizes[-1]) else read_at[-1],
        "last_q": short(finite[-1]),
        "read_at": read_at[: len(finite)],
        "series": {"mean_abs_q": [short(size) for size in finite]},
        "monte_carlo": against_returns(values, given.returns[rows]) if compared else None,
        "action_distance": short(np.sqrt(np.mean(distance**2))),
        **score(dataset, learner, given, recipe),
    }


def train(learner: Learner, pairs: Sequence[NDArray], steps: int, interval: int) -> tuple[list[int], list[float]]:
    """Train to the end or to the first look at which Q is no number.

    Args:
        learner: What is trained.
        pairs: States and actions that are looked at.
        steps: Critic steps.
        interval: Steps between two looks.

    Returns:
        Steps of the looks, and mean |Q| there.
    """
    read_at, sizes = [], []
    for step in [*range(0, steps, interval), steps]:
        if step:
            learner.fit(step - read_at[-1])
        read_at.append(step)
        sizes.append(float(np.abs(learner.values(*pairs)).mean()))
        if not np.isfinite(sizes[-1]):
            break
    return read_at, sizes


def against_returns(values: NDArray[np.float64], returns: NDArray[np.float64]) -> dict[str, float]:
    """Q of the learned policy against the returns of the policy that made the data, on the same rows.

    Args:
        values: Q(s, a), shape (rows,).
        returns: Discounted returns to go, shape (rows,).

    Returns:
        How many rows; medians of both, and of Q - return.
    """
    medians = {"q": np.median(values), "return": np.median(returns), "bias": np.median(values - returns)}
    return {"rows": len(values)} | {name: short(value) for name, value in medians.items()}


def score(dataset: Dataset, learner: Learner, given: Given, recipe: Recipe) -> KeptRun:
    """D4RL's normalised score of a policy, and its Q in the first states against the discounted return from there.

    Args:
        dataset: The data, whose environment is asked.
        learner: The policy and its critics.
        given: Its transitions, whose shift and scale its states have.
        recipe: How many episodes, and the discount.
    """
    environment = ENVIRONMENTS[dataset.name.split("-")[0]]

    def act(states: NDArray[np.float64]) -> NDArray[np.float64]:
        return _acting(learner, given.normalise(states))

    first, returns, discounted = roll_out(environment.env_id, act, recipe.episodes, recipe.discount)
    start_values = learner.values(given.normalise(first), act(first).astype(np.float32))
    of_random, of_expert = environment.random_return, environment.expert_return
    gained = 100 * (returns.mean() - of_random) / (of_expert - of_random)
    return {
        "score": short(gained),
        "returns": [short(value) for value in returns],
        "start_q": short(start_values.mean()),
        "start_return": short(discounted.mean()),
    }


def roll_out(env_id: str, act: Callable, episodes: int, discount: float) -> tuple[NDArray, NDArray, NDArray]:
    """Episodes from the first states of seeds 0, 1, …, the same for every policy.

    Args:
        env_id: Gymnasium's name of the environment.
        act: From states, one row an episode, to actions.
        episodes: How many, side by side.
        discount: Discount of the second kind of return.

    Returns:
        First states, returns and discounted returns, one row an episode.
    """
    with ExitStack() as opened:
        worlds = [opened.enter_context(closing(make_env(env_id))) for _ in range(episodes)]
        states = np.stack([world.reset(seed=number)[0] for number, world in enumerate(worlds)])
        first, running, weight = states.copy(), list(range(episodes)), 1.0
        returns, discounted = np.zeros(episodes), np.zeros(episodes)
        while running:
            going = []
            for number, action in zip(running, act(states[running]), strict=True):
                states[number], reward, terminated, truncated, _ = worlds[number].step(action)
                returns[number] += reward
                discounted[number] += weight * reward
                going += [] if terminated or truncated else [number]
            running, weight = going, weight * discount
    return first, returns, discounted


def _acting(learner: Learner, states: NDArray[np.float32]) -> NDArray[np.float64]:
    """Actions inside the box; a policy that is no longer a number does nothing."""
    return np.nan_to_num(learner.act(states), nan=0.0).clip(-1, 1)
