"""Which normalisations of the critic keep SEEM low and prevent divergence, and which part of LayerNorm does it?

    python experiments/verify_normalisation.py --data hopper

Exit status: 0 when every claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tyro
from arms import compare_rates, divergence_table, plot_arms, prevents, rate
from matplotlib.figure import Figure
from training_runs import PAPERS_TD3, Run, Variant, column, diverged, groups, last_read, with_critic
from training_study import Study, StudyOptions, run_study
from verdicts import Claim

from seem.errors import run_command
from seem.statistics import bootstrap_interval


def _arm(name: str, **changes) -> Variant:
    return Variant(name, with_critic(PAPERS_TD3, **changes))


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
HELD = Variant("norms held", replace(PAPERS_TD3, hold_norms=True))
"""No normalisation, every weight matrix scaled back to its first norm: the effective learning rate's share."""
LAYER_NORMS = ("LayerNorm", *(variant.name for variant in PARTS))


def judge(runs: Sequence[Run]) -> list[Claim]:
    """The verdicts, from kept runs, one set a data set."""
    return [claim for cell in groups(runs, "data").values() for claim in _judge(cell)]


def _judge(runs: Sequence[Run]) -> list[Claim]:
    data = runs[0]["data"]
    arms = {variant: cell for (variant,), cell in groups(runs, "variant").items()}
    return [
        *(prevents(f"{data}: {arm} prevents the divergence", arms["none"], arms[arm]) for arm in LAYER_NORMS),
        _lowers(data, arms),
        _helps_less(data, arms),
        _oscillates(data, arms),
        _is_not_the_norm(data, arms),
    ]


def _lowers(data: str, arms: dict[str, list[Run]]) -> Claim:
    name = f"{data}: LayerNorm lowers SEEM"
    ends = {arm: np.array([last_read(run, "normalised") for run in arms[arm]]) for arm in ("none", "LayerNorm")}
    if any(len(values) < 2 for values in ends.values()):
        return Claim(name, "open", "one seed has no spread: pass more --seeds")
    found = {
        arm: bootstrap_interval(values, np.random.default_rng(0), statistic=np.median) for arm, values in ends.items()
    }
    shown = [f"{arm} {i.estimate:.2g} [{i.low:.2g}, {i.high:.2g}]" for arm, i in found.items()]
    evidence = f"median normalised SEEM at the last reading: {', '.join(shown)}"
    if found["LayerNorm"].high < found["none"].low:
        return Claim(name, "verified", evidence)
    return Claim(name, "refuted" if found["LayerNorm"].low > found["none"].high else "open", evidence)


def _helps_less(data: str, arms: dict[str, list[Run]]) -> Claim:
    name = f"{data}: WeightNorm helps less than LayerNorm"
    return compare_rates(name, arms["WeightNorm"], arms["LayerNorm"])


def _oscillates(data: str, arms: dict[str, list[Run]]) -> Claim:
    name = f"{data}: under BatchNorm |Q| oscillates, more than under LayerNorm"
    falls = {arm: np.array([_share_of_falls(run) for run in arms[arm]]) for arm in ("BatchNorm", "LayerNorm")}
    if any(len(values) < 2 for values in falls.values()):
        return Claim(name, "open", "one seed has no spread: pass more --seeds")
    found = {arm: bootstrap_interval(values, np.random.default_rng(0)) for arm, values in falls.items()}
    shown = [f"{arm} {i.estimate:.0%} [{i.low:.0%}, {i.high:.0%}]" for arm, i in found.items()]
    evidence = f"share of readings at which |Q| has fallen since the last: {', '.join(shown)}"
    if found["BatchNorm"].low > found["LayerNorm"].high:
        return Claim(name, "verified", evidence)
    return Claim(name, "refuted" if found["BatchNorm"].high < found["LayerNorm"].low else "open", evidence)


def _is_not_the_norm(data: str, arms: dict[str, list[Run]]) -> Claim:
    name = f"{data}: holding the weights' norms does not prevent what LayerNorm prevents"
    if diverged(arms["LayerNorm"]) or not diverged(arms["none"]):
        return Claim(name, "open", "LayerNorm prevents nothing here")
    evidence = f"{rate(arms['norms held'])} diverge with norms held, {rate(arms['LayerNorm'])} with LayerNorm"
    return Claim(name, "verified" if diverged(arms["norms held"]) else "refuted", evidence)


def _share_of_falls(run: Run) -> float:
    return float((np.diff(column(run, "mean_abs_q")) < 0).mean())


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """SEEM and |Q| over time by kind of normalisation, and for the parts of LayerNorm."""
    chosen: dict[str, Callable[[Run], bool]] = {
        "kinds.png": lambda run: run["variant"] in {variant.name for variant in KINDS},
        "parts.png": lambda run: run["variant"] in ("none", HELD.name, *LAYER_NORMS),
    }
    return {name: plot_arms([run for run in runs if keep(run)]) for name, keep in chosen.items()}


STUDY = Study(
    name="normalisation",
    variants=(*KINDS, *PARTS, HELD),
    judge=judge,
    table=lambda runs: divergence_table("Divergence and SEEM by normalisation", runs),
    figures=figures,
)


if __name__ == "__main__":
    run_command(lambda: run_study(STUDY, tyro.cli(StudyOptions)))
