"""Which normalisations of the critic keep SEEM low and prevent divergence, and which part of LayerNorm does it?

python experiments/verify_normalisation.py --data hopper
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from studies.shared.arms import compare_rates, divergence_table, plot_arms, prevents, rate
from studies.shared.runs import PAPERS_TD3, Arm, KeptRun, column, diverged, groups, last_read, with_critic
from studies.shared.training import training_study
from studies.shared.verdicts import Verdict

from seem.statistics import bootstrap_interval


def _arm(name: str, **changes) -> Arm:
    return Arm(name, with_critic(PAPERS_TD3, **changes))


KINDS = (
    _arm("none"),
    _arm("LayerNorm", normalisation="layer"),
    _arm("RMSNorm", normalisation="rms"),
    _arm("GroupNorm", normalisation="group:8"),
    _arm("BatchNorm", normalisation="batch"),
    _arm("WeightNorm", normalisation="weight"),
    _arm("spectral norm", normalisation="spectral"),
    _arm("LayerScale", normalisation="scale"),
)
PARTS = (
    _arm("LayerNorm, first layer only", normalisation="layer", normalised_layers=(1,)),
    _arm("LayerNorm, second layer only", normalisation="layer", normalised_layers=(2,)),
    _arm("LayerNorm without affine", normalisation="layer", affine=False),
)
HELD = Arm("norms held", replace(PAPERS_TD3, hold_norms=True))
"""No normalisation, every weight matrix scaled back to its first norm: the effective learning rate's share."""
LAYER_NORMS = ("LayerNorm", *(arm.name for arm in PARTS))


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs, one set per data set."""
    return [verdict for own in groups(runs, "data").values() for verdict in _judge(own)]


def _judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    data = runs[0]["data"]
    arms = {arm: cell for (arm,), cell in groups(runs, "arm").items()}
    return [
        *(prevents(f"{data}: {arm} prevents the divergence", arms["none"], arms[arm]) for arm in LAYER_NORMS),
        _lowers(data, arms),
        _helps_less(data, arms),
        _oscillates(data, arms),
        _is_not_the_norm(data, arms),
    ]


def _lowers(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: LayerNorm lowers SEEM"
    ends = {arm: np.array([last_read(run, "normalised") for run in arms[arm]]) for arm in ("none", "LayerNorm")}
    if any(len(values) < 2 for values in ends.values()):
        return Verdict(name, "open", "one seed has no spread: pass more --seeds")
    found = {
        arm: bootstrap_interval(values, np.random.default_rng(0), statistic=np.median) for arm, values in ends.items()
    }
    shown = [f"{arm} {i.estimate:.2g} [{i.low:.2g}, {i.high:.2g}]" for arm, i in found.items()]
    evidence = f"median normalised SEEM at the last reading: {', '.join(shown)}"
    if found["LayerNorm"].high < found["none"].low:
        return Verdict(name, "verified", evidence)
    return Verdict(name, "refuted" if found["LayerNorm"].low > found["none"].high else "open", evidence)


def _helps_less(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: WeightNorm helps less than LayerNorm"
    return compare_rates(name, arms["WeightNorm"], arms["LayerNorm"])


def _oscillates(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: under BatchNorm |Q| oscillates, more than under LayerNorm"
    falls = {arm: np.array([_share_of_falls(run) for run in arms[arm]]) for arm in ("BatchNorm", "LayerNorm")}
    if any(len(values) < 2 for values in falls.values()):
        return Verdict(name, "open", "one seed has no spread: pass more --seeds")
    found = {arm: bootstrap_interval(values, np.random.default_rng(0)) for arm, values in falls.items()}
    shown = [f"{arm} {i.estimate:.0%} [{i.low:.0%}, {i.high:.0%}]" for arm, i in found.items()]
    evidence = f"share of readings at which |Q| has fallen since the last: {', '.join(shown)}"
    if found["BatchNorm"].low > found["LayerNorm"].high:
        return Verdict(name, "verified", evidence)
    return Verdict(name, "refuted" if found["BatchNorm"].high < found["LayerNorm"].low else "open", evidence)


def _is_not_the_norm(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: holding the weights' norms does not prevent what LayerNorm prevents"
    if diverged(arms["LayerNorm"]) or not diverged(arms["none"]):
        return Verdict(name, "open", "LayerNorm prevents nothing here")
    evidence = f"{rate(arms['norms held'])} diverge with norms held, {rate(arms['LayerNorm'])} with LayerNorm"
    return Verdict(name, "verified" if diverged(arms["norms held"]) else "refuted", evidence)


def _share_of_falls(run: KeptRun) -> float:
    return float((np.diff(column(run, "mean_abs_q")) < 0).mean())


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """SEEM and |Q| over time by kind of normalisation, and for the parts of LayerNorm."""
    chosen: dict[str, Callable[[KeptRun], bool]] = {
        "kinds.png": lambda run: run["arm"] in {arm.name for arm in KINDS},
        "parts.png": lambda run: run["arm"] in ("none", HELD.name, *LAYER_NORMS),
    }
    return {name: plot_arms([run for run in runs if keep(run)]) for name, keep in chosen.items()}


STUDY = training_study(
    name="normalisation",
    arms=(*KINDS, *PARTS, HELD),
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM by normalisation", runs),
    figures=figures,
)
