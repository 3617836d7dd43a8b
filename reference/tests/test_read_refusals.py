"""What no reading is possible of: one sentence that names the remedy, before anything is touched."""

# ruff: noqa: D101 - the critics under test are known by their names

import math
import warnings

import pytest
import torch
from torch import nn

from reference.tests.test_read import TRAINING, drawn
from seem.dynamics import Training
from seem.errors import InputError
from seem.ntk import gram_blocks
from seem.reading import read
from seem.spectrum import take_reading

ROWS = {"x": torch.eye(8), "x_next": torch.eye(8) * 2, "td_error": torch.ones(8)}


class HandNormalised(nn.Module):
    """Normalises over the batch without a BatchNorm module."""

    def __init__(self, by_deviation=True):
        super().__init__()
        self.first, self.last, self.by_deviation = nn.Linear(8, 6), nn.Linear(6, 1), by_deviation

    def forward(self, x):
        h = self.first(x)
        h = h - h.mean(0)
        return self.last(torch.relu(h / (h.std(0, correction=0) + 1e-3) if self.by_deviation else h))


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 1)

    def forward(self, x):
        return self.linear(x) + 1e-3 * torch.randn(len(x), 1)


class Moving(nn.Module):
    """A buffer that counts the calls changes the value."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * (1 + 0.1 * self.calls)


class Sharded(nn.Linear):
    """Stands for a sharded module, which is known by the name of its class."""


Sharded.__name__ = "FullyShardedDataParallel"


def lazily():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 1))


CRITICS = {
    "rows coupled by hand": (HandNormalised, "couples the rows"),
    "rows coupled by their mean": (lambda: HandNormalised(by_deviation=False), "couples the rows"),
    "BatchNorm in training mode": (lambda: nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 1)), r"eval\(\)"),
    "BatchNorm without running numbers": (
        lambda: nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 1)).eval(),
        "row",
    ),
    "dropout in training mode": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1)), r"eval\(\)"),
    "noise": (Noisy, "other values at each call"),
    "a state that moves": (Moving, "other values at each call"),
    "LazyLinear": (lazily, "no shape yet"),
    "meta": (lambda: nn.Linear(8, 1, device="meta"), "meta device"),
    "sharded": (lambda: Sharded(8, 1), "FSDP"),
    "complex": (lambda: nn.Linear(8, 1, dtype=torch.complex64), "complex"),
    "nothing trained": (lambda: nn.Linear(8, 1).requires_grad_(False), "no trainable parameter"),
    "a head of several": (lambda: nn.Linear(8, 3), "one output"),
    "quantiles of several": (lambda: nn.Sequential(nn.Linear(8, 50), nn.Unflatten(1, (2, 25))), "one output"),
    "rows of another width": (lambda: nn.Linear(7, 1), "shapes"),
    "a dictionary": (lambda: Wrapped(lambda made: {"q": made}), "dict"),
    "no module": (lambda: len, "torch module"),
}


class Wrapped(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(8, 1), change

    def forward(self, x):
        return self.change(self.linear(x))


@pytest.mark.parametrize("name", CRITICS)
def test_critics(name):
    make, words = CRITICS[name]
    critic = make()
    before = torch.get_rng_state()
    with pytest.raises(InputError, match=words) as raised:
        read(critic, ROWS, training=TRAINING)
    assert "\n" not in str(raised.value)
    assert torch.equal(torch.get_rng_state(), before)
    if isinstance(critic, nn.Module):  # the type checker of the tests refuses others before
        with pytest.raises(InputError, match=words):
            gram_blocks(critic, ROWS["x"], ROWS["x_next"])
        with pytest.raises(InputError, match=words):
            take_reading(critic, **{k: ROWS[k] for k in ROWS}, terminals=torch.zeros(8), discount=0.9, lr=0.1)


def changed(name, row, value):
    critic, batch = drawn()
    column = batch[name].clone()
    column[row] = value
    return critic, batch | {name: column}


BATCHES = {
    "a NaN in one reward": (changed("rewards", 3, math.nan), r"rewards\[3\] is nan"),
    "a NaN in one observation": (changed("observations", (2, 1), math.nan), r"observations\[2, 1\] is nan"),
    "an infinite action": (changed("actions", (5, 0), math.inf), r"actions\[5, 0\] is inf"),
    "terminals of 2": (changed("terminals", 7, 2.0), r"terminals\[7\] is 2"),
    "no rows": ((drawn()[0], {k: v[:0] for k, v in drawn()[1].items()}), "no rows"),
    "rows that do not fit": ((drawn()[0], drawn()[1] | {"actions": torch.zeros(3, 3)}), "24 rows"),
    "rewards of two columns": ((drawn()[0], drawn()[1] | {"rewards": torch.zeros(24, 2)}), "one number per row"),
    "no actions": ((drawn()[0], {k: v for k, v in drawn()[1].items() if k != "actions"}), "no actions"),
    "no policy": ((drawn()[0], {k: v for k, v in drawn()[1].items() if k != "next_actions"}), "pass policy"),
    "a NaN in one error": ((nn.Linear(8, 1), ROWS | {"td_error": torch.tensor([1.0] * 7 + [math.nan])}), "row 7"),
    "a NaN in one next action": (changed("next_actions", (1, 2), math.nan), r"next_actions\[1, 2\] is nan"),
    "a NaN in one row of X*": (
        (nn.Linear(8, 1), ROWS | {"x_next": torch.eye(8).index_fill(0, torch.tensor([4]), math.nan)}),
        r"x_next\[4, 0\] is nan",
    ),
    "words": ((drawn()[0], drawn()[1] | {"rewards": ["a"] * 24}), "rewards"),
    "a discount of a row": ((drawn()[0], drawn()[1] | {"discounts": torch.full((24,), 1.5)}), r"1\.5 in row 0"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name):
    (critic, batch), words = BATCHES[name]
    with pytest.raises(InputError, match=words):
        read(critic, batch, training=TRAINING)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"discount": 99.0}, "discount 99"), ({"discount": 1.5}, "discount"), ({"discount": -0.9}, "discount"),
        ({"discount": math.nan}, "discount is nan"),
        ({"discount": torch.tensor([0.9, math.nan])}, r"discount\[1\] is nan"),
        ({"lr": -1e-3}, "lr"), ({"lr": math.nan}, "lr"), ({"lr": math.inf}, "lr"), ({"loss_scale": 0.0}, "loss_scale"),
        ({"huber_knee": -1.0}, "huber_knee"), ({"row_weights": torch.tensor([-1.0])}, "negative"),
        ({"targets": "sometimes"}, "unknown"), ({"targets": 1.5}, "target rate"),
        ({"lr": 0.1, "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)}, "both given"),
    ],
)  # fmt: skip
def test_trainings(options, words):
    with pytest.raises(InputError, match=words):
        Training(**({"discount": 0.9} | options))


@pytest.mark.parametrize(("options", "words"), [({"discount": 99.0}, "discount"), ({"lr": -1.0}, "lr")])
def test_the_raw_form_too(options, words):
    with pytest.raises(InputError, match=words):
        take_reading(nn.Linear(8, 1), **ROWS, terminals=torch.zeros(8), **({"discount": 0.9, "lr": 0.1} | options))
    with pytest.raises(InputError, match=r"terminals\[0\] is 2"):
        take_reading(nn.Linear(8, 1), **ROWS, terminals=torch.full((8,), 2), discount=0.9, lr=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backup": "max"}, "unknown"), ({"backup": lambda values: values}, "no value per row"),
        ({"policy": lambda s: (s, s), "drop": True}, "alone"),
        ({"policy": lambda s: s[:3, :3], "drop": True}, "24 rows"),
        ({"outputs": 4}, "names no critic"), ({"target_critics": [drawn(1)[0], drawn(2)[0]]}, "target critics"),
        ({"training": Training(discount=0.9, optimizer=torch.optim.SGD([nn.Parameter(torch.ones(1))]))}, "none of"),
        ({"training": Training(discount=0.9, lr=0.1, row_weights=torch.ones(3))}, "row_weights"),
    ],
)  # fmt: skip
def test_options(options, words):
    critic, batch = drawn()
    options = {"training": TRAINING} | options
    if options.pop("drop", False):
        batch = {name: value for name, value in batch.items() if name != "next_actions"}
    with pytest.raises(InputError, match=words):
        read(critic, batch, **options)
