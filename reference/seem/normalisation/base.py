"""What there is to know of a kind of normalisation: one frozen record per kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from seem.factors import Factors, OuterFactors


@dataclass(frozen=True)
class StackedNorm:
    """A normalisation of many networks at once, with a backward pass written by hand (`seem.stacked`).

    Attributes:
        forward: Takes pre-activations (K, N, width) and ε; returns them normalised, and what ``backward`` needs.
        backward: Takes the derivative by the normalised rows, (K, N, width), and what ``forward`` kept; returns
            the derivative by the pre-activations.
    """

    forward: Callable[[Tensor, float], tuple[Tensor, tuple[Tensor, ...]]]
    backward: Callable[[Tensor, tuple[Tensor, ...]], Tensor]


def epsilon_of(norm: nn.Module) -> float:
    """The ε that a module of torch adds to a variance or a mean square."""
    return float(norm.eps)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Normalisation:
    r"""A kind of normalisation of hidden layers; a kind is a subclass, and an object is it with its option.

    A kind puts a module between :math:`z = Wh + b` and the non-linearity, which gives
    :math:`g \circ (z - c)/s + t` with its centre c, divisor s, gain g (``weight``) and shift t (``bias``); or it
    parametrises W. What a subclass leaves alone does nothing.

    Attributes:
        option: The number after the colon, as in "group:8"; 0 for a kind that takes none.
        name: What a configuration calls it.
        title: What a sentence calls it.
        default: The option where none is written; None for a kind that takes none.
        module: Class of the module that `build` gives.
        parametrisation: Class of the parametrisation that `parametrise` puts on the weights, or None.
        gain: Whether it has a learnable gain: never, always, or as ``affine`` says.
        by_row: Whether it divides each row by a size of its own, so that a row's length becomes at most √width.
        centred: Whether it takes each row's mean off first.
        stacked: How many networks do it at once; None when they cannot. Its gain comes with a shift.
    """

    option: float = 0.0

    name: ClassVar[str]
    title: ClassVar[str]
    default: ClassVar[float | None] = None
    module: ClassVar[type[nn.Module]] = nn.Identity
    parametrisation: ClassVar[type[nn.Module] | None] = None
    gain: ClassVar[Literal["never", "always", "optional"]] = "never"
    by_row: ClassVar[bool] = False
    centred: ClassVar[bool] = False
    stacked: ClassVar[StackedNorm | None] = None

    def problem(self, width: int, affine: bool, epsilon: float) -> str | None:
        """Why there is no such normalisation, a sentence with its remedy, or None.

        Args:
            width: Units of a hidden layer.
            affine: Whether there is a learnable gain, and shift where the kind has one.
            epsilon: Added to the variance or the mean square.
        """
        if self.gain == "always" and not affine:
            return f"normalisation {self.name!r} has a gain that is always learnable: leave affine on"
        return None

    def choices(self, width: int) -> list[str]:
        """How a configuration may write it at this width, for tests and searches; the plainest first."""
        return [self.name]

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """The module before a non-linearity, float64 on the CPU; arguments as in `problem`."""
        return nn.Identity()

    def parametrise(self, linear: nn.Linear) -> None:
        """Put the parametrisation on a layer's weights, in place, on the CPU."""

    def centre(self, norm: nn.Module, z: Float[Tensor, "N width"]) -> Tensor:
        """The formula's c, written out; of a shape that broadcasts with ``z``."""
        return torch.zeros_like(z)

    def divisor(self, norm: nn.Module, z: Float[Tensor, "N width"]) -> Tensor:
        """The formula's s, written out; of a shape that broadcasts with ``z``."""
        return torch.ones_like(z)

    def standardised(self, norm: nn.Module, z: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
        """What the module multiplies by its gain: the module itself, with gains of 1 and shifts of 0.

        Args:
            norm: A module of `build`, in evaluation mode.
            z: Pre-activations, shape (N, width).

        Returns:
            The normalised pre-activations before gain and shift, shape (N, width).
        """
        plain = {
            name: torch.zeros_like(parameter) if name == "bias" else torch.ones_like(parameter)
            for name, parameter in norm.named_parameters()
        }
        return torch.func.functional_call(norm, plain, (z,))

    def factors(self, linear: nn.Linear) -> tuple[Callable[..., Factors], Tensor]:
        """What makes a linear layer's factors out of ``inputs``, ``deltas`` and ``bias``, and the weights W."""
        return OuterFactors, linear.weight

    def why_unknown(self, linear: nn.Module, norm: nn.Module) -> str | None:
        """What in a layer is not of this kind's making, so that its share of the kernel is unknown, or None.

        Args:
            linear: The layer's linear part.
            norm: The module behind it; the identity behind a last layer.
        """
        parametrised = is_parametrized(linear, "weight")
        found = (
            [type(part) for part in linear.get_submodule("parametrizations.weight").children()] if parametrised else []
        )
        if found != ([] if self.parametrisation is None else [self.parametrisation]):
            return f"weights parametrised by {', '.join(part.__name__ for part in found) or 'nothing'}"
        own = {name for name, _ in linear.named_parameters()} - {"bias"}
        expected = {name for name in own if name.startswith("parametrizations.weight.")} if found else {"weight"}
        if type_before_parametrizations(linear) is not nn.Linear or own != expected:
            return f"a {type(linear).__name__} with {', '.join(sorted(own)) or 'nothing'}"
        if type(norm) is not self.module or not {name for name, _ in norm.named_parameters()} <= {"weight", "bias"}:
            return f"a {type(norm).__name__}"
        return None


@dataclass(frozen=True)
class NoNormalisation(Normalisation):
    """Hidden layers as they are."""

    name, title = "none", "no normalisation"
    stacked = StackedNorm(lambda z, _: (z, ()), lambda delta, _: delta)
