"""What checks shapes and types in the unit tests."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that checks what it gets and gives, save an inner one, which is made anew at every call."""
    return function if "<locals>" in function.__qualname__ else beartype(function)
