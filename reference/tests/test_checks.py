"""Options: what is refused is refused in one sentence that starts with the option as it was typed."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from seem.agents.td3 import TD3Config
from seem.checks import (
    MOST_DEPTH,
    MOST_SEED,
    MOST_STEPS,
    MOST_WIDTH,
    check_choice,
    check_depth,
    check_integer,
    check_number,
    check_rows,
    check_seed,
    check_seeds,
    check_steps,
    check_unique,
    check_width,
    open_device,
)
from seem.config import RunConfig
from seem.errors import InputError

NO_NUMBERS = ("3", None, (), True, False, 1j, math.nan)
INTEGERS = {
    "at least": (lambda value: check_integer("--x", value, 2), (2, 3, 10**30), (1, 0, -1, 2.0, 2.5, math.inf)),
    "range": (lambda value: check_integer("--x", value, -1, 1), (-1, 0, 1), (-2, 2, 0.5)),
    "seed": (lambda value: check_seed("--x", value), (0, 7, MOST_SEED, np.int64(3)), (-1, 2**63, 2**64, 1.0)),
    "depth": (lambda value: check_depth("--x", value), (1, MOST_DEPTH), (0, -3, MOST_DEPTH + 1, 10**9)),
    "width": (lambda value: check_width("--x", value), (1, MOST_WIDTH), (0, MOST_WIDTH + 1, 10**12)),
    "steps": (lambda value: check_steps("--x", value), (1, MOST_STEPS), (0, -5, MOST_STEPS + 1)),
    "rows": (lambda value: check_rows("--x", value, 24, "toy", 2), (2, 24), (1, 25, 0, 10**20)),
}


def refused(check, value) -> str:
    with pytest.raises(InputError) as caught:
        check(value)
    message = str(caught.value)
    assert re.match(r"--x .* (is impossible|does not fit toy): pass ", message), message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", INTEGERS)
def test_whole_numbers_of_a_range_pass_and_others_do_not(kind):
    check, good, bad = INTEGERS[kind]
    for value in good:
        assert check(value) == value
        assert type(check(value)) is int
    for value in (*bad, *NO_NUMBERS):
        assert f"--x {value} " in refused(check, value)


NUMBERS = {
    "above": ({"above": 0}, (1e-300, 3, Fraction(1, 3)), (0, -0.0, -1, math.inf, 10**400), "above 0"),
    "least": ({"least": 0}, (0, -0.0, 2.5), (-1e-300, math.inf, -math.inf), "of at least 0"),
    "open": ({"above": 0, "below": 1}, (0.5, np.float32(0.25)), (0, 1, 2), "above 0 and below 1"),
    "closed": ({"least": 0, "most": 1}, (0, 1, 0.3), (1.0000001, -1e-9), "of at least 0 and up to 1"),
    "any": ({}, (-1e308, 0), (math.inf,), ""),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_finite_numbers_of_an_interval_pass_and_others_do_not(kind):
    bounds, good, bad, words = NUMBERS[kind]
    for value in good:
        assert check_number("--x", value, **bounds) == float(value)
    for value in (*bad, *NO_NUMBERS, Decimal("sNaN")):
        message = refused(lambda value: check_number("--x", value, **bounds), value)
        assert message.endswith(f"pass a finite number {words}".rstrip())


def test_a_list_holds_each_value_once():
    assert check_seeds("--seeds", [3, 0]) == (3, 0)
    assert check_unique("--depths", (2, 3)) == (2, 3)
    with pytest.raises(InputError, match=r"^--seeds holds 0 twice: pass each value once$"):
        check_seeds("--seeds", (0, 0, 0))
    with pytest.raises(InputError, match=r"^--arms holds plain twice: "):
        check_unique("--arms", ("plain", "layer-norm", "plain"))
    with pytest.raises(InputError, match=r"^--seeds is empty: pass at least one value$"):
        check_seeds("--seeds", ())
    with pytest.raises(InputError, match=r"^--seeds -1 is impossible: "):
        check_seeds("--seeds", (1, -1))


def test_rows_of_a_data_set_that_has_too_few():
    with pytest.raises(InputError, match=r"^toy holds 1 transitions, but --rows needs 2: pass a larger data set$"):
        check_rows("--rows", 2, 1, "toy", 2)


def test_a_choice_is_one_of_its_words():
    assert check_choice("--level", "b", ("a", "b", "c")) == "b"
    with pytest.raises(InputError, match=r"^--level 'd' is unknown: pass a, b or c$"):
        check_choice("--level", "d", ("a", "b", "c"))


@pytest.mark.parametrize(
    "name", ["meta", "cuda:99", "nonsense", "", "xla", "lazy", "opengl", "hpu", "privateuseone", "cpu:x"]
)
def test_a_device_that_does_not_compute_is_refused(name):
    with pytest.raises(InputError, match=r"^--device .* cannot be used here: pass --device cpu"):
        open_device(name, "--device")
    assert open_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("largest", [MOST_SEED])
def test_the_largest_seed_seeds_torch_and_numpy(largest):
    torch.Generator().manual_seed(largest)
    np.random.default_rng(largest)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1},
        {"seed": 2**63},
        {"rows": 0},
        {"batch": 0},
        {"budget": 0},
        {"budget": 10**12},
        {"reading_interval": 0},
        {"dtype": "float16"},
        {"tightening": 0.0},
        {"tightening": 1.5},
        {"tightening": math.nan},
    ],
)
def test_an_impossible_run_is_refused_by_the_name_of_its_field(change):
    (name,) = change
    with pytest.raises(InputError, match=rf"^{name} .*: pass "):
        RunConfig(TD3Config(), **change)
