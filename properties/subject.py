"""The critic under test: any module of the form x → Q or (s, a) → Q, built anew from a drawn seed.

SEEM_CRITIC=package.module:factory names a function without arguments that returns the module and example inputs,
of which shape and dtype count. Without it the built-in subjects of `subject_builtin` take its place.
"""

import copy
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from properties.strategies.scales import discounts
from seem.errors import InputError
from seem.ntk import Inputs

VARIABLE = "SEEM_CRITIC"
Factory = Callable[[], tuple[nn.Module, Inputs]]
REMEDY = "return (module, rows), rows being a tensor of numbers (N, ...) or a tuple of them, one an argument"


@dataclass(frozen=True)
class Draw:
    """What is drawn for one example; a counterexample is one of these.

    Attributes:
        seed: Of torch's generator while the factory runs, and of the inputs.
        rows: Number of rows of X and of X*.
        exponent: Parameters are scaled by 2 to this power.
        discount: γ.
    """

    seed: int
    rows: int
    exponent: int
    discount: float


def draws() -> st.SearchStrategy[Draw]:
    """Draws for one subject; they shrink to one row, seed 0, factor 1 and γ = 0."""
    return st.builds(
        Draw,
        seed=st.integers(0, 2**32 - 1),
        rows=st.integers(1, 4),
        exponent=st.integers(0, 4) | st.integers(-4, -1),
        discount=discounts(),
    )


@dataclass(frozen=True)
class Subject:
    """A critic to test.

    Attributes:
        name: What the table calls it.
        factory: Returns the module and example inputs.
        dtype: What it is evaluated in: float64, or its own where it does not convert.
    """

    name: str
    factory: Factory
    dtype: torch.dtype = torch.float64

    def build(self, seed: int) -> tuple[nn.Module, Inputs]:
        """A copy of the factory's module, and its example inputs, of the subject's dtype, on the CPU."""
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.default_generator.manual_seed(seed)
            made = self.factory()
            _check_pair(self.name, made)
            # A factory may return one trained module again and again: it is never changed.
            module, rows = copy.deepcopy(made[0]), made[1]
            if any(is_lazy(parameter) for parameter in module.parameters()):
                with torch.no_grad():  # a lazy module gets its shapes from its first rows
                    module(*rows) if isinstance(rows, tuple) else module(rows)
            module = module.to("cpu", self.dtype)
        return module, each_part(self._converted, rows)

    def _converted(self, part: Tensor) -> Tensor:
        return part.detach().to("cpu", self.dtype if part.is_floating_point() else None)

    def trial(self, draw: Draw) -> "Trial":
        """The critic and inputs of one example."""
        module, rows = self.build(draw.seed)
        generator = torch.Generator().manual_seed(draw.seed)

        def normal(part: Tensor) -> Tensor:
            shape = (draw.rows, *part.shape[1:])
            if (
                not part.is_floating_point()
            ):  # actions, tokens or pixels: only the factory's own values are known to fit
                return part.flatten()[torch.randint(part.numel(), shape, generator=generator)]
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)

        return Trial(draw, module, each_part(normal, rows), each_part(normal, rows), generator)


@dataclass(frozen=True)
class Trial:
    """One example: a critic, inputs, and the generator for whatever else it needs.

    Inputs are standard normal; whole numbers are drawn from those of the factory's rows.
    """

    draw: Draw
    module: nn.Module
    x: Inputs
    x_next: Inputs
    generator: torch.Generator

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the parameters."""
        return next(self.module.parameters()).dtype

    @property
    def tolerance(self) -> float:
        """Relative rounding: more operations than lie on any path to one number, each of one epsilon."""
        return (1000 + sum(p.numel() for p in self.module.parameters())) * torch.finfo(self.dtype).eps

    def random(self, *shape: int) -> Tensor:
        """Standard normal numbers of the critic's dtype."""
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64).to(self.dtype)


def each_part(change: Callable[[Tensor], Tensor], x: Inputs) -> Inputs:
    """The inputs with ``change`` done to each argument's rows."""
    return tuple(change(part) for part in x) if isinstance(x, tuple) else change(x)


def load(specification: str) -> Subject:
    """The subject that SEEM_CRITIC names, evaluated once.

    Args:
        specification: ``package.module:factory``.

    Raises:
        InputError: When the factory is missing, raises, or returns something else; one sentence.
    """
    factory = _find(specification)
    try:
        subject = Subject(specification, factory)
        module, rows = subject.build(0)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{VARIABLE}={specification}: the factory raised {_named(error)}: repair it") from error
    try:
        values = _values(module, rows)
    except Exception:
        # Some modules compute in float32 whatever their parameters are.
        subject = replace(subject, dtype=torch.float32)
        try:
            values = _values(*subject.build(0))
        except Exception as error:
            raise InputError(
                f"{VARIABLE}={specification}: the module fails on the factory's own rows with {_named(error)}: {REMEDY}"
            ) from error
    count = len(rows[0] if isinstance(rows, tuple) else rows)
    if not isinstance(values, Tensor) or values.shape not in ((count,), (count, 1)):
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise InputError(
            f"{VARIABLE}={specification}: the module returns {got} for {count} rows, but a critic returns one "
            "number per row: wrap it in a module that does"
        )
    return subject


@contextmanager
def _quiet() -> Iterator[None]:
    # What a foreign library warns of is no property of the critic.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _values(module: nn.Module, rows: Inputs) -> object:
    with _quiet():
        return module(*rows) if isinstance(rows, tuple) else module(rows)


def _find(specification: str) -> Factory:
    path, colon, name = specification.partition(":")
    if not path or not colon or not name:
        raise InputError(f"{VARIABLE}={specification!r} names no factory: write package.module:factory")
    try:
        with _quiet():
            module = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{VARIABLE}={specification}: importing {path} raised {_named(error)}: "
            "install it here, or put its folder on PYTHONPATH"
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        what = "has no" if factory is None else "cannot call its"
        raise InputError(f"{VARIABLE}={specification}: {path} {what} {name}: name a function without arguments")
    return factory


def _check_pair(name: str, made: object) -> None:
    """Refuse what is not (module, rows)."""
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        got = f"({', '.join(type(part).__name__ for part in made)})" if isinstance(made, tuple) else type(made).__name__
        raise InputError(f"{VARIABLE}={name}: the factory returned {got}: {REMEDY}")
    module, rows = made
    parts = rows if isinstance(rows, tuple) else (rows,)
    tensors = [part for part in parts if isinstance(part, Tensor) and _are_rows(part)]
    if not parts or len(tensors) != len(parts) or len({len(part) for part in tensors}) != 1 or not len(tensors[0]):
        raise InputError(f"{VARIABLE}={name}: the factory's rows are not rows of numbers: {REMEDY}")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError(f"{VARIABLE}={name}: the module has no trainable parameter: return the critic itself")


def _are_rows(part: Tensor) -> bool:
    """Rows of numbers; of whole numbers also one per row, as discrete actions are."""
    whole = not (part.is_floating_point() or part.is_complex() or part.dtype == torch.bool)
    return part.ndim >= 1 if whole else part.is_floating_point() and part.ndim >= 2


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__} ({text})" if text else type(error).__name__
