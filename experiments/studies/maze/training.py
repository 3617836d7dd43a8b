"""The toy maze: one random trajectory in the plane, eight actions, no reward; and one training run on it.

Source: the authors' public code (printed): 64 states from the unit square, s' = s + 0.1 a + U[0, 0.02]² with no
walls, a 4-64-1 ReLU critic with torch's default initialisation, full-batch SGD at 2e-2 on the mean-squared TD
error of 63 rows, the target γ max_a Q(s', a) of the current net. The actions stand at the angles 0, 45, …, 315°.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from seem.analysis import FRACTIONS, growth_exponent, linearity, surge
from seem.forecasting import mechanism
from seem.growth import SGDLaw
from seem.networks import Critic, MLPConfig, parameter_list
from seem.spectrum import CriticReading, take_reading

DEPTH = 2
LR = 2e-2
STATES = 64
ANGLES = np.arange(8) * math.pi / 4
ACTIONS = np.stack((np.cos(ANGLES), np.sin(ANGLES)), axis=1)
EXPONENTS = (0.0, 1.0, 4 / 3)
"""Powers p whose straightness Q^(-p) is compared: exponential, L = 2, L = 3."""
NOTICEABLE = 1.1
"""A reading is also taken when mean |Q| has grown by this factor since the last one."""
CURVE_POINTS = 60


@dataclass(frozen=True)
class Maze:
    """Where a run starts and how long it may last.

    Attributes:
        trajectory_seed: numpy seed of the trajectory.
        net_seed: torch seed of the critic.
        discount: Discount γ.
        normalisation: "none" or "layer".
        bias: Whether the layers have biases, which the growth law's homogeneity rules out.
        budget: Iterations after which a run without a crash is censored.
        interval: Largest number of iterations between two readings.
        dtype: "float32" or "float64".
        jitter: Relative size of a uniform perturbation of the initial weights.
        jitter_seed: Its torch seed.
    """

    trajectory_seed: int
    net_seed: int
    discount: float = 0.99
    normalisation: str = "none"
    bias: bool = True
    budget: int = 2000
    interval: int = 100
    dtype: str = "float32"
    jitter: float = 0.0
    jitter_seed: int = 0


def draw_trajectory(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One random walk.

    Args:
        seed: numpy seed; the legacy generator, as in the authors' code.

    Returns:
        Rows (s, a) of the 63 transitions, shape (63, 4), and (s', a') for each of the eight actions a',
        shape (63, 8, 4).
    """
    draw = np.random.RandomState(seed)
    states, taken = [draw.rand(2)], []
    for _ in range(STATES - 1):
        taken.append(draw.randint(0, len(ACTIONS)))
        states.append(states[-1] + 0.1 * ACTIONS[taken[-1]] + draw.rand(2) * 0.02)
    rows = np.concatenate((states[:-1], ACTIONS[taken]), axis=1)
    choices = [np.concatenate((states[1:], np.tile(action, (STATES - 1, 1))), axis=1) for action in ACTIONS]
    return rows, np.stack(choices, axis=1)


def build_critic(maze: Maze) -> Critic:
    """The critic with the weights that torch.manual_seed and two nn.Linear layers would give."""
    dtype = getattr(torch, maze.dtype)
    config = MLPConfig(depth=DEPTH, width=64, normalisation=maze.normalisation, bias=maze.bias)
    critic = Critic(2, 2, config, generator=torch.Generator().manual_seed(0), dtype=dtype)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(maze.net_seed)
        for linear, drawn in zip(critic.linears, [nn.Linear(4, 64), nn.Linear(64, 1)], strict=True):
            linear.load_state_dict(drawn.state_dict(), strict=maze.bias)
        torch.manual_seed(maze.jitter_seed)
        for parameter in parameter_list(critic) if maze.jitter else ():
            parameter.mul_(1 + maze.jitter * (2 * torch.rand_like(parameter) - 1))
    return critic


@dataclass
class MazeRun:
    """What one training run leaves.

    Attributes:
        mean_q: Mean Q over the rows at the start of every iteration, up to the first non-finite one.
        mean_abs_q: Mean |Q|, likewise.
        changes: Iterations at which the greedy action of some row differs from the iteration before.
        readings: Readings in order.
        crash_step: First iteration with a non-finite value, or None.
    """

    mean_q: list[float]
    mean_abs_q: list[float]
    changes: list[int]
    readings: list[CriticReading]
    crash_step: int | None


