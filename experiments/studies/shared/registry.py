"""All studies by name; each is loaded when it is asked for."""

from importlib import import_module

from studies.shared.declaration import declared_studies
from studies.shared.study import Study

from seem.errors import InputError

MODULES = {
    "growth": "studies.growth.study",
    "growth-confirmation": "studies.growth.confirmation",
    "joint": "studies.growth.joint",
    "optimiser": "studies.optimiser.study",
    "surge": "studies.training.surge",
    "discount": "studies.training.discount",
    "normalisation": "studies.training.normalisation",
    "normalisation-long": "studies.training.normalisation_long",
    "targets": "studies.training.targets",
    "critical-point": "studies.training.critical_point",
    "sac": "studies.training.sac",
    "small-data": "studies.small_data.study",
    "laws": "studies.laws.study",
    "toy-maze": "studies.maze.study",
    "baird": "studies.baird.study",
    "ntk-map": "studies.kernel_map.study",
}


def find_study(name: str) -> Study:
    """A study by its name.

    Raises:
        InputError: When there is none.
    """
    if name not in MODULES:
        raise InputError(f"there is no study {name!r}: choose one of {', '.join(declared_studies())}")
    return import_module(MODULES[name]).STUDY
