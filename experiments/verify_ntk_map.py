"""Map the kernel of wide two-layer ReLU networks to a reference point, without and with normalisation.

    python experiments/verify_ntk_map.py --quick

Exit status: 0 when every claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

import math
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ntk_map import (
    INITIALISATIONS,
    NORMALISATIONS,
    PRINTED_POINT,
    RADII,
    Point,
    build_network,
    measure_map,
    measure_rays,
)
from ntk_map_verdicts import PRINTED_RATIO, angles, far_slopes, judge
from rich.progress import track
from verdicts import conclude, open_console

from seem.errors import InputError, run_command
from seem.plots import new_figure
from seem.records import make_folder

HALF_SIDE = 8.0
NAMES = {"none": "no normalisation", "layer": "LayerNorm", "rms": "RMSNorm"}


@dataclass(frozen=True)
class Options:
    """Map the kernel to a reference point.

    Attributes:
        seeds: Seeds of the weights; all are reported.
        references: Reference points, none the origin.
        width: Hidden units, 16 to 20,000.
        points: Grid points a side of the map, which shows the first seed, reference and initialisation.
        out: Output folder.
        quick: Two seeds and two references at no more than 500 units: a first look in seconds.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    references: tuple[Point, ...] = ((1.0, 0.0), (1.0, 1.0), (0.5, -0.5), (-1.0, 2.0), (0.1, 0.2))
    width: int = 10_000
    points: int = 33
    out: Path = Path("runs") / "ntk-map"
    quick: bool = False


def check_options(options: Options) -> Options:
    """The options as they are run.

    Raises:
        InputError: When an option is impossible.
    """
    if not options.seeds or not options.references:
        raise InputError("nothing to verify: pass at least one of --seeds and of --references")
    if any(seed < 0 for seed in options.seeds):
        raise InputError("a seed is negative: pass --seeds of 0 or more")
    if any(not 0 < math.hypot(*reference) < math.inf for reference in options.references):
        raise InputError("a reference point has no direction: pass --references of finite points off the origin")
    if not 16 <= options.width <= 20_000:
        raise InputError(f"--width {options.width} is too narrow or too wide for a map: pass 16 to 20000")
    if not 5 <= options.points <= 101:
        raise InputError(f"--points {options.points} makes no map: pass 5 to 101")
    if options.quick:
        small = {"width": min(options.width, 500), "points": min(options.points, 17)}
        return replace(options, seeds=options.seeds[:2], references=options.references[:2], **small)
    return options


def measure(options: Options, initialisation: str, normalisation: str, seed: int) -> dict[str, Any]:
    """The rows and, for the first initialisation and seed, the map of one network.

    Returns:
        A JSON object with "rows", one a reference, and "map", a matrix or None.
    """
    network = build_network(initialisation, normalisation, options.width, seed)
    network_is = {"initialisation": initialisation, "normalisation": normalisation, "seed": seed}
    rows = [{**network_is, "reference": list(at), **measure_rays(network, at)} for at in options.references]
    mapped = (initialisation, seed) == (INITIALISATIONS[0], options.seeds[0])
    grid = measure_map(network, options.references[0], HALF_SIDE, options.points) if mapped else None
    return {"rows": rows, "map": grid}


def plot(numbers: dict[str, Any]) -> Figure:
    """Maps on one colour scale, kernels along rays, far slopes by direction, and the ratio at the printed point.

    Args:
        numbers: "rows" and "maps".

    Returns:
        Six panels.
    """
    figure = new_figure(12, 7.6)
    upper, lower = figure.subplots(2, 3)
    first = numbers["rows"][0]
    largest = max(max(map(max, grid)) for grid in numbers["maps"].values())
    extent = (-HALF_SIDE, HALF_SIDE, -HALF_SIDE, HALF_SIDE)
    for axis, (kind, name) in zip(upper, NAMES.items(), strict=True):
        image = axis.imshow(numbers["maps"][kind], origin="lower", extent=extent, vmin=0, vmax=largest)
        axis.plot(*first["reference"], "r+", ms=10)
        axis.set(title=name, xlabel="x₁")
    upper[0].set(ylabel="x₂")
    figure.colorbar(image, ax=upper, label="k(x, x₀)/k(x₀, x₀), one scale", shrink=0.85)
    _plot_rays(lower[0], [row for row in numbers["rows"] if _same_start(row, first)])
    plain = [row for row in numbers["rows"] if row["normalisation"] == "none"]
    _plot_slopes(lower[1], plain)
    _plot_ratios(lower[2], plain)
    figure.suptitle("Kernel of a two-layer ReLU network to a reference point (+)")
    return figure


