"""Is there a critical point: does the kernel keep its direction, and X* its place, once a critic diverges?

    python experiments/verify_critical_point.py --data hopper

The direction of both Gram blocks is compared over a horizon that ends before the last reading, so that none is
compared with itself, and with the same readings in shuffled order.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table
from studies.shared.arms import interval
from studies.shared.declaration import read_declaration
from studies.shared.runs import PAPERS_TD3, Arm, Budget, KeptRun, groups, value_bound, who, with_critic
from studies.shared.training import DeclaredRun, measure_once, training_study
from studies.shared.verdicts import Verdict, share

from seem.agents import Agent
from seem.checks import open_device
from seem.datasets import Dataset
from seem.ntk import gram_blocks
from seem.plots import new_figure
from seem.training import start

_THRESHOLDS = read_declaration("critical-point").thresholds
HORIZON: int = _THRESHOLDS["horizon"]
"""Readings between the two directions that are compared."""
NEAR: float = _THRESHOLDS["near"]
"""Cosine from which on two directions count as one."""
STILL: float = _THRESHOLDS["still"]
"""Relative move of X*'s actions over the horizon up to which they count as fixed."""
SHUFFLES: int = _THRESHOLDS["shuffles"]
SGD = replace(PAPERS_TD3, critic_optimiser="sgd", critic_lr=1e-2)
ARMS = (
    Arm("Adam L=3", PAPERS_TD3),
    Arm("Adam L=2", with_critic(PAPERS_TD3, depth=2)),
    Arm("Adam L=4", with_critic(PAPERS_TD3, depth=4)),
    Arm("Adam width 64", with_critic(PAPERS_TD3, width=64)),
    Arm("SGD L=3", SGD),
    Arm("Adam LayerNorm", with_critic(PAPERS_TD3, normalisation="layer")),
)


def measure(out: Path, device: str, run: DeclaredRun) -> KeptRun:
    """Train one run and compare its kernel and its policy at all pairs of readings, or read the comparison back.

    Args:
        out: The folder of all runs.
        device: A torch device.
        run: Which run.

    Returns:
        What is kept: cosines of the directions of G(X, X) and G(X*, X) and relative moves of the actions, each a
        square table over the readings, and the divergence step.
    """
    return measure_once(out, device, run, partial(_compare, device, run))


def _compare(device: str, run: DeclaredRun, dataset: Dataset) -> KeptRun:
    config = run.config
    transitions, rows, batches, agent = start(config, dataset, open_device(device))
    bound, divergence, looks = value_bound(dataset, config.agent.discount), None, []
    for step in range(config.budget + 1):
        if step % config.reading_interval == 0:
            looks.append(_look(agent, rows))
        values, _ = agent.update(transitions.draw(config.batch or len(transitions), batches))
        if divergence is None and not values.abs().mean() <= bound:
            divergence = step
    kept = {"arm": run.arm, "data": dataset.name, "label": dataset.label, "seed": config.seed}
    kept |= {"divergence_step": divergence, "steps": config.budget, "reading_interval": config.reading_interval}
    kept |= {name: _table(looks, name) for name in ("kernel", "kernel_next")}
    kept["moves"] = [[_short((b["actions"] - a["actions"]).norm() / b["actions"].norm()) for b in looks] for a in looks]
    return kept


def _look(agent: Agent, rows) -> dict[str, torch.Tensor]:
    actions = agent.next_actions(rows).detach()
    x = torch.cat((rows.observations, rows.actions), 1)
    blocks = gram_blocks(agent.critics[0], x, torch.cat((rows.next_observations, actions), 1))
    directions = (block.double() / block.double().norm() for block in blocks)
    return dict(zip(("kernel", "kernel_next"), directions, strict=True)) | {"actions": actions.double()}


def _table(looks: Sequence[dict[str, torch.Tensor]], name: str) -> list[list[float]]:
    return [[_short((a[name] * b[name]).sum()) for b in looks] for a in looks]


def _short(value: torch.Tensor) -> float:
    return round(value.item(), 4)


def over_horizon(run: dict[str, Any], name: str) -> NDArray[np.float64]:
    """A table's values between each reading and the one a horizon later, shape (readings - horizon,)."""
    return np.diagonal(np.array(run[name], dtype=np.float64), HORIZON)


