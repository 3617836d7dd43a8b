"""Does the discount at which critics begin to diverge lie where SEEM leaves zero?

python experiments/verify_discount.py --data hopper
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure
from studies.shared.arms import divergence_table
from studies.shared.runs import PAPERS_TD3, RISEN, ZERO, Arm, KeptRun, column, diverged, groups, last_read, who
from studies.shared.training import training_study
from studies.shared.verdicts import Verdict

from seem.plots import new_figure

DISCOUNTS = (0.0, 0.5, 0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
"""The paper's figure has .9275 to .99 (read off), of another data set; here the whole range down to 0."""
ARMS = tuple(Arm(f"discount {value}", replace(PAPERS_TD3, discount=value)) for value in DISCOUNTS)


LEVELS = {"a tenth": RISEN, "zero": ZERO}
"""What normalised SEEM is held against: a tenth was declared before the recorded runs, zero itself, above which many
fresh critics are already, was added after them."""


def discount_of(run: KeptRun) -> float:
    """The discount of a run's arm."""
    return float(run["arm"].removeprefix("discount "))


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs."""
    return [verdict for own in groups(runs, "data").values() for verdict in _judge(own)]


def _judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    cells = {discount: cell for (discount,), cell in _by_discount(runs).items()}
    both = [judge(level) for level in LEVELS for judge in (partial(_threshold, runs, cells), partial(_together, runs))]
    return [_never_positive(runs, cells.get(0.0, [])), *both]


def _by_discount(runs: Sequence[KeptRun]) -> dict[tuple[float], list[KeptRun]]:
    return groups([{**run, "discount": discount_of(run)} for run in runs], "discount")


def _never_positive(runs: Sequence[KeptRun], myopic: Sequence[KeptRun]) -> Verdict:
    name = f"{runs[0]['data']}: without a discounted future (γ = 0) SEEM is never above zero"
    largest = max((float(column(run, "normalised").max()) for run in myopic), default=None)
    if largest is None:
        return Verdict(name, "open", "no run has γ = 0")
    evidence = f"largest normalised SEEM of {len(myopic)} runs {largest:.1e}, rounding up to {ZERO:.0e}"
    return Verdict(name, "verified" if largest <= ZERO else "refuted", evidence)


def _threshold(runs: Sequence[KeptRun], cells: dict[float, list[KeptRun]], level: str) -> Verdict:
    name = f"{runs[0]['data']}: critics begin to diverge at the discount at which normalised SEEM rises above {level}"
    discounts = sorted(cells)
    diverging = _first(discounts, lambda discount: 2 * diverged(cells[discount]) > len(cells[discount]))
    risen = _first(discounts, lambda discount: 2 * _risen(cells[discount], level) > len(cells[discount]))
    if diverging is None and risen is None:
        return Verdict(name, "open", "neither happens in half of the runs of any discount: train for more --steps")
    evidence = f"half of the critics diverge from γ = {_shown(diverging)} on, half have SEEM above {level} from"
    evidence += f" γ = {_shown(risen)} on, of {', '.join(map(_shown, discounts))}"
    return Verdict(name, "verified" if diverging == risen else "refuted", evidence)


def _first(discounts: Sequence[float], holds) -> float | None:
    """The smallest discount from which on a condition holds at all larger ones too."""
    from_here = None
    for discount in reversed(discounts):
        if not holds(discount):
            break
        from_here = discount
    return from_here


def _together(runs: Sequence[KeptRun], level: str) -> Verdict:
    name = f"{runs[0]['data']}: a critic diverges if and only if its last normalised SEEM before is above {level}"
    odd = [run for run in runs if (_end(run) > LEVELS[level]) != (run["divergence_step"] is not None)]
    silent = sum(run["divergence_step"] is not None for run in odd)
    evidence = f"{len(runs) - len(odd)} of {len(runs)} runs agree; {silent} diverge without it, "
    evidence += f"{len(odd) - silent} have it and do not diverge within their steps"
    for run in odd[:2]:
        evidence += f"; {who(run)}: SEEM {_end(run):.2g}, |Q| at {run['last_q']:.3g} of {run['bound']:.3g}"
    # Runs that have it and go on are censored, no counterexamples.
    return Verdict(name, "refuted" if silent else "open" if odd else "verified", evidence)


def _end(run: KeptRun) -> float:
    """Normalised SEEM at the last reading of a run, before its divergence where it diverges."""
    return last_read(run, "normalised")


def _risen(runs: Sequence[KeptRun], level: str) -> int:
    return sum(_end(run) > LEVELS[level] for run in runs)


def _shown(discount: float | None) -> str:
    return "none" if discount is None else f"{discount:g}"


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
