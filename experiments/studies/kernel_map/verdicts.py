"""From kernels along rays to verdicts; nothing here is typed in by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from studies.kernel_map.kernels import DIRECTIONS, INITIALISATIONS, NORMALISATIONS, PRINTED_POINT, RADII
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.verdicts import Verdict

from seem.analysis import median_and_range

FAR = slice(2, None)
"""Radii of the linear fit and of the growth factor: 100 to 1000."""
_THRESHOLDS = read_declaration("ntk-map").thresholds
GROWS: float = _THRESHOLDS["grows"]
"""A ray grows when its far slope is at least this share of its network's steepest."""
LINEAR: tuple[float, float] = tuple(_THRESHOLDS["linear"])
"""Growth from ρ = 100 to 1000 of a kernel that is linear in ρ."""
SATURATED: float = _THRESHOLDS["saturated"]
"""Largest growth from ρ = 100 to 1000 of a kernel that has saturated, relative to the larger of k(ρ = 100) and
the self-kernel."""
PRINTED_RATIO: float = _THRESHOLDS["printed_ratio"]
"""Source: read off a figure of the paper (printed); its reference point and initialisation are not stated."""
ABOUT: float = _THRESHOLDS["about"]
"""A ratio this close, relatively, is "about" the printed one."""


def rays_of(runs: Sequence[KeptRun]) -> list[KeptRun]:
    """The kernels along rays, without the maps."""
    return [run for run in runs if run["kind"] == "rays"]


def far_slopes(row: dict[str, Any]) -> list[float]:
    """Slope of the normalised kernel by ρ, from 100 to 1000, of every ray."""
    return [float(np.polyfit(RADII[FAR], ray[FAR], 1)[0]) for ray in row["rays"]]


def angles() -> list[float]:
    """Angle between each ray and the reference point, degrees, 0 to 180."""
    return [180 - abs(180 - 360 * number / DIRECTIONS) for number in range(DIRECTIONS)]


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from the rays of every network and reference point."""
    rows = {kind: [run for run in rays_of(runs) if run["normalisation"] == kind] for kind in NORMALISATIONS}
    return [
        _growth(rows["none"]),
        _direction(rows["none"]),
        _opposite(rows["none"]),
        _saturation("LayerNorm", rows["layer"]),
        _saturation("RMSNorm", rows["rms"]),
        _printed(rows["none"]),
    ]


def _growth(rows: list[KeptRun]) -> Verdict:
    near = [number for number, angle in enumerate(angles()) if angle <= 90]
    rising, factors = 0, []
    for row in rows:
        slopes = far_slopes(row)
        rising += sum(slopes[number] >= GROWS * max(slopes) for number in near)
        factors += [row["rays"][number][-1] / row["rays"][number][FAR][0] for number in near]
    total = len(near) * len(rows)
    middle, low, high = median_and_range(factors)
    evidence = (
        f"{rising} of {total} rays have a far slope of at least {GROWS:.0%} of the steepest; from ρ = 100 to 1000 the "
        f"kernel grows by {middle:.2f} ({low:.2f} to {high:.2f}; linear: 10)"
    )
    linear = LINEAR[0] <= low and high <= LINEAR[1]
    name = "without normalisation the kernel grows linearly along rays within 90° of the reference point"
    return Verdict(name, "verified" if linear and rising == total else "refuted", evidence)


def _direction(rows: list[KeptRun]) -> Verdict:
    shares, found = [], False
    for kind in INITIALISATIONS:
        relative = [np.array(far_slopes(row)) / max(far_slopes(row)) for row in rows if row["initialisation"] == kind]
        flat, falling = (np.concatenate(relative) < GROWS), (np.concatenate(relative) <= -GROWS)
        found = found or bool(flat.any())
        which = sorted({angles()[number] for row in relative for number in np.flatnonzero(row < GROWS)})
        where = f" (at {', '.join(f'{angle:g}°' for angle in which)} from the reference)" if which else ""
        shares.append(
            f"{kind}: {flat.sum()} of {flat.size} rays do not grow{where}, {falling.sum()} of them fall, least slope "
            f"{min(map(min, relative)):+.3f} of the steepest"
        )
    name = "growth in 'any direction' is false as worded"
    return Verdict(name, "verified" if found else "open", "; ".join(shares))


def _opposite(rows: list[KeptRun]) -> Verdict:
    opposite = angles().index(180)
    largest = {
        kind: max(abs(row["rays"][opposite][-1]) for row in rows if row["initialisation"] == kind)
        for kind in INITIALISATIONS
    }
    evidence = "largest |k|/k(x₀, x₀) at ρ = 1000: " + ", ".join(
        f"{kind} {value:.3g}" for kind, value in largest.items()
    )
    zero = largest["no biases"] == largest["normal"] == 0
    return Verdict("without biases the opposite ray's kernel is exactly 0", "verified" if zero else "refuted", evidence)


def _saturation(name: str, rows: list[KeptRun]) -> Verdict:
    rays = [np.abs(ray) for row in rows for ray in row["rays"]]
    growth = max(ray[-1] / max(ray[FAR][0], 1.0) for ray in rays)
    bound = max(float(ray.max()) for ray in rays)
    evidence = (
        f"from ρ = 100 to 1000 |k| grows by at most {growth:.3f} (limit {SATURATED:g}) on {len(rays)} rays; largest "
        f"|k|/k(x₀, x₀) anywhere on them {bound:.3f}"
    )
    verdict = "verified" if growth <= SATURATED else "refuted"
    return Verdict(f"with {name} the kernel saturates along every ray", verdict, evidence)


def _printed(rows: list[KeptRun]) -> Verdict:
    by_setting: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        by_setting.setdefault((row["initialisation"], *row["reference"]), []).append(row["printed"])
    middles = {setting: float(np.median(values)) for setting, values in by_setting.items()}
    low, high = min(middles, key=middles.__getitem__), max(middles, key=middles.__getitem__)
    apart = max((max(values) - min(values)) / middles[setting] for setting, values in by_setting.items())
    spread = middles[high] / middles[low] - 1
    close = [_setting(at) for at, value in middles.items() if abs(value / PRINTED_RATIO - 1) <= ABOUT]
    evidence = (
        f"k/k(x₀, x₀) at {PRINTED_POINT} is {middles[low]:.2f} ({_setting(low)}) to {middles[high]:.2f} "
        f"({_setting(high)}) over {len(middles)} settings, within {apart:.1%} from seed to seed; within {ABOUT:.0%} of "
        f"the printed {PRINTED_RATIO:g}: {'; '.join(close) or 'none'}"
    )
    repeated = all(len(values) > 1 for values in by_setting.values())
    name = f"the printed ratio of about {PRINTED_RATIO:g} depends on the reference point and the initialisation"
    return Verdict(name, "verified" if repeated and spread > 2 * apart else "open", evidence)


def _setting(setting: tuple[Any, ...]) -> str:
    return f"{setting[0]}, x₀ = ({setting[1]:g}, {setting[2]:g})"