def early_and_late(values: NDArray[np.float64]) -> tuple[float, float]:
    """Medians over the first and the last quarter."""
    quarter = max(1, len(values) // 4)
    return float(np.median(values[:quarter])), float(np.median(values[-quarter:]))


def shuffled(run: dict[str, Any], name: str) -> float:
    """The median over the horizon when the readings come in random order: what no order at all would give."""
    table, rng = np.array(run[name], dtype=np.float64), np.random.default_rng(0)
    orders = (rng.permutation(len(table)) for _ in range(SHUFFLES))
    return float(np.median([np.median(np.diagonal(table[order][:, order], HORIZON)) for order in orders]))


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    surging = [run for run in runs if run["divergence_step"] is not None]
    if not surging:
        return [Verdict("a critical point exists", "open", "no critic diverged: train for more --steps")]
    return [
        *(_converges(surging, name) for name in ("kernel", "kernel_next")),
        _stays(surging),
        _needs_divergence(runs),
        _stands_before(surging),
    ]


NAMES = {"kernel": "G(X, X)", "kernel_next": "G(X*, X)"}


def _converges(runs: Sequence[KeptRun], name: str) -> Verdict:
    sentence = f"in every critic that diverges the direction of {NAMES[name]} converges"
    found = [(run, *early_and_late(over_horizon(run, name)), shuffled(run, name)) for run in runs]
    # What is not a number is near to nothing.
    wrong = [(run, e, late) for run, e, late, control in found if not (late >= NEAR and late > e and late > control)]
    late = interval([late for _, _, late, _ in found])
    early, control = (interval([values[place] for values in found]) for place in (1, 3))
    evidence = f"{len(runs) - len(wrong)} of {len(runs)}; mean cosine over {HORIZON} readings {early} in the first"
    evidence += f" quarter, {late} in the last, {control} in shuffled order"
    for run, first, last in wrong[:3]:
        evidence += f"; not in {who(run)}: {first:.3f}, then {last:.3f}"
    return Verdict(sentence, "refuted" if wrong else "verified", evidence)


def _stays(runs: Sequence[KeptRun]) -> Verdict:
    name = "in every critic that diverges X* comes to rest"
    moves = [(run, early_and_late(over_horizon(run, "moves"))[1]) for run in runs]
    moving = [(run, move) for run, move in moves if not move <= STILL]
    evidence = f"{len(runs) - len(moving)} of {len(runs)} move by less than {STILL:.0%} over {HORIZON} readings at"
    evidence += f" the end, mean {interval([move for _, move in moves])}"
    for run, move in moving[:3]:
        evidence += f"; {who(run)}: {move:.0%}"
    return Verdict(name, "refuted" if moving else "verified", evidence)


def _needs_divergence(runs: Sequence[KeptRun]) -> Verdict:
    name = "the kernel's direction converges only where a critic diverges"
    calm = [run for run in runs if run["divergence_step"] is None]
    if not calm:
        return Verdict(name, "open", "every critic diverged")
    late = [early_and_late(over_horizon(run, "kernel"))[1] for run in calm]
    near = sum(value >= NEAR for value in late)
    evidence = f"it has converged in {near} of {len(calm)} critics that do not diverge, mean cosine {interval(late)}"
    return Verdict(name, "refuted" if near else "verified", evidence)


def stands_from(run: KeptRun) -> int | None:
    """t₀: the first reading from which on the kernel's direction stays near itself over the horizon; None for none."""
    far = np.flatnonzero(~(over_horizon(run, "kernel") >= NEAR))
    first = int(far[-1]) + 1 if len(far) else 0
    return first * run["reading_interval"] if first < len(over_horizon(run, "kernel")) else None


def _stands_before(runs: Sequence[KeptRun]) -> Verdict:
    name = "in every critic that diverges the kernel's direction stands before the divergence"
    found = [(run, stands_from(run)) for run in runs]
    late = [(run, since) for run, since in found if since is None or since > run["divergence_step"]]
    evidence = f"{share(len(runs) - len(late), len(runs))} of the critics that diverge"
    for run, since in late[:3]:
        evidence += f"; not in {who(run)}: {'never' if since is None else f'from step {since} on'}, divergence at "
        evidence += f"{run['divergence_step']}"
    return Verdict(name, "refuted" if late else "verified", evidence)


def table(runs: Sequence[KeptRun]) -> Table:
    """One line per arm."""
    shown = Table(title=f"Direction of the kernel over {HORIZON} readings, first and last quarter")
    for heading in ("data", "arm", "diverge", "G(X, X)", "G(X*, X)", "moves of X*"):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, arm), cell in groups(runs, "data", "arm").items():
        words = []
        for name in ("kernel", "kernel_next", "moves"):
            pairs = np.array([early_and_late(over_horizon(run, name)) for run in cell])
            words.append(f"{pairs[:, 0].mean():.3f} → {pairs[:, 1].mean():.3f}")
        count = sum(run["divergence_step"] is not None for run in cell)
        shown.add_row(data, arm, f"{count}/{len(cell)}", *words)
    return shown


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """The cosine over the horizon against the step, one panel per arm, one line per run."""
    arms = list(groups(runs, "arm").values())
    figure = new_figure(2.3 * len(arms) + 0.6, 4.4)
    axes = figure.subplots(2, len(arms), squeeze=False, sharex=True, sharey="row")
    for upper, lower, arm in zip(*axes, arms, strict=True):
        for run in arm:
            for axis, name in ((upper, "kernel"), (upper, "kernel_next"), (lower, "moves")):
                values = over_horizon(run, name)
                steps = run["reading_interval"] * np.arange(len(values))
                axis.plot(steps, values, color="tab:orange" if name == "kernel_next" else "tab:blue", lw=0.7, alpha=0.6)
        upper.axhline(NEAR, color="0.5", lw=0.8, ls=":")
        lower.axhline(STILL, color="0.5", lw=0.8, ls=":")
        upper.set_title(arm[0]["arm"], fontsize=9)
        lower.set_xlabel("critic step", fontsize=8)
    axes[0][0].set_ylabel("cosine of G(X, X), blue\nand of G(X*, X), orange", fontsize=8)
    axes[1][0].set_ylabel("relative move of X*", fontsize=8)
    return {"critical_point.png": figure}


STUDY = training_study(
    name="critical-point",
    arms=ARMS,
    budget=lambda steps, rows: Budget(steps, min(rows, 128), reading_interval=max(1, steps // 25)),
    judge=judge,
    table=table,
    figures=figures,
    measure=measure,
)
