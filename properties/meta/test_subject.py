"""The pluggable critic: what is seen in a module, that every property can fail, and the table."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import properties.subject_properties as subject_properties
from properties.subject import Draw, Subject
from properties.subject_builtin import BUILT_IN, of_package
from properties.subject_report import Examination, examine, tables
from properties.subject_traits import read_traits
from seem.ntk import gram_blocks

ROWS = torch.zeros(2, 3)
PROPERTIES = {prop.check.__name__: prop for prop in subject_properties.PROPERTIES}


def chain(*layers: nn.Module) -> Subject:
    """A subject that is built of layers, of new weights at each seed."""

    def factory():
        for layer in layers:
            for part in layer.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
        return nn.Sequential(*layers), ROWS

    return Subject("chain", factory)


TANH = chain(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 1, bias=False))
PLAIN = Subject("plain", of_package(bias=False))


def refute(subject: Subject, name: str) -> Examination:
    """The examination of a property that is made to apply, with degree 2 where it needs one."""
    traits = read_traits(subject)
    traits.degrees.degree = 2
    return examine(subject, traits, replace(PROPERTIES[name], unless=lambda _: None))[0]


class HalfGradient(torch.autograd.Function):
    """The identity with a gradient of one half, so that autograd is wrong about it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, upstream):
        return upstream / 2


class Halved(nn.Module):
    """Half of its gradient is missing."""

    def forward(self, x):
        return HalfGradient.apply(x)


class Square(nn.Module):
    """A product of inputs."""

    def forward(self, x):
        return x * x


REFUTED_BY = {
    "rows_do_not_meet": chain(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
    "output_has_its_degree": TANH,
    "gradient_has_its_degree": TANH,
    "kernel_has_its_degree": TANH,
    "euler_identity": TANH,
    "kernel_is_bounded_on_rays": PLAIN,
    "kernel_grows_on_rays": chain(nn.Linear(3, 4), Square(), nn.Linear(4, 1)),
    "td_step_follows_the_seem_matrix": chain(nn.Linear(3, 4), Halved(), nn.Linear(4, 1)),
}


def test_a_kink_within_a_small_step_does_not_refute_the_second_order():
    """A unit of this critic crosses its kink at 2^-16 of the unit step; found among ten thousand examples."""
    subject = BUILT_IN[0]
    trial = subject.trial(Draw(seed=31813, rows=2, exponent=0, discount=0.0))
    subject_properties.td_step_follows_the_seem_matrix(trial, read_traits(subject))


@pytest.mark.parametrize("name", REFUTED_BY)
def test_a_property_fails_on_a_critic_that_breaks_it(name):
    examined = refute(REFUTED_BY[name], name)
    assert examined.outcome == "fails"
    assert examined.detail.startswith("Draw(seed=")


def skewed(*inputs):
    """Blocks whose first one is not symmetric."""
    gram, gram_next = gram_blocks(*inputs)
    return gram + torch.triu(torch.ones_like(gram), 1), gram_next


def moving(module, x, x_next):
    """The right blocks, at the price of a step of the critic."""
    blocks = gram_blocks(module, x, x_next)
    next(module.parameters()).data += 1
    return blocks


BROKEN_KERNELS = {
    "kernel_equals_loop": lambda *inputs: (gram_blocks(*inputs)[0], gram_blocks(*inputs)[1] * 1.001),
    "kernel_is_symmetric_and_positive": skewed,
    "reading_leaves_the_critic_alone": moving,
    "permuted_rows_permute_the_kernel": skewed,
    "seem_is_not_positive_without_bootstrap": lambda *inputs: (-gram_blocks(*inputs)[0], gram_blocks(*inputs)[1]),
}


@pytest.mark.parametrize("name", BROKEN_KERNELS)
def test_a_property_fails_on_a_broken_kernel(name, monkeypatch):
    assert refute(PLAIN, name).outcome == "holds"
    monkeypatch.setattr(subject_properties, "gram_blocks", BROKEN_KERNELS[name])
    assert refute(PLAIN, name).outcome == "fails"


def test_every_property_is_seen_to_fail():
    assert set(REFUTED_BY) | set(BROKEN_KERNELS) == set(PROPERTIES)


def test_every_property_applies_to_a_built_in_subject():
    for name, prop in PROPERTIES.items():
        assert any(prop.unless(read_traits(subject)) is None for subject in BUILT_IN), name


class Residual(nn.Module):
    """A skip connection from the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.head(x + functional.relu(self.inner(x)))


class Written(nn.Module):
    """Writes its result into a tensor that was there before: where it came from cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        out = torch.zeros(len(x), 1, dtype=x.dtype)
        out[:] = self.linear(x)
        return out


LINEAR, LINEAR_4, SQUARE = nn.Linear(3, 1), nn.Linear(4, 1), nn.Linear(3, 3)
SEEN = {
    "linear": (chain(LINEAR), 1, None, 1),
    "repaired biases": (chain(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 1)), 2, None, 1),
    "weight norm": (chain(parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 1)), 2, None, 1),
    "in place": (chain(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)), 2, None, 1),
    "no affine": (chain(nn.Linear(3, 4), nn.LayerNorm(4, eps=0, elementwise_affine=False), LINEAR_4), 1, None, 0),
    "epsilon": (chain(nn.Linear(3, 4), nn.LayerNorm(4), LINEAR_4), None, "LayerNorm with ε = 1e-05", 0),
    "shared weights": (chain(SQUARE, nn.ReLU(), SQUARE, LINEAR), None, "parts of degrees 1 and 2", 1),
    "residual": (Subject("residual", lambda: (Residual(), ROWS)), None, "add joins parts of degrees 0 and 1", 1),
    "smooth": (TANH, None, "it calls tanh", 0),
    "a product of inputs": (chain(nn.Linear(3, 4), Square(), LINEAR_4), 3, None, 2),
    "copied": (Subject("written", lambda: (Written(), ROWS)), None, "it calls copy", None),
    "dropout in evaluation": (chain(nn.Linear(3, 4), nn.Dropout().eval(), LINEAR_4), 2, None, 1),
}


@pytest.mark.parametrize("name", SEEN)
def test_degrees_are_read_off_the_operations(name):
    subject, degree, reason, growth = SEEN[name]
    degrees = read_traits(subject).degrees
    assert (degrees.degree, degrees.growth) == (degree, growth), degrees.why_no_degree
    assert (reason or "None") in str(degrees.why_no_degree)


def test_dropout_is_reported_and_leaves_nothing_else_to_examine():
    subject = chain(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 1))
    traits = read_traits(subject)
    examinations = [examine(subject, traits, prop)[0] for prop in PROPERTIES.values()]
    assert [examined.outcome for examined in examinations] == ["fails"] + ["not applicable"] * (len(PROPERTIES) - 1)
    assert "the module is random (call .eval() in the factory)" in examinations[0].detail


def test_tables_keep_every_word_and_the_order_of_the_properties():
    names = [prop.name for prop in PROPERTIES.values()]
    examinations = [Examination("x:y", name, "fails", "Draw(seed=0): [0.5, 1.0] " * 9) for name in reversed(names)]
    text = tables(examinations)
    assert [line.strip().split("  ")[0] for line in text.splitlines() if "fails" in line] == names
    assert text.split().count("[0.5,") == 9 * len(names)
    assert max(map(len, text.splitlines())) <= 120
