"""The figure of the kernel map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.kernel_map.kernels import HALF_SIDE, INITIALISATIONS, PRINTED_POINT, RADII
from studies.kernel_map.verdicts import PRINTED_RATIO, angles, far_slopes, rays_of
from studies.shared.runs import KeptRun

from seem.plots import new_figure

NAMES = {"none": "no normalisation", "layer": "LayerNorm", "rms": "RMSNorm"}


def plot(runs: Sequence[KeptRun]) -> Figure:
    """Maps on one colour scale, kernels along rays, far slopes by direction, and the ratio at the printed point."""
    rows, maps = rays_of(runs), {run["normalisation"]: run["map"] for run in runs if run["kind"] == "map"}
    figure = new_figure(12, 7.6)
    upper, lower = figure.subplots(2, 3)
    first = rows[0]
    largest = max(max(map(max, grid)) for grid in maps.values())
    extent = (-HALF_SIDE, HALF_SIDE, -HALF_SIDE, HALF_SIDE)
    for axis, (kind, name) in zip(upper, NAMES.items(), strict=True):
        image = axis.imshow(maps[kind], origin="lower", extent=extent, vmin=0, vmax=largest)
        axis.plot(*first["reference"], "r+", ms=10)
        axis.set(title=name, xlabel="x₁")
    upper[0].set(ylabel="x₂")
    figure.colorbar(image, ax=upper, label="k(x, x₀)/k(x₀, x₀), one scale", shrink=0.85)
    _plot_rays(lower[0], [row for row in rows if _same_start(row, first)])
    plain = [row for row in rows if row["normalisation"] == "none"]
    _plot_slopes(lower[1], plain)
    _plot_ratios(lower[2], plain)
    figure.suptitle("Kernel of a two-layer ReLU network to a reference point (+)")
    return figure


def _same_start(row: KeptRun, first: KeptRun) -> bool:
    return all(row[name] == first[name] for name in ("initialisation", "seed", "reference"))


def _plot_rays(axis: Axes, rows: Sequence[KeptRun]) -> None:
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


def _plot_slopes(axis: Axes, rows: Sequence[KeptRun]) -> None:
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


def _plot_ratios(axis: Axes, rows: Sequence[KeptRun]) -> None:
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
