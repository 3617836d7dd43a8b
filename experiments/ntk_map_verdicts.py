"""From kernels along rays to verdicts; nothing here is typed in by hand but the printed ratio."""

from typing import Any

import numpy as np
from ntk_map import DIRECTIONS, INITIALISATIONS, NORMALISATIONS, PRINTED_POINT, RADII
from verdicts import Claim

from seem.analysis import median_and_range

FAR = slice(2, None)
"""Radii of the linear fit and of the growth factor: 100 to 1000."""
GROWS = 0.01
"""A ray grows when its far slope is at least this share of its network's steepest."""
LINEAR = (8.0, 12.0)
"""A kernel linear in ρ grows by nearly 10 from ρ = 100 to 1000; a saturating one by 1, a quadratic one by 100."""
SATURATED = 1.1
"""Largest growth from ρ = 100 to 1000 of a kernel that has saturated, relative to the larger of k(ρ = 100) and
the self-kernel."""
PRINTED_RATIO = 4.5
"""Source: read off a figure of the paper (printed); its reference point and initialisation are not stated."""
ABOUT = 0.10
"""A ratio this close, relatively, is "about" the printed one."""


def far_slopes(row: dict[str, Any]) -> list[float]:
    """Slope of the normalised kernel by ρ, from 100 to 1000, of every ray."""
    return [float(np.polyfit(RADII[FAR], ray[FAR], 1)[0]) for ray in row["rays"]]


def angles() -> list[float]:
    """Angle between each ray and the reference point, degrees, 0 to 180."""
    return [180 - abs(180 - 360 * number / DIRECTIONS) for number in range(DIRECTIONS)]


def judge(numbers: dict[str, Any]) -> list[Claim]:
    """One verdict a claim.

    Args:
        numbers: "rows" of `measure` for every network.

    Returns:
        The claims, in the order in which they are printed.
    """
    rows = {kind: [row for row in numbers["rows"] if row["normalisation"] == kind] for kind in NORMALISATIONS}
    return [
        _growth_claim(rows["none"]),
        _direction_claim(rows["none"]),
        _opposite_claim(rows["none"]),
        _saturation_claim("LayerNorm", rows["layer"]),
        _saturation_claim("RMSNorm", rows["rms"]),
        _printed_claim(rows["none"]),
    ]


def _growth_claim(rows: list[dict[str, Any]]) -> Claim:
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
    return Claim(name, "verified" if linear and rising == total else "refuted", evidence)


def _direction_claim(rows: list[dict[str, Any]]) -> Claim:
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
    return Claim(name, "verified" if found else "open", "; ".join(shares))


def _opposite_claim(rows: list[dict[str, Any]]) -> Claim:
    opposite = angles().index(180)
    largest = {
        kind: max(abs(row["rays"][opposite][-1]) for row in rows if row["initialisation"] == kind)
        for kind in INITIALISATIONS
    }
    evidence = "largest |k|/k(x₀, x₀) at ρ = 1000: " + ", ".join(
        f"{kind} {value:.3g}" for kind, value in largest.items()
    )
    zero = largest["no biases"] == largest["normal"] == 0
    return Claim("without biases the opposite ray's kernel is exactly 0", "verified" if zero else "refuted", evidence)


def _saturation_claim(name: str, rows: list[dict[str, Any]]) -> Claim:
    rays = [np.abs(ray) for row in rows for ray in row["rays"]]
    growth = max(ray[-1] / max(ray[FAR][0], 1.0) for ray in rays)
    bound = max(float(ray.max()) for ray in rays)
    evidence = (
        f"from ρ = 100 to 1000 |k| grows by at most {growth:.3f} (limit {SATURATED:g}) on {len(rays)} rays; largest "
        f"|k|/k(x₀, x₀) anywhere on them {bound:.3f}"
    )
    verdict = "verified" if growth <= SATURATED else "refuted"
    return Claim(f"with {name} the kernel saturates along every ray", verdict, evidence)


def _printed_claim(rows: list[dict[str, Any]]) -> Claim:
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
    return Claim(name, "verified" if repeated and spread > 2 * apart else "open", evidence)


def _setting(setting: tuple[Any, ...]) -> str:
    return f"{setting[0]}, x₀ = ({setting[1]:g}, {setting[2]:g})"
