"""The pluggable critic: what SEEM_CRITIC may name, what is refused and how, and a run of the suite on a critic."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from properties.subject import VARIABLE, load
from properties.subject_properties import PROPERTIES
from properties.subject_report import examine
from properties.subject_traits import read_traits
from seem.errors import InputError

REPOSITORY = Path(__file__).parents[2]
ROWS = torch.zeros(2, 3)


class Single(nn.Module):
    """Computes in float32 whatever it is converted to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return functional.linear(x.float(), self.linear.weight, self.linear.bias)


def named(monkeypatch, factory) -> str:
    """A specification under which ``factory`` is found."""
    module = ModuleType("fake_critics")
    module.factory = factory
    monkeypatch.setitem(sys.modules, "fake_critics", module)
    return "fake_critics:factory"


def test_a_module_of_float32_is_tested_in_float32(monkeypatch):
    subject = load(named(monkeypatch, lambda: (Single(), ROWS)))
    assert subject.dtype == torch.float32
    traits = read_traits(subject)
    examinations = {prop.check.__name__: examine(subject, traits, prop)[0] for prop in PROPERTIES}
    assert examinations["kernel_equals_loop"].outcome == "holds"
    assert "float32 only" in examinations["td_step_follows_the_seem_matrix"].detail


class Warns(nn.Linear):
    """Warns at every call."""

    def forward(self, x):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=2)
        return super().forward(x)


def test_a_module_that_warns_is_tested_all_the_same(monkeypatch):
    subject = load(named(monkeypatch, lambda: (Warns(3, 1), ROWS)))
    assert subject.dtype == torch.float64


def test_a_trained_critic_is_left_as_it_is(monkeypatch):
    module = nn.Linear(3, 1)
    before = module.weight.clone()
    subject = load(named(monkeypatch, lambda: (module, ROWS)))
    traits = read_traits(subject)
    assert {examine(subject, traits, prop)[0].outcome for prop in PROPERTIES} == {"holds", "not applicable"}
    assert torch.equal(module.weight, before)
    assert module.weight.dtype == torch.float32


def raises():
    raise ValueError("no such checkpoint")


REFUSED = {
    "fake_critics": (None, "write package.module:factory"),
    "no_such_package:factory": (None, "importing no_such_package raised ModuleNotFoundError"),
    "fake_critics:absent": (None, "fake_critics has no absent"),
    "fake_critics:factory": (3, "cannot call its factory"),
    "exits": (sys.exit, "the factory raised SystemExit"),
    "raises": (raises, r"the factory raised ValueError \(no such checkpoint\): repair it"),
    "module alone": (lambda: nn.Linear(3, 1), "returned Linear: return"),
    "three parts": (lambda: (nn.Linear(3, 1), ROWS, 1), r"returned \(Linear, Tensor, int\)"),
    "integer rows": (lambda: (nn.Linear(3, 1), ROWS.long()), "fails on the factory's own rows"),
    "rows of two lengths": (lambda: (nn.Bilinear(3, 3, 1), (ROWS, ROWS[:1])), "not rows of numbers"),
    "no rows": (lambda: (nn.Linear(3, 1), ROWS[:0]), "not rows of numbers"),
    "wrong width": (lambda: (nn.Linear(4, 1), ROWS), "fails on the factory's own rows with RuntimeError"),
    "two outputs": (lambda: (nn.Linear(3, 2), ROWS), r"returns shape \(2, 2\) for 2 rows"),
    "a tuple": (lambda: (nn.LSTM(3, 1), ROWS), "returns a tuple for 2 rows"),
    "nothing to train": (lambda: (nn.ReLU(), ROWS), "no trainable parameter"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_factory_that_cannot_be_used_is_refused_in_one_sentence(case, monkeypatch):
    factory, message = REFUSED[case]
    specification = named(monkeypatch, factory)
    with pytest.raises(InputError, match=message) as caught:
        load(case if "_" in case else specification)
    assert "\n" not in str(caught.value)


def run(critic: str, *arguments: str) -> subprocess.CompletedProcess:
    """The suite on a critic, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "properties/", *arguments]
    environment = os.environ | {VARIABLE: critic, "HYPOTHESIS_PROFILE": "ci"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def test_a_bad_factory_ends_the_run_with_status_2():
    done = run("no_such_package:factory")
    assert done.returncode == 2
    assert "importing no_such_package raised ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_parallel_run_prints_the_table_of_this_critic_alone():
    done = run("properties.examples.injected_action:factory", "-n", "1")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    table = [line for line in lines if any(prop.name in line for prop in PROPERTIES)]
    assert len(table) == len(PROPERTIES)
    # The worked example of the README is what the suite says.
    assert "\n".join(table) in (REPOSITORY / "properties" / "README.md").read_text(encoding="utf-8")
    assert sum(" holds: 50 examples" in line for line in table) == 8
    assert sum(" not applicable: " in line for line in table) == 5
    assert "8 passed, 5 skipped" in lines[-1]
