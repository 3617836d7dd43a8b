"""What the runs on few transitions say about LayerNorm and about policy constraints."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from studies.shared.arms import interval, prevents, rate
from studies.shared.runs import KeptRun, groups
from studies.shared.verdicts import LEAST_PAIRS, SIGNIFICANT, Outcome, Verdict

from seem.statistics import bootstrap_interval

ALGORITHMS = ("TD3+BC", "CQL", "IQL")
FRACTIONS = (1.0, 0.1, 0.01)
CONSTRAINTS = (0.0, 0.3, 1.0, 3.0, 10.0)
"""Weights of TD3+BC's constraint; 1 is the published one."""
PUBLISHED = 1.0
SWEPT = 0.1
"""Share of the transitions at which the constraint's weight is swept."""


def cell(
    runs: Sequence[KeptRun], algorithm: str, fraction: float, *, layer_norm: bool, constraint: float = PUBLISHED
) -> list[KeptRun]:
    """The runs of one arm."""
    asked = {"algorithm": algorithm, "fraction": fraction, "layer_norm": layer_norm, "constraint": constraint}
    return [run for run in runs if all(run[name] == value for name, value in asked.items())]


def sweep(runs: Sequence[KeptRun], *, layer_norm: bool) -> dict[float, list[KeptRun]]:
    """The arms of the constraint's sweep, by its weight."""
    return {weight: cell(runs, "TD3+BC", SWEPT, layer_norm=layer_norm, constraint=weight) for weight in CONSTRAINTS}


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs, one set per data set."""
    return [verdict for found in groups(runs, "data").values() for verdict in _judge(found)]


def _judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    data = runs[0]["data"]
    return [
        *(_layer_norm_prevents(data, runs, algorithm) for algorithm in ALGORITHMS),
        *(_gains_most(data, runs, algorithm) for algorithm in ALGORITHMS),
        _constraint_prevents(data, runs),
        _constraint_costs(data, runs),
        _constraint_lowers_bias(data, runs),
    ]


def _layer_norm_prevents(data: str, runs: Sequence[KeptRun], algorithm: str) -> Verdict:
    name = f"{data}: LayerNorm prevents the divergence of {algorithm} with {FRACTIONS[-1]:.0%} of the transitions"
    plain, layer = (cell(runs, algorithm, FRACTIONS[-1], layer_norm=choice) for choice in (False, True))
    if not plain or plain[0]["not_run"]:
        return Verdict(name, "open", f"not run: {plain[0]['not_run']}" if plain else "there are no runs of it")
    evidence = f"{plain[0]['transitions']} transitions: {rate(layer)} diverge with it, {rate(plain)} without"
    return prevents(name, plain, layer, evidence)


def gains(runs: Sequence[KeptRun], algorithm: str, fraction: float) -> NDArray[np.float64]:
    """What LayerNorm adds to the normalised score, seed by seed, both on the same transitions, shape (seeds,)."""
    scores = [
        {run["seed"]: run["score"] for run in cell(runs, algorithm, fraction, layer_norm=choice)}
        for choice in (True, False)
    ]
    return np.array([scores[0][seed] - scores[1][seed] for seed in sorted(scores[0].keys() & scores[1].keys())])


def _gains_most(data: str, runs: Sequence[KeptRun], algorithm: str) -> Verdict:
    name = f"{data}: LayerNorm adds to the score of {algorithm} with {FRACTIONS[-1]:.0%} of the transitions, and more"
    name += f" than with {FRACTIONS[0]:.0%}"
    missing = cell(runs, algorithm, FRACTIONS[0], layer_norm=False)[0]["not_run"]
    if missing:
        return Verdict(name, "open", f"not run: {missing}")
    found = {fraction: gains(runs, algorithm, fraction) for fraction in FRACTIONS}
    evidence = f"{len(found[FRACTIONS[0]])} seeds, {LEAST_PAIRS} at least; gain "
    evidence += ", ".join(f"{interval(list(gain))} at {fraction:.0%}" for fraction, gain in found.items())
    least, most = found[FRACTIONS[-1]], found[FRACTIONS[0]]
    signs = {sign(least), sign(least - most)}
    if -1 in signs:
        return Verdict(name, "refuted", evidence)
    return Verdict(name, "verified" if signs == {1} else "open", evidence)


def sign(values: NDArray[np.float64]) -> int:
    """1 or -1 where the 95 % interval of the mean over seeds is above or below zero, else 0.

    Also 0 for fewer seeds than decide, and where a score is not a number.
    """
    if len(values) < LEAST_PAIRS or not np.isfinite(values).all():
        return 0
    found = bootstrap_interval(values, np.random.default_rng(0))
    return int(found.low > 0) - int(found.high < 0)


def _constraint_prevents(data: str, runs: Sequence[KeptRun]) -> Verdict:
    name = f"{data}: the published constraint prevents the divergence of TD3 with {SWEPT:.0%} of the transitions"
    cells = sweep(runs, layer_norm=False)
    evidence = ", ".join(f"{rate(arm)} diverge at weight {weight:g}" for weight, arm in cells.items())
    return prevents(name, cells[0.0], cells[PUBLISHED], evidence)


def _constraint_costs(data: str, runs: Sequence[KeptRun]) -> Verdict:
    """Among critics with LayerNorm, so that no divergence hides what the constraint costs by itself."""
    name = (
        f"{data}: a strong constraint biases the policy: weight {CONSTRAINTS[-1]:g} scores less than the published one"
    )
    cells = sweep(runs, layer_norm=True)
    scores = {weight: {run["seed"]: run["score"] for run in arm} for weight, arm in cells.items()}
    published, strong = scores[PUBLISHED], scores[CONSTRAINTS[-1]]
    lost = np.array([published[seed] - strong[seed] for seed in sorted(published)])
    distances = [np.median([run["action_distance"] for run in cells[weight]]) for weight in (0.0, CONSTRAINTS[-1])]
    evidence = f"{interval(list(lost))} less, {len(lost)} seeds, {LEAST_PAIRS} at least; scores "
    evidence += ", ".join(f"{interval(list(found.values()))} at {weight:g}" for weight, found in scores.items())
    evidence += f"; distance to the data's actions {distances[0]:.2g} without it, {distances[1]:.2g} at the strongest"
    verdicts: dict[int, Outcome] = {1: "verified", 0: "open", -1: "refuted"}
    return Verdict(name, verdicts[sign(lost)], evidence)


def over_return(run: KeptRun) -> float | None:
    """Median Q over the median return of the data on the same rows; None where the data hold no such returns."""
    found = run["monte_carlo"]
    return found["q"] / found["return"] if found and found["return"] > 0 else None


def start_bias(run: KeptRun) -> float:
    """How much more a policy's critics promise in the first states than it gets there, both discounted."""
    return run["start_q"] - run["start_return"]


def _constraint_lowers_bias(data: str, runs: Sequence[KeptRun]) -> Verdict:
    name = f"{data}: the stronger the constraint, the less TD3's critics promise more than the policy gets"
    cells = sweep(runs, layer_norm=False)
    medians = ", ".join(f"{np.median([start_bias(r) for r in arm]):.3g} at {w:g}" for w, arm in cells.items())
    evidence = f"median bias {medians}"
    weights = [weight for weight, arm in cells.items() for _ in arm]
    # nan is what became of an overflow: more than anything.
    excess = [max(0.0, np.nan_to_num(start_bias(run), nan=np.inf)) for arm in cells.values() for run in arm]
    if len(set(excess)) == 1:
        return Verdict(name, "open", f"{evidence}: {'all overflow' if excess[0] else 'none promises too much'}")
    found = stats.spearmanr(weights, excess)
    evidence = f"rank correlation {found.statistic:.2f}, p = {found.pvalue:.2g}; {evidence}"
    if found.pvalue >= SIGNIFICANT:
        return Verdict(name, "open", evidence)
    return Verdict(name, "verified" if found.statistic < 0 else "refuted", evidence)
