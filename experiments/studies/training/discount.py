"""Does the discount at which critics begin to diverge lie where SEEM leaves zero?

python experiments/verify_discount.py --data hopper
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from studies.shared.arms import divergence_table
from studies.shared.runs import (
    PAPERS_TD3,
    RISEN,
    ZERO,
    Arm,
    KeptRun,
    before_divergence,
    column,
    diverged,
    groups,
    last_read,
    who,
)
from studies.shared.training import training_study
from studies.shared.verdicts import Verdict
from studies.training.surge_verdicts import judge_signals

from seem.plots import new_figure

DISCOUNTS = (0.0, 0.5, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
"""The paper's figure has .9275 to .99 (read off), of another data set; here the whole range down to 0."""
ARMS = tuple(Arm(f"discount {value}", replace(PAPERS_TD3, discount=value)) for value in DISCOUNTS)


LEVELS = {"a tenth": RISEN, "zero": ZERO}
"""What normalised SEEM is held against: a tenth was declared before the embedded runs, and refuted by them; zero, above
which many fresh critics are already, was added after them and is judged by the later runs on windows."""
RESAMPLES = 999
"""Resamples of seeds, all discounts of one together."""
SHARED = (0.5, 0.99)
"""Discounts of the surge study: its runs are these, so that they are no other data than those of that study."""


def discount_of(run: KeptRun) -> float:
    """The discount of a run's arm."""
    return float(run["arm"].removeprefix("discount "))


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    return [verdict for own in groups(runs, "data").values() for verdict in _judge(own)]


def _judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    cells = {discount: cell for (discount,), cell in _by_discount(runs).items()}
    both = [judge(level) for level in LEVELS for judge in (partial(_threshold, runs, cells), partial(_together, runs))]
    others = [run for run in runs if discount_of(run) not in SHARED]
    signals = [replace(verdict, sentence=f"{runs[0]['data']}: {verdict.sentence}") for verdict in judge_signals(others)]
    return [_never_positive(runs, cells.get(0.0, [])), *both, *signals]


def _by_discount(runs: Sequence[KeptRun]) -> dict[tuple[float], list[KeptRun]]:
    return groups([{**run, "discount": discount_of(run)} for run in runs], "discount")


def _never_positive(runs: Sequence[KeptRun], myopic: Sequence[KeptRun]) -> Verdict:
    name = f"{runs[0]['data']}: without a discounted future (γ = 0) SEEM is never above zero"
    values = np.array([value for run in myopic for value in column(run, "normalised")])
    if not len(values):
        return Verdict(name, "open", "no run has a reading at γ = 0")
    largest = float(values.max())
    evidence = f"largest normalised SEEM of {len(myopic)} runs {largest:.1e}, rounding up to {ZERO:.0e}"
    return Verdict(name, "verified" if largest <= ZERO else "refuted", evidence)


def _threshold(runs: Sequence[KeptRun], cells: dict[float, list[KeptRun]], level: str) -> Verdict:
    name = f"{runs[0]['data']}: critics begin to diverge at the discount at which normalised SEEM rises above {level}"
    discounts = sorted(cells)
    both = (lambda run: run["divergence_step"] is not None, lambda run: _end(run) > LEVELS[level])
    diverging, risen = (_crossing(cells, holds) for holds in both)
    if diverging is None and risen is None:
        return Verdict(name, "open", "neither happens in half of the runs of any discount: train for more --steps")
    evidence = f"half of the critics diverge from γ = {_shown(diverging)} on, half have SEEM above {level} from"
    evidence += f" γ = {_shown(risen)} on, of {', '.join(map(_shown, discounts))}; "
    evidence += _agreement(cells, *both)
    return Verdict(name, "verified" if diverging == risen else "refuted", evidence)


def _crossing(cells: dict[float, list[KeptRun]], holds: Callable[[KeptRun], bool]) -> float | None:
    return _first(sorted(cells), [float(np.mean([holds(run) for run in cells[value]])) for value in sorted(cells)])