def _same_start(row: dict[str, Any], first: dict[str, Any]) -> bool:
    return all(row[name] == first[name] for name in ("initialisation", "seed", "reference"))


def _plot_rays(axis: Axes, rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        style = "--" if row["normalisation"] == "rms" else "-"  # RMSNorm's curves cover LayerNorm's
        for ray in row["rays"]:
            axis.plot(RADII, ray, style, color=f"C{number}", lw=0.9)
        axis.plot([], [], style, color=f"C{number}", label=NAMES[row["normalisation"]])
    axis.set(
        title="Along 16 rays from the reference point",
        xlabel="ρ",
        xscale="log",
        yscale="log",
        ylabel="k(x₀, x₀ + ρv)/k(x₀, x₀)",
    )
    axis.set_ylim(1e-2, None)
    axis.legend(fontsize=7)


def _plot_slopes(axis: Axes, rows: list[dict[str, Any]]) -> None:
    # Both halves of the circle in one: 0 to 180 degrees from the reference.
    for row in rows:
        slopes = np.array(far_slopes(row))
        colour = f"C{INITIALISATIONS.index(row['initialisation'])}"
        axis.plot(angles(), slopes / slopes.max(), ".", color=colour, ms=3, alpha=0.5)
    for number, kind in enumerate(INITIALISATIONS):
        axis.plot([], [], "o", color=f"C{number}", label=kind)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(title="Not every ray grows (no normalisation)", xlabel="angle from the reference point, degrees")
    axis.set(ylabel="far slope / steepest")
    axis.legend(fontsize=7)


def _plot_ratios(axis: Axes, rows: list[dict[str, Any]]) -> None:
    references = list(dict.fromkeys(tuple(row["reference"]) for row in rows))
    for row in rows:
        number = INITIALISATIONS.index(row["initialisation"])
        place = references.index(tuple(row["reference"])) + 0.2 * (number - 1)
        axis.plot(place, row["printed"], "o", mfc="none", color=f"C{number}", ms=4)
    for number, kind in enumerate(INITIALISATIONS):
        axis.plot([], [], "o", mfc="none", color=f"C{number}", label=kind)
    axis.axhline(PRINTED_RATIO, color="black", ls=":", lw=0.8, label=f"printed, {PRINTED_RATIO:g}")
    names = [f"({x:g}, {y:g})" for x, y in references]
    axis.set_xticks(range(len(references)), names, fontsize=7)
    axis.set(
        title=f"At ({PRINTED_POINT[0]:g}, {PRINTED_POINT[1]:g}), every seed",
        xlabel="reference point",
        ylabel="k/k(x₀, x₀)",
        yscale="log",
    )
    axis.legend(fontsize=7)


def main(options: Options) -> int:
    """Measure, print the verdicts, and write results.json and ntk_map.png.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    console = open_console()
    used = check_options(options)
    out = make_folder(options.out)
    torch.set_num_threads(1)
    networks = list(product(INITIALISATIONS, NORMALISATIONS, used.seeds))
    measured = [measure(used, *network) for network in track(networks, "measuring", console=console)]
    maps = {network[1]: found["map"] for network, found in zip(networks, measured, strict=True) if found["map"]}
    numbers = {"rows": [row for found in measured for row in found["rows"]], "maps": maps}
    return conclude(console, out, "ntk_map.png", options, numbers, judge, plot)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
