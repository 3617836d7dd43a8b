"""Every example in a docstring of the package gives what it says."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil

import pytest

import seem

NEEDS = {"seem.datasets.collect": "gymnasium", "seem.integrations.stable_baselines3": "stable_baselines3"}
"""Modules that an optional dependency decides about."""
MODULES = [module.name for module in pkgutil.walk_packages(seem.__path__, "seem.")]
FEWEST = 5
"""Examples in the whole package, lest the search goes blind."""


def load(name: str):
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    return importlib.import_module(name)


def examples(module) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = load(name)
    tests = examples(module)
    found = sum(len(test.examples) for test in tests)
    assert found == inspect.getsource(module).count(" >>> "), "an example that no docstring search finds is not run"
    report: list[str] = []
    for test in tests:
        doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_there_are_examples():
    assert "seem.growth" in MODULES
    assert "seem.agents.td3" in MODULES
    names = [name for name in MODULES if name not in NEEDS]
    assert sum(len(examples(importlib.import_module(name))) for name in names) >= FEWEST
