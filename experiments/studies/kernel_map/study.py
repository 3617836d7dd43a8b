"""Map the kernel of wide two-layer ReLU networks to a reference point, without and with normalisation."""

import math
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Self

from studies.kernel_map.figures import plot
from studies.kernel_map.kernels import (
    HALF_SIDE,
    INITIALISATIONS,
    NORMALISATIONS,
    Point,
    build_network,
    measure_map,
    measure_rays,
)
from studies.kernel_map.verdicts import judge
from studies.shared.runs import KeptRun
from studies.shared.study import Plan, Study, StudyOptions

from seem.checks import check_integer, check_unique
from seem.errors import InputError


@dataclass(frozen=True)
class MapOptions(StudyOptions):
    """Command line of the kernel map.

    Attributes:
        references: Reference points, none the origin.
        width: Hidden units, 16 to 20,000.
        points: Grid points a side of the map, which shows the first seed, reference and initialisation.
    """

    references: tuple[Point, ...] = ((1.0, 0.0), (1.0, 1.0), (0.5, -0.5), (-1.0, 2.0), (0.1, 0.2))
    width: int = 10_000
    points: int = 33

    def shortened(self) -> Self:
        """A first look: two seeds and two references at no more than 500 units."""
        small = {"width": min(self.width, 500), "points": min(self.points, 17)}
        return replace(self, seeds=self.seeds[:2], references=self.references[:2], **small)


@dataclass(frozen=True)
class Network:
    """One network, and what is measured of it.

    Attributes:
        initialisation: How its weights are drawn.
        normalisation: What stands before its non-linearity.
        seed: Seed of the weights.
        references: Reference points.
        width: Hidden units.
        points: Grid points a side of its map, 0 for none.
    """

    initialisation: str
    normalisation: str
    seed: int
    references: tuple[Point, ...]
    width: int
    points: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.initialisation}, normalisation {self.normalisation}, seed {self.seed}"


def plan(options: MapOptions) -> Plan:
    """One network per initialisation, normalisation and seed.

    Raises:
        InputError: When an option is impossible.
    """
    check_unique("--references", options.references)
    if any(not 0 < math.hypot(*reference) < math.inf for reference in options.references):
        raise InputError("a reference point has no direction: pass --references of finite points off the origin")
    check_integer("--width", options.width, 16, 20_000)
    check_integer("--points", options.points, 5, 101)
    mapped = (INITIALISATIONS[0], options.seeds[0])
    return Plan(
        [
            Network(
                *network, options.references, options.width, options.points if (network[0], network[2]) == mapped else 0
            )
            for network in product(INITIALISATIONS, NORMALISATIONS, options.seeds)
        ],
        measure,
    )


def measure(_out: Path, asked: Network) -> list[KeptRun]:
    """The rays of one network, one row per reference, and its map where it has one."""
    network = build_network(asked.initialisation, asked.normalisation, asked.width, asked.seed)
    own = {"initialisation": asked.initialisation, "normalisation": asked.normalisation, "seed": asked.seed}
    rows = [{"kind": "rays", **own, "reference": list(at), **measure_rays(network, at)} for at in asked.references]
    if asked.points:
        rows.append({"kind": "map", **own, "map": measure_map(network, asked.references[0], HALF_SIDE, asked.points)})
    return rows


STUDY = Study(
    name="ntk-map",
    options=MapOptions(),
    arms=(INITIALISATIONS, NORMALISATIONS),
    plan=plan,
    judge=judge,
    figures=lambda runs, _: {"ntk_map.png": plot(runs)},
)
