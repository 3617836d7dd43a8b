"""Options checked before anything is written: ranges, seeds, devices and rows, each refusal one sentence.

Names of options are given as the user typed them, such as ``--adam-steps``; a configuration's field goes by its own.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch

from seem.errors import InputError

MOST_SEED = 2**63 - 1
"""torch takes 64 bits, and numpy any size; 63 bits are what HDF5 and JSON's readers hold in one signed integer."""
MOST_DEPTH = 64
"""Weight matrices of a critic: Q is homogeneous of degree L, so weights that double 16 times reach 2^1024 in it."""
MOST_WIDTH = 1 << 14
"""Units of a layer: the weights between two layers of 16,384 are 2.1 GB in float64, and Adam holds four such."""
MOST_STEPS = 10**9
"""Steps: at a thousand a second they take twelve days."""


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Refuse what is no integer of a range.

    Args:
        name: The option as it was typed.
        value: What was given; a boolean is no integer.
        least: Smallest integer that is possible.
        most: Largest one, or None.

    Returns:
        The value.

    Raises:
        InputError: Naming option, value and range.

    >>> check_integer("--adam-steps", 0, 1)
    Traceback (most recent call last):
    seem.errors.InputError: --adam-steps 0 is impossible: pass a whole number of 1 or more
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} {value} is impossible: pass a whole number {bounds}")
    return number


def check_number(
    name: str,
    value: Any,
    *,
    above: float | int | None = None,
    least: float | int | None = None,
    below: float | int | None = None,
    most: float | int | None = None,
) -> float:
    """Refuse what is no finite number of an interval.

    Args:
        name: The option as it was typed.
        value: What was given.
        above: The number is larger than this.
        least: The number is this or larger.
        below: The number is smaller than this.
        most: The number is this or smaller.

    Returns:
        The value.

    Raises:
        InputError: Naming option, value and interval.

    >>> check_number("--lr", float("nan"), above=0)
    Traceback (most recent call last):
    seem.errors.InputError: --lr nan is impossible: pass a finite number above 0
    """
    number = _as_float(value)
    fits = (
        math.isfinite(number)
        and (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    )
    if not fits:
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (("above", above), ("of at least", least), ("below", below), ("up to", most))
            if bound is not None
        ]
        raise InputError(f"{name} {value} is impossible: pass a finite number {' and '.join(bounds)}".rstrip())
    return number


def _as_float(value: Any) -> float:
    """The number, or NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # a whole number beyond 1e308
        return math.nan


def check_seed(name: str, value: Any) -> int:
    """Refuse what is no seed: a whole number from 0 to 2^63 - 1.

    Args:
        name: The option as it was typed.
        value: What was given.

    Returns:
        The seed.

    Raises:
        InputError: Naming option and value.
    """
    return check_integer(name, value, 0, MOST_SEED)


def check_seeds(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    """Refuse seeds that are none, out of range, or there twice: a repeated run is no further evidence.

    Args:
        name: The option as it was typed.
        values: What was given.

    Returns:
        The seeds.

    Raises:
        InputError: Naming option and seed.
    """
    return tuple(check_seed(name, value) for value in check_unique(name, values))


def check_unique(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Refuse a list that is empty or holds a value twice.

    Args:
        name: The option as it was typed.
        values: What was given: seeds, depths, arms, data sets.

    Returns:
        The values.

    Raises:
        InputError: Naming option and value.
    """
    listed = tuple(values)
    if not listed:
        raise InputError(f"{name} is empty: pass at least one value")
    twice = next((value for index, value in enumerate(listed) if value in listed[:index]), None)
    if twice is not None:
        raise InputError(f"{name} holds {twice} twice: pass each value once")
    return listed


def check_depth(name: str, value: Any, least: int = 1) -> int:
    """Refuse an impossible number of weight matrices.

    Args:
        name: The option as it was typed.
        value: What was given.
        least: Smallest depth.

    Returns:
        The depth.

    Raises:
        InputError: Naming option, value and range.
    """
    return check_integer(name, value, least, MOST_DEPTH)


def check_width(name: str, value: Any) -> int:
    """Refuse an impossible number of units of a layer.

    Args:
        name: The option as it was typed.
        value: What was given.

    Returns:
        The width.

    Raises:
        InputError: Naming option, value and range.
    """
    return check_integer(name, value, 1, MOST_WIDTH)


def check_steps(name: str, value: Any) -> int:
    """Refuse an impossible number of training steps.

    Args:
        name: The option as it was typed.
        value: What was given.

    Returns:
        The number of steps.

    Raises:
        InputError: Naming option, value and range.
    """
    return check_integer(name, value, 1, MOST_STEPS)


def check_rows(name: str, value: Any, there: int, what: str, least: int = 1) -> int:
    """Refuse more rows than there are.

    Args:
        name: The option as it was typed.
        value: What was given.
        there: Number of transitions of the data set.
        what: The data set, in words.
        least: Fewest rows.

    Returns:
        The number of rows.

    Raises:
        InputError: Naming option, value, data set and range.
    """
    if there < least:
        raise InputError(f"{what} holds {there} transitions, but {name} needs {least}: pass a larger data set")
    try:
        return check_integer(name, value, least, there)
    except InputError as error:
        raise InputError(f"{name} {value} does not fit {what}: pass a whole number from {least} to {there}") from error


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Refuse what is none of a few words.

    Args:
        name: The option as it was typed.
        value: What was given.
        choices: What is possible.

    Returns:
        The value.

    Raises:
        InputError: Naming option, value and choices.
    """
    if value not in choices:
        raise InputError(f"{name} {value!r} is unknown: pass {', '.join(map(str, choices[:-1]))} or {choices[-1]}")
    return value


def open_device(name: str, option: str = "device") -> torch.device:
    """A torch device that exists here and computes.

    Args:
        name: What was given, such as "cpu" or "cuda:0"; "meta", which holds no numbers, is refused.
        option: The option as it was typed.

    Returns:
        The device.

    Raises:
        InputError: When torch does not know it or cannot use it.
    """
    try:
        device = torch.device(name)
        usable = torch.ones(1, device=device).item() == 1  # meta has no values to give back
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:  # a NotImplementedError is a RuntimeError
        raise _no_device(option, name) from error
    if not usable:
        raise _no_device(option, name)
    return device


def _no_device(option: str, name: str) -> InputError:
    return InputError(f"{option} {name!r} cannot be used here: pass --device cpu, or cuda where there is a GPU")