def _first(discounts: Sequence[float], shares: Sequence[float]) -> float | None:
    """The smallest discount from which on more than half of the critics do, also at all larger ones."""
    from_here = None
    for discount, share in zip(reversed(discounts), reversed(shares), strict=True):
        if not share > 1 / 2:
            break
        from_here = discount
    return from_here


def _agreement(cells: dict[float, list[KeptRun]], *holds: Callable[[KeptRun], bool]) -> str:
    """In how many resamples of whole seeds, all discounts of one together, the two discounts are one."""
    by_seed = [{run["seed"]: run for run in cells[value]} for value in sorted(cells)]
    seeds = sorted(set.intersection(*(set(own) for own in by_seed)))
    if len(seeds) < 2:
        return "one seed has no spread"
    tables = [np.array([[of(own[seed]) for own in by_seed] for seed in seeds]) for of in holds]
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(seeds), len(seeds)) for _ in range(RESAMPLES))
    same = [len({_first(sorted(cells), list(table[chosen].mean(axis=0))) for table in tables}) == 1 for chosen in drawn]
    return f"these agree in {np.mean(same):.0%} of {RESAMPLES} resamples of {len(seeds)} seeds"


def _together(runs: Sequence[KeptRun], level: str) -> Verdict:
    name = f"{runs[0]['data']}: a critic diverges if and only if its last normalised SEEM before is above {level}"
    unread = [run for run in runs if run["divergence_step"] is not None and not before_divergence(run)]
    judged = [run for run in runs if run not in unread]
    if not judged:
        return Verdict(name, "open", f"{len(unread)} of {len(runs)} diverge before their first reading")
    odd = [run for run in judged if (_end(run) > LEVELS[level]) != (run["divergence_step"] is not None)]
    silent = sum(run["divergence_step"] is not None for run in odd)
    evidence = f"{len(judged) - len(odd)} of {len(judged)} runs agree; {silent} diverge without it, "
    evidence += f"{len(odd) - silent} have it and do not diverge within their steps"
    for run in odd[:2]:
        evidence += f"; {who(run)}: SEEM {_end(run):.2g}, |Q| at {_shown(run['last_q'])} of {run['bound']:.3g}"
    if unread:
        evidence += f"; {len(unread)} more diverge before their first reading and are not judged"
    # Runs that have it and go on are censored, no counterexamples.
    return Verdict(name, "refuted" if silent else "open" if odd else "verified", evidence)


def _end(run: KeptRun) -> float:
    """Normalised SEEM at the last reading of a run, before its divergence where it diverges."""
    return last_read(run, "normalised")


def _shown(number: float | None) -> str:
    return "none" if number is None else f"{number:.3g}"


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """SEEM before the divergence, and the share that diverges, against the discount; and SEEM over time."""
    figure = new_figure(10, 3.6)
    left, right = figure.subplots(1, 2)
    cells = _by_discount(runs)
    colours = {discount: f"C{number}" for number, (discount,) in enumerate(sorted(cells))}
    for (discount,), cell in sorted(cells.items()):
        left.plot([discount] * len(cell), [_end(run) for run in cell], "o", color=colours[discount], ms=4, alpha=0.6)
        for run in cell:
            right.plot(run["read_at"], column(run, "normalised"), color=colours[discount], lw=0.7, alpha=0.6)
        right.plot([], [], color=colours[discount], label=f"γ = {discount:g}")
    shares = [(discount, diverged(cell) / len(cell)) for (discount,), cell in sorted(cells.items())]
    left.plot(*zip(*shares, strict=True), color="0.3", lw=1, label="share of critics that diverge")
    left.axhline(RISEN, color="0.6", lw=0.8, ls=":")
    left.set(xlabel="discount", ylabel="last normalised SEEM before divergence", title="each point a critic")
    left.legend(fontsize=8)
    right.set(xlabel="critic step", ylabel="normalised SEEM", title="over time, also past the divergence")
    right.legend(fontsize=7, ncols=2)
    return {"discount.png": figure}


STUDY = training_study(
    name="discount",
    arms=ARMS,
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM against the discount", runs),
    figures=figures,
)
