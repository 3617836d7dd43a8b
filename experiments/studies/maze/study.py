"""Train the toy maze to its crash: the printed run, many seeds and discounts, and a LayerNorm control."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from studies.maze.figures import plot
from studies.maze.training import Maze, measure, train
from studies.maze.verdicts import GOLDEN, KINDS, judge
from studies.shared.runs import KeptRun
from studies.shared.study import Plan, Study, StudyOptions

from seem.checks import MOST_STEPS, check_integer, check_number, check_unique

PRINTED = Maze(trajectory_seed=1458, net_seed=111)
"""Source: the authors' public code (printed)."""
ROUNDED = (
    Maze(1458, 111, dtype="float64"),
    *(Maze(1458, 111, jitter=2.0**-24, jitter_seed=seed) for seed in range(4)),
)
"""The printed run with other rounding: in float64, and with initial weights moved by up to one of float32's."""


MOST_LEGACY_SEED = 2**32 - 1
"""numpy's legacy generator, which the authors' code draws from, takes no larger one."""
SHORTEST = 400
"""Iterations that the runs need to crash."""


@dataclass(frozen=True)
class MazeOptions(StudyOptions):
    """Command line of the study of the toy maze.

    Attributes:
        discounts: Discounts; the first also has the controls, without biases and with LayerNorm.
        budget: Iterations after which a run without a crash is censored, at least 400.
    """

    discounts: tuple[float, ...] = (0.99, 0.97, 0.95, 0.9)
    budget: int = 3000

    def shortened(self) -> Self:
        """A first look: four seeds, the first discount, 600 iterations."""
        return replace(self, seeds=self.seeds[:4], discounts=self.discounts[:1], budget=min(self.budget, 600))


@dataclass(frozen=True)
class MazeTask:
    """One run, or with ``maze`` None the printed one and its variants of rounding."""

    name: str
    maze: Maze | None


def plan(options: MazeOptions) -> Plan:
    """The printed run, and one run per seed, discount and control.

    Raises:
        InputError: When an option is impossible.
    """
    for seed in options.seeds:
        check_integer("--seeds", seed, 0, MOST_LEGACY_SEED)
    for discount in check_unique("--discounts", options.discounts):
        check_number("--discounts", discount, least=0, below=1)
    check_integer("--budget", options.budget, SHORTEST, MOST_STEPS)
    first, budget = options.discounts[0], options.budget
    mazes = [Maze(seed, seed, discount, budget=budget) for discount in options.discounts for seed in options.seeds]
    mazes += [Maze(seed, seed, first, bias=False, budget=budget) for seed in options.seeds]
    mazes += [Maze(seed, seed, first, "layer", budget=budget) for seed in options.seeds]
    tasks = [MazeTask(f"maze {number}", maze) for number, maze in enumerate(mazes)]
    return Plan([MazeTask("the printed run", None), *tasks], keep)


def keep(_out: Path, task: MazeTask) -> list[KeptRun]:
    """What is kept of one run."""
    if task.maze is None:
        return [{"kind": "printed"} | read_printed()]
    return [{"kind": "run"} | measure(task.maze)]


def read_printed() -> dict[str, Any]:
    """The printed run, and the same with other rounding.

    Returns:
        A JSON object: 1/mean(Q) by golden iteration, the crash step, the last change of a greedy action up to the
        last golden iteration and the changes after it, for each variant its largest deviation of 1/mean(Q) and its
        crash step, and the curve of mean Q.
    """
    run, last = train(PRINTED), max(GOLDEN)
    inverse = {str(step): 1 / run.mean_q[step] for step in GOLDEN}
    variants = []
    for maze in ROUNDED:
        other = train(maze)
        apart = max(abs(1 / other.mean_q[step] - inverse[str(step)]) for step in GOLDEN)
        variants.append({"dtype": maze.dtype, "jitter": maze.jitter, "apart": apart, "crash_step": other.crash_step})
    return {
        "inverse_q": inverse,
        "crash_step": run.crash_step,
        "last_change": max(step for step in run.changes if step <= last),
        "late_changes": [step for step in run.changes if step > last],
        "variants": variants,
        "curve": [float(f"{q:.6g}") for q in run.mean_q],
    }


STUDY = Study(
    name="toy-maze",
    options=MazeOptions(),
    arms=KINDS,
    plan=plan,
    judge=judge,
    figures=lambda runs, _: {"toy_maze.png": plot(runs)},
)