def train(maze: Maze) -> MazeRun:
    """Train to the crash or through the budget; readings every ``interval`` iterations, and as Q grows.

    Args:
        maze: What is trained.

    Returns:
        The run.
    """
    dtype = getattr(torch, maze.dtype)
    rows, choices = (torch.tensor(part, dtype=dtype) for part in draw_trajectory(maze.trajectory_seed))
    critic, terminals = build_critic(maze), torch.zeros(len(rows), dtype=dtype)
    optimiser = torch.optim.SGD(critic.parameters(), lr=LR)
    run, greedy, read_q = MazeRun([], [], [], [], None), None, math.inf
    for step in range(maze.budget):
        values = critic(rows).squeeze(1)
        with torch.no_grad():
            best, chosen = critic(choices.flatten(0, 1)).reshape(len(rows), -1).max(1)
        if not (torch.isfinite(values).all() and torch.isfinite(best).all()):
            run.crash_step = step
            break
        sizes = values.detach().double()  # a finite float32 row may have an infinite float32 mean
        run.mean_q.append(sizes.mean().item())
        run.mean_abs_q.append(sizes.abs().mean().item())
        if greedy is not None and not torch.equal(chosen, greedy):
            run.changes.append(step)
        greedy, error = chosen, values - maze.discount * best
        q = run.mean_abs_q[-1]
        if step % maze.interval == 0 or step == maze.budget - 1 or q > NOTICEABLE * read_q:
            read_q = q
            x_next = choices[torch.arange(len(rows)), chosen]
            how = {"discount": maze.discount, "lr": LR, "step": step, "dtype": None}
            reading = take_reading(critic, rows, x_next, error.detach(), terminals, **how)
            run.readings += [reading] if reading else []
        optimiser.zero_grad()
        error.square().mean().backward()
        optimiser.step()
    return run


def measure(maze: Maze) -> dict[str, Any]:
    """Train once and keep the numbers.

    Args:
        maze: What is trained.

    Returns:
        A JSON object: the maze; crash_step (None when censored); the slow steps, until Q first doubles within
        one iteration; ηλ, normalised SEEM and mean |Q| at step 0 and at the last slow reading; the last change of
        a greedy action in the slow steps; measured exponent and the R² of every line of `EXPONENTS` over the
        final surge; `forecast_error` at each of `FRACTIONS` of the run; the mechanism; a
        thinned curve of mean |Q|.
    """
    run = train(maze)
    q = np.array(run.mean_abs_q)
    doubled = np.flatnonzero(q[1:] > 2 * q[:-1])
    slow = int(doubled[0]) if len(doubled) and run.crash_step else len(q)
    row: dict[str, Any] = {**asdict(maze), "crash_step": run.crash_step, "slow_steps": slow}
    for name, reading in (("start", run.readings[0]), ("end", [r for r in run.readings if r.step <= slow][-1])):
        row[name] = {"rate": reading.rate, "normalised": reading.normalised, "q": reading.mean_abs_q}
    row["last_change"] = max((step for step in run.changes if step <= slow), default=0)
    row |= {"mechanism": None, "exponent": None, "straightness": None, "errors": {}}
    if run.crash_step is not None:
        window = surge(q, DEPTH)
        row["mechanism"] = mechanism([run.readings])
        row["exponent"] = growth_exponent(q, DEPTH)
        row["straightness"] = linearity(q[window], EXPONENTS) if len(window) > 2 else None
        row["errors"] = {str(share): forecast_error(run, share, maze.dtype) for share in FRACTIONS}
    at = np.unique(np.linspace(0, len(q) - 1, CURVE_POINTS).astype(int))
    row["curve"] = [[int(step), float(f"{q[step]:.6g}")] for step in at]
    return row


def forecast_error(run: MazeRun, share: float, dtype: str) -> dict[str, float] | None:
    """(forecast - crash)/crash from the last reading by a share of the run; None without SEEM > 0.

    Args:
        run: A run that crashed.
        share: Share of the run in (0, 1].
        dtype: Floating dtype of the run, which sets where overflow lies.

    Returns:
        The errors, as shares of the crash step, of the law s + L/((2L - 2)ηλ_s) and of its discrete form, which
        also counts the last steps up to the overflow.
    """
    assert run.crash_step is not None
    last = [reading for reading in run.readings if reading.step <= share * run.crash_step][-1]
    if not last.leading > 0:
        return None
    law, room = SGDLaw(DEPTH), math.log(torch.finfo(getattr(torch, dtype)).max / last.max_abs_q)
    forecasts = {"law": law.steps_to_blow_up(last.rate), "discrete": law.steps_to_overflow(last.rate, room)}
    return {name: (last.step + steps - run.crash_step) / run.crash_step for name, steps in forecasts.items()}
