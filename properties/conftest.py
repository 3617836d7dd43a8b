"""Profiles of the suite, one torch thread per worker, and the critic that SEEM_CRITIC names.

With SEEM_CRITIC set only that critic's properties run; their table is printed at the end.
"""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

from properties import margins
from properties.subject import VARIABLE, load
from properties.subject_report import from_properties, tables
from seem.errors import InputError

SUBJECT_TESTS = Path(__file__).with_name("test_subject.py")

torch.set_num_threads(1)
# No deadline: a busy machine is not a counterexample.
slow = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", max_examples=50, derandomize=True, database=None, **slow)
# The same examples, without a search for the smallest one that fails.
found = {"phases": (Phase.explicit, Phase.generate, Phase.target), "report_multiple_bugs": False}
settings.register_profile("mutants", settings.get_profile("ci"), **found)
settings.register_profile("dev", max_examples=200, **slow)
settings.register_profile("nightly", max_examples=10_000, **slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config):
    if critic := os.environ.get(VARIABLE):
        try:
            load(critic)
        except InputError as error:
            pytest.exit(str(error), returncode=2)


def pytest_runtest_teardown(item):
    item.user_properties.extend(("margin", (label, share)) for label, share in margins.take().items())


def pytest_ignore_collect(collection_path, config):
    chosen = collection_path.is_dir() or collection_path == SUBJECT_TESTS
    return True if os.environ.get(VARIABLE) and not chosen else None


def pytest_terminal_summary(terminalreporter):
    reports = [report for group in terminalreporter.stats.values() for report in group]
    examinations = [
        examined
        for report in reports
        if getattr(report, "when", None) == "call"
        for examined in from_properties(report.user_properties)
    ]
    if examinations:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(tables(examinations))
