"""Strategies for real square matrices whose eigenvalues are known exactly.

A matrix is S J S⁻¹ with J in real Jordan form and S a product of integer shears. All numbers are multiples of
a power of two with few digits, so S J S⁻¹ is computed without rounding: the prescribed eigenvalues are those
of the float64 matrix itself, not of a neighbour.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Literal

import torch
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from scipy import optimize
from torch import Tensor, nn

from seem.networks import MLP, MLPConfig
from seem.spectrum import CriticReading, take_reading

RESOLUTION = 2.0**-16
"""Real and imaginary parts are multiples of it."""
LARGEST = 2.0**16
"""Largest real or imaginary part."""
MOST_SHEARS = 3
FACTORS = (1, -1, 2, -2, 4, -4)
"""Factors of shears. Entries of S and S⁻¹ then stay below 5³ < 2⁷, entries of the matrix within 2^(±16 ± 17)."""
STEP = 1 / 16
"""Real parts of ordinary blocks are multiples of it."""

Leading = Literal["growing", "marginal", "decaying"]


@dataclass(frozen=True)
class Block:
    """A real Jordan block: one chain at a real eigenvalue, or at each eigenvalue of a complex pair.

    Attributes:
        real: Re λ.
        imaginary: Im λ, 0 or positive; positive stands for the pair λ and its conjugate.
        chain: Length of the chain; 1 is diagonalisable.
    """

    real: float
    imaginary: float = 0.0
    chain: int = 1

    def __post_init__(self) -> None:
        if any(part % RESOLUTION or abs(part) > LARGEST for part in (self.real, self.imaginary)):
            raise InvalidArgument(f"{self} is not exact: pass multiples of {RESOLUTION} up to {LARGEST}")
        if self.imaginary < 0 or self.chain < 1:
            raise InvalidArgument(f"{self} is impossible: pass imaginary >= 0 and chain >= 1")

    @property
    def rows(self) -> int:
        """Rows that the block takes."""
        return self.chain * (2 if self.imaginary else 1)

    @property
    def eigenvalues(self) -> tuple[complex, ...]:
        """All of them, one a row."""
        value = complex(self.real, self.imaginary)
        return (value, value.conjugate()) * self.chain if self.imaginary else (value,) * self.chain

    def draw(self) -> Tensor:
        """The block, float64, (rows, rows)."""
        small = torch.tensor([[self.real]])
        if self.imaginary:
            small = torch.tensor([[self.real, -self.imaginary], [self.imaginary, self.real]])
        width = len(small)
        block = torch.block_diag(*[small.double()] * self.chain)
        return block + torch.eye(self.rows, dtype=torch.float64).roll(width, 1).triu(width)


@dataclass(frozen=True)
class Shear:
    """Adds ``factor`` times row ``source`` to row ``target``; the inverse subtracts it."""

    target: int
    source: int
    factor: int


@dataclass(frozen=True)
class Prescribed:
    """A matrix S J S⁻¹ by its blocks J and the shears whose product is S; its repr is the recipe."""

    blocks: tuple[Block, ...]
    shears: tuple[Shear, ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            raise InvalidArgument("a matrix has at least one row: pass at least one block")
        if len(self.shears) > MOST_SHEARS:
            raise InvalidArgument(f"{len(self.shears)} shears could round: pass at most {MOST_SHEARS}")
        for shear in self.shears:
            rows = {shear.target, shear.source}
            if len(rows) < 2 or not rows <= set(range(self.size)) or shear.factor not in FACTORS:
                raise InvalidArgument(f"{shear} does not fit a matrix of {self.size} rows and factors {FACTORS}")

    @property
    def size(self) -> int:
        """Number of rows."""
        return sum(block.rows for block in self.blocks)

    @property
    def eigenvalues(self) -> tuple[complex, ...]:
        """All eigenvalues, exact, by falling real part and then by falling imaginary part."""
        every = (value for block in self.blocks for value in block.eigenvalues)
        return tuple(sorted(every, key=lambda value: (-value.real, -value.imag)))

    @property
    def condition(self) -> float:
        """A bound of the condition number of S in the 2-norm: the product of those of the shears."""
        # Singular values of [[1, k], [0, 1]] are s and 1/s with s - 1/s = |k|.
        stretches = ((abs(shear.factor) + math.sqrt(shear.factor**2 + 4)) / 2 for shear in self.shears)
        return math.prod(stretch**2 for stretch in stretches)

    @property
    def tolerance(self) -> float:
        """How far a computed eigenvalue may lie from the nearest exact one.

        With E the backward error of a stable algorithm (10 n ε ‖A‖_F) and e = κ(S)‖E‖ an eigenvalue of A + E is
        within max(m e, (m e)^(1/m)) of one with chains up to m (Bauer and Fike, with the resolvent of a chain).
        """
        norm = self.draw().norm().item()
        error = self.condition * 10 * self.size * torch.finfo(torch.float64).eps * norm
        return max(max(b.chain * error, (b.chain * error) ** (1 / b.chain)) for b in self.blocks)

    def after(self, error: Tensor, eta: float, steps: int) -> Tensor:
        """(I + ηA)^t u for t = ``steps``, by binomials of the chains: shape (size,), like u."""
        right, left = self.basis()
        start, end = (left @ error).tolist(), []
        for block in self.blocks:
            numbers = [start.pop(0) for _ in range(block.rows)]
            # The block of a pair acts on two coordinates as λ acts on a complex number.
            z = [complex(*pair) for pair in zip(*[iter(numbers)] * 2, strict=True)] if block.imaginary else numbers
            factor = 1 + eta * block.eigenvalues[0]
            powers = [math.comb(steps, k) * eta**k * factor ** max(steps - k, 0) for k in range(block.chain)]
            for k in range(block.chain):
                value = sum(power * later for power, later in zip(powers, z[k:], strict=False))
                end += [value.real, value.imag] if block.imaginary else [value.real]
        return right @ torch.tensor(end, dtype=torch.float64)

    def basis(self) -> tuple[Tensor, Tensor]:
        """S and S⁻¹, integers in float64, each (size, size)."""
        right, left = torch.eye(self.size, dtype=torch.float64), torch.eye(self.size, dtype=torch.float64)
        for shear in self.shears:
            right[shear.target] += shear.factor * right[shear.source]
            left[:, shear.source] -= shear.factor * left[:, shear.target]
        return right, left

    def draw(self) -> Tensor:
        """The matrix, float64, (size, size), exact."""
        right, left = self.basis()
        return right @ torch.block_diag(*(block.draw() for block in self.blocks)) @ left


def matrices(
    *,
    largest: int = 5,
    leading: Leading | None = None,
    chain: int = 3,
    shears: int = MOST_SHEARS,
    stiff: bool | None = None,
) -> st.SearchStrategy[Prescribed]:
    """Matrices with real, complex, repeated, zero and defective eigenvalues, normal and far from normal.

    Args:
        largest: Largest number of rows.
        leading: Sign of the largest real part: "growing" (at least 1/16), "decaying" (at most -1/16), "marginal"
            (0 or ±2^-16); None leaves it open.
        chain: Longest chain; 1 gives diagonalisable matrices.
        shears: Most shears; 0 gives block-diagonal matrices, each shear may add a factor 18 to `Prescribed.condition`.
        stiff: Whether one eigenvalue is negative and huge; None draws it.

    Returns:
        A strategy that shrinks to one row, then to block-diagonal matrices.

    Raises:
        InvalidArgument: When an argument is impossible.
    """
    if largest < 1 or chain < 1 or not 0 <= shears <= MOST_SHEARS:
        raise InvalidArgument(
            f"largest={largest}, chain={chain}, shears={shears} is impossible: "
            f"pass largest >= 1, chain >= 1 and 0 <= shears <= {MOST_SHEARS}"
        )
    if leading not in (None, "growing", "marginal", "decaying"):
        raise InvalidArgument(f"leading={leading!r} is unknown: pass None, 'growing', 'marginal' or 'decaying'")
    if stiff and largest < 2:
        raise InvalidArgument("stiff=True needs a second eigenvalue: pass largest >= 2")
    return _matrices(largest, leading, chain, shears, st.booleans() if stiff is None else st.just(stiff))


@st.composite
def _matrices(draw: st.DrawFn, largest: int, leading: Leading | None, chain: int, shears: int, stiff) -> Prescribed:
    first = {
        None: _multiples(-64, 64),
        "growing": _multiples(1, 64),
        "marginal": st.sampled_from((0.0, RESOLUTION, -RESOLUTION)),
        "decaying": _multiples(-64, -1),
    }[leading]
    has_stiff = largest > 1 and draw(stiff, label="stiff")
    room = largest - has_stiff
    values = [(draw(first, label="leading real part"), draw(_imaginary(room), label="imaginary part"))]
    real = _multiples(-64, math.floor(values[0][0] / STEP) if leading else 64)
    while (room := room - (2 if values[-1][1] else 1)) and draw(st.booleans(), label="another"):
        known = [value for value in values if room > 1 or not value[1]]
        if known and draw(st.booleans(), label="repeated"):
            values.append(draw(st.sampled_from(known), label="eigenvalue"))
        else:
            values.append((draw(real, label="real part"), draw(_imaginary(room), label="imaginary part")))
    if has_stiff:
        values.append((-(2.0 ** draw(st.integers(7, 16), label="log2 stiffness")), 0.0))
    blocks: list[Block] = []
    for value in dict.fromkeys(values):
        lengths = [1]
        for _ in range(values.count(value) - 1):
            if lengths[-1] < chain and draw(st.booleans(), label="coupled"):
                lengths[-1] += 1
            else:
                lengths.append(1)
        blocks += [Block(*value, length) for length in lengths]
    size = sum(block.rows for block in blocks)
    drawn = draw(_shears(size, shears), label="shears") if size > 1 and shears else ()
    return Prescribed(tuple(blocks), tuple(drawn))


# Strategies are made once: making and checking them would take longer than drawing.
@lru_cache
def _multiples(smallest: int, largest: int) -> st.SearchStrategy[float]:
    return st.integers(smallest, largest).map(lambda k: k * STEP)


@lru_cache
def _imaginary(room: int) -> st.SearchStrategy[float]:
    return st.just(0.0) | _multiples(1, 64) if room > 1 else st.just(0.0)


@lru_cache
def _shears(size: int, most: int) -> st.SearchStrategy[list[Shear]]:
    pairs = permutations(range(size), 2)
    return st.lists(st.sampled_from([Shear(*pair, factor) for pair in pairs for factor in FACTORS]), max_size=most)


def linear_critic(matrix: Tensor, discount: float = 1.0) -> tuple[MLP, Tensor, Tensor]:
    """A linear critic and rows whose SEEM matrix is ``matrix``: X = I and X* = (A + I)/γ.

    Args:
        matrix: A, shape (M, M), float64.
        discount: γ, a power of two, so that γX* rounds nothing.

    Returns:
        The critic, of zero weights, X and X*, each (M, M); no row is terminal.
    """
    rows = len(matrix)
    config = MLPConfig(depth=1, bias=False)
    critic = MLP(rows, 1, config, generator=torch.Generator(), dtype=torch.float64)
    nn.init.zeros_(critic.linears[0].weight)
    identity = torch.eye(rows, dtype=torch.float64)
    return critic, identity, (matrix + identity) / discount


def linear_reading(matrix: Tensor, eta: float, error: Tensor | None = None) -> CriticReading:
    """The reading of a linear critic that has this matrix, at Q = 0 and γ = 1, with lr = ηM/2.

    Args:
        matrix: A, shape (M, M), float64.
        eta: η.
        error: u, shape (M,); ones unless given.
    """
    critic, x, x_next = linear_critic(matrix)
    zeros = torch.zeros(len(matrix), dtype=torch.float64)
    u = zeros + 1 if error is None else error
    reading = take_reading(critic, x, x_next, u, zeros, discount=1.0, lr=eta * len(matrix) / 2)
    assert reading is not None
    return reading


def normal_error(size: int, seed: int) -> Tensor:
    """A standard normal u, float64, shape (size,)."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matching_distance(values: Tensor, exact: Iterable[complex]) -> float:
    """Largest gap when the two spectra, each with repetitions, are matched one to one at least total gap."""
    gaps = (values[:, None] - torch.tensor([*exact], dtype=torch.complex128)[None]).abs().numpy()
    return float(gaps[optimize.linear_sum_assignment(gaps)].max())
