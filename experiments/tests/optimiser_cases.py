"""Kept runs of the study of optimisers, made up so that every answer is known."""

import numpy as np
from studies.optimiser.runs import SAID
from studies.optimiser.study import STUDY, judge

BOUND, STEPS, EVERY = 100.0, 800, 20
CURVE = 1e-4
"""Ln ‖u‖ is this times the square of the step: persistence misses 800 of these over 20 steps, 12,000 over 100."""


def run(
    seed=0,
    *,
    left=400,
    data="toy",
    depth=3,
    off=(0.0, 0.0),
    ratio=1.0,
    interval=(0.5, 1.5),
    curve=CURVE,
    slope=0.0,
    **changes,
):
    """A run that leaves its bound at a step, or never: |Q| grows as t^L, and is at half of the bound without leaving.

    Args:
        seed: Its seed.
        left: The divergence step, or None.
        data: Name of its data.
        depth: L.
        off: What the predicted ln growth over 20 and over 100 steps is off by.
        ratio: Stated over real remaining steps.
        interval: Its ends, as multiples of the stated remaining steps.
        curve: See `CURVE`.
        slope: What ln ‖u‖ grows by at every step besides.
        changes: Other fields; those of `SAID` replace a series, by one number or one a reading.
    """
    end = STEPS if left is None else left + 100
    times = np.arange(0, end + 1, EVERY)
    read_at = times[(times >= EVERY) & (times < (end + 1 if left is None else left))]
    remaining = np.full(len(read_at), np.inf) if left is None else left - read_at
    stated = remaining * ratio
    with np.errstate(invalid="ignore"):
        series = {
            "mean_abs_q": np.full(len(read_at), BOUND / 2) if left is None else BOUND * (read_at / left) ** depth,
            "gate": np.full(len(read_at), float(left is not None)),
            "crossing": stated,
            "accelerated": stated,
            "leaves_at": read_at + stated,
            "earliest": np.where(np.isfinite(stated), read_at + interval[0] * stated, np.nan),
            "latest": np.where(np.isfinite(stated), read_at + interval[1] * stated, np.nan),
        }
    for steps, wrong in zip((20, 100), off, strict=True):
        series[f"growth_{steps}"] = _log(read_at + steps, curve, slope) - _log(read_at, curve, slope) + wrong
    series |= {name: changes.pop(name) for name in SAID if name in changes}
    kept = {"arm": "centre", "data": data, "label": "made up", "seed": seed, "depth": depth, "normalisation": "none"}
    kept |= {"optimiser": "Adam", "full_batch": False, "target_rate": 1.0, "steps": STEPS, "bound": BOUND}
    kept |= {"step_size": 1e-3, "reading_interval": EVERY, "divergence_step": left, "read_at": read_at.tolist()}
    kept |= {"td_norm": np.exp(_log(times, curve, slope)).tolist()}
    every = {name: np.broadcast_to(series.get(name, 0.0), read_at.shape).astype(float).tolist() for name in SAID}
    return kept | {"series": every} | changes


def _log(times, curve, slope):
    return curve * np.asarray(times, dtype=float) ** 2 + slope * np.asarray(times)


def several(count=6, **changes):
    """Runs alike but for their seeds."""
    return [run(seed, **changes) for seed in range(count)]


def calm(count=6, **changes):
    """Runs that stay below their bound."""
    return [run(seed, left=None, arm="LayerNorm", normalisation="layer", **changes) for seed in range(count)]


def verdicts(runs, judge=judge):
    """Outcomes by sentence, of the whole judge or of a part; every sentence is declared, and is judged once."""
    found = judge(runs)
    assert len({judged.sentence for judged in found}) == len(found)
    assert all(STUDY.declaration.covers(judged.sentence) for judged in found)
    return {judged.sentence: judged.verdict for judged in found}
