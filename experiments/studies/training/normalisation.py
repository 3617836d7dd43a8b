"""Which normalisations of the critic keep SEEM low and prevent divergence, and which part of LayerNorm does it?

python experiments/verify_normalisation.py --data hopper
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from studies.shared.arms import compare_rates, divergence_table, plot_arms, prevents, rate, trend
from studies.shared.runs import PAPERS_TD3, Arm, KeptRun, column, groups, last_read, with_critic
from studies.shared.training import training_study
from studies.shared.verdicts import LEAST_PAIRS, Outcome, Verdict, difference, in_words, paired


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
PREVENTS = "prevents the divergence within the steps of the study"
LAYER_NORMS = ("LayerNorm", *(arm.name for arm in PARTS))
OTHERS = ("RMSNorm", "GroupNorm", "BatchNorm", "spectral norm", "LayerScale")
"""Kinds whose sentences were added after a look at the recorded runs."""


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs, one set per data set."""
    return [verdict for own in groups(runs, "data").values() for verdict in _judge(own)]


def _judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    data = runs[0]["data"]
    arms: dict[str, list[KeptRun]] = {arm.name: [] for arm in (*KINDS, *PARTS, HELD)}
    arms |= {arm: cell for (arm,), cell in groups(runs, "arm").items()}
    prevented = [prevents(f"{data}: {arm} {PREVENTS}", arms["none"], arms[arm]) for arm in (*LAYER_NORMS, *OTHERS)]
    return [
        *prevented[: len(LAYER_NORMS)],
        _lowers(data, arms),
        compare_rates(f"{data}: WeightNorm helps less than LayerNorm", arms["WeightNorm"], arms["LayerNorm"]),
        _oscillates(data, arms),
        _is_not_the_norm(data, arms),
        *prevented[len(LAYER_NORMS) :],
    ]


def _lowers(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: LayerNorm lowers SEEM"
    pairs = paired(arms["none"], arms["LayerNorm"], lambda run: last_read(run, "normalised"))
    verdict, found = difference(pairs)
    evidence = "normalised SEEM at the last reading, without LayerNorm less with it: median difference "
    evidence += f"{in_words(found, '+.2g')} over {len(pairs)} pairs of one seed, {LEAST_PAIRS} at least"
    return Verdict(name, verdict, evidence)


def _oscillates(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: under BatchNorm |Q| oscillates, more than under LayerNorm"
    pairs = paired(arms["BatchNorm"], arms["LayerNorm"], _share_of_falls)
    verdict, found = difference(pairs)
    evidence = "share of readings at which |Q| has fallen since the last, BatchNorm less LayerNorm: median difference "
    evidence += f"{in_words(found, '+.0%')} over {len(pairs)} pairs of one seed, {LEAST_PAIRS} at least"
    if pairs:
        batch, layer = (np.mean([pair[place] for pair in pairs]) for place in (0, 1))
        evidence += f"; means {batch:.0%} and {layer:.0%}"
    return Verdict(name, verdict, evidence)


def _is_not_the_norm(data: str, arms: dict[str, list[KeptRun]]) -> Verdict:
    name = f"{data}: holding the weights' norms does not prevent what LayerNorm prevents"
    layer = prevents("", arms["none"], arms["LayerNorm"])
    if layer.verdict != "verified":
        return Verdict(name, "open", f"LayerNorm prevents nothing here: {layer.evidence}")
    held = prevents("", arms["none"], arms[HELD.name], f"{rate(arms[HELD.name])} diverge with norms held")
    evidence = f"{held.evidence}; {rate(arms['LayerNorm'])} with LayerNorm, {trend(arms['LayerNorm'])}"
    opposite: dict[Outcome, Outcome] = {"verified": "refuted", "refuted": "verified", "open": "open"}
    return Verdict(name, opposite[held.verdict], evidence)


def _share_of_falls(run: KeptRun) -> float:
    steps = np.diff(column(run, "mean_abs_q"))
    return float((steps < 0).mean()) if len(steps) and np.isfinite(steps).all() else math.nan


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
