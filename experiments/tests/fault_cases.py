"""Commands for the fault injection: every study, as small as it gets.

    python -m reference.tests.faults --commands experiments.tests.fault_cases:COMMANDS --fork --table faults.md

The fields that a repetition changes are the wall time of a run and what hashes it: the outcome's seal, and the hashes
of outcomes and kept runs.
"""

import sys
from importlib import import_module
from pathlib import Path

import torch

from reference.tests.faults import Command

EXPERIMENTS = Path(__file__).parents[1]
VOLATILE = frozenset({"seconds", "seal", "outcome_sha256", "runs_sha256"})
STAGES = ("runs.jsonl", "results.json", ".png", "declaration.json", "adam", "checkpoint")
"""Parts of paths at which the studies are killed too: summary, figures, the start, Adam's runs, the checkpoints."""
GROWTH = ("--env", "hopper", "--depths", "2", "--width", "8", "--batch", "16", "--budget", "40", "--adam-steps", "10")
TRAINING = ("--steps", "5", "--rows", "8")
SMALL = {
    "growth": GROWTH,
    "growth_confirmation": GROWTH,
    "surge": TRAINING,
    "discount": TRAINING,
    "normalisation": TRAINING,
    "normalisation_long": TRAINING,
    "targets": TRAINING,
    "joint": ("--steps", "21", "--rows", "16"),
    "optimiser": ("--steps", "21", "--rows", "8"),
    "critical_point": ("--steps", "25", "--rows", "8"),
    "sac": TRAINING,
    "laws": ("--laws", "clipping"),
    "toy_maze": ("--seeds", "0", "--budget", "400"),
    "baird": ("--steps", "0.1", "--discounts", "0.5", "0.9"),
    "ntk_map": ("--seeds", "0", "--references", "1", "0", "--width", "16", "--points", "5"),
    "small_data": ("--steps", "10", "--width", "8"),
}
TRIES = {"baird": None, "growth": 50, "laws": 60, "ntk_map": 60}
"""Most tries of a study; those that take longer have the rest."""
REST = 20
COMMANDS = tuple(
    Command(
        f"verify_{name}.py",
        (f"experiments/verify_{name}.py", "--quick", "--workers", "1", "--out", "{out}/study", *options),
        volatile=VOLATILE,
        tries=TRIES.get(name, REST),
    )
    for name, options in SMALL.items()
)


def warm() -> None:
    """Load every study, and what torch and matplotlib load late, once for all forks."""
    torch.set_num_threads(1)  # a fork would lose the others
    sys.path.insert(0, str(EXPERIMENTS))
    registry = import_module("studies.shared.registry")
    for name in registry.MODULES:
        registry.find_study(name)
    plots = import_module("seem.plots")
    figure = plots.new_figure(1, 1)
    figure.subplots().set_title("warm")
    figure.canvas.draw()
