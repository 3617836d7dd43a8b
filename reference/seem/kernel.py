r"""Gram blocks of N critics over their joint parameters, by the fastest way that proves right.

:math:`G_{ij}(Z, X) = \Phi_i(Z)\Phi_j(X)^\top` for critics i and j. The ways, in order: factors of every layer
(`seem.layerwise`), gradients of rows through ``torch.func``, gradients row by row. Each result is held against
autograd's own: for random weights w one backward pass gives :math:`\Phi_i(X)^\top w`, whose products must be
:math:`w^\top G_{ij} w`, and the gradient of one row alone must have the length that the diagonal says.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seem.errors import InputError
from seem.gradients import Rows, backward, chunks, products, rows_by_loop
from seem.layerwise import Factors, factors, plain
from seem.subject import FAILURES, Subject
from seem.trees import Tree, leaves, map_tree
from seem.uses import Key, Pair

CHECKED = 16
"""Rows of X and of X* whose gradients are held against autograd's at every reading."""
LARGEST_TABLE = 2**26
"""Numbers in a table of explicit gradient rows, or of pairs of tokens, half a gigabyte in float64."""


@dataclass(frozen=True)
class Blocks:
    """Gram blocks of N critics.

    Attributes:
        gram: G_ij(X, X), shape (N, N, M, M).
        gram_next: G_ij(X*, X), shape (N, N, M, M); row critic i at X*, column critic j at X.
        way: "layerwise", "torch.func" or "rows": how they were made.
    """

    gram: Tensor
    gram_next: Tensor
    way: str


NO_BLOCKS = Blocks(torch.empty(0), torch.empty(0), "none")


def kernel_blocks(subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int) -> Blocks:
    """The blocks of all critics, checked against autograd.

    Memory: the layerwise way holds for every layer its input and its output's derivative by each critic over the 2M
    rows, and tables of at most `LARGEST_TABLE` numbers; the others hold gradients of as many rows at a time as
    `seem.gradients.CHUNK_NUMBERS` allow. The blocks themselves are 2N²M² numbers.

    Args:
        subject: The critics' copies.
        x: X, as `Subject.arguments` gives it, M rows.
        x_next: X*, likewise.
        critics: N.

    Raises:
        InputError: When no way agrees with autograd.
    """
    check = _Check(subject, x, x_next, critics)
    for way, make in (("layerwise", _layerwise), ("torch.func", _by_rows), ("rows", _by_rows_alone)):
        try:
            gram, gram_next = make(subject, x, x_next, critics)
        except InputError:
            raise
        except FAILURES as error:
            if way == "rows":
                what = " ".join(str(error).split())[:200]
                raise InputError(f"autograd fails on the critic ({what}): pass one that can be trained") from error
            continue
        gram, gram_next = gram.detach(), gram_next.detach()
        if check.passes(gram, gram_next):
            return Blocks(gram, gram_next, way)
    raise InputError("the critic's gradients differ from call to call: read one whose backward pass is deterministic")


Way = Callable[[Subject, tuple[Tree, ...], tuple[Tree, ...], int], tuple[Tensor, Tensor]]


class _Check:
    """What autograd says of the blocks: of random sums over some rows, and of one row alone."""

    def __init__(self, subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int) -> None:
        self.subject, self.critics = subject, critics
        rows, like = len(leaves(x)[0]), leaves(x)[0]
        self.some = torch.linspace(0, rows - 1, min(rows, CHECKED)).round().long().to(like.device)
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(2, len(self.some), generator=generator, dtype=torch.float64).to(like.device)
        here, there = (
            self._sums(map_tree(lambda tensor: tensor[self.some], inputs), weights)
            for inputs, weights in zip((x, x_next), self.weights, strict=True)
        )
        self.here, self.there = here @ here.T, there @ here.T
        single = self._sums(map_tree(lambda tensor: tensor[-1:], x), self.weights.new_ones(1))
        self.single = single @ single.T

    def _sums(self, inputs: tuple[Tree, ...], weights: Tensor) -> Tensor:
        """Φᵀw of every critic, side by side over all parameters, shape (N, P)."""
        parameters, sums = self.subject.parameters.values(), []
        for critic in range(self.critics):
            found = backward(self.subject, self.subject.values(inputs)[critic] @ weights.to(self.subject.dtype))
            pairs = zip(found, parameters, strict=True)
            sums.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
        return torch.stack(sums).double()

    def passes(self, gram: Tensor, gram_next: Tensor) -> bool:
        """Whether blocks agree, to the rounding of sums over M rows."""
        slack = 1e-9 if self.subject.dtype == torch.float64 else 1e-3
        mine, theirs = self.weights[0], self.weights[1]
        gram, gram_next = (block[:, :, self.some][..., self.some].double() for block in (gram, gram_next))
        sizes = torch.einsum("iiaa->ia", gram).clamp_min(0).sqrt()
        bound = (sizes @ mine.abs())[:, None] * (sizes @ mine.abs())[None] + torch.finfo(self.subject.dtype).tiny
        pairs = [
            (torch.einsum("a,ijab,b->ij", mine, gram, mine), self.here, bound),
            (torch.einsum("a,ijab,b->ij", theirs, gram_next, mine), self.there, bound + self._far(gram_next, theirs)),
            (gram[:, :, -1, -1], self.single, bound),
        ]
        return all(_agree(value, expected, slack * size) for value, expected, size in pairs)

    def _far(self, gram_next: Tensor, theirs: Tensor) -> Tensor:
        return torch.einsum("a,ijab,b->ij", theirs.abs(), gram_next.abs(), self.weights[0].abs())


def _agree(value: Tensor, expected: Tensor, room: Tensor) -> bool:
    # A kernel that has overflowed is told by its reader.
    finite = value.isfinite() & expected.isfinite() & room.isfinite()
    return bool(((value - expected).abs() <= room)[finite].all())


def _layerwise(subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int) -> tuple[Tensor, Tensor]:
    here, there = (factors(subject, inputs)[1] for inputs in (x, x_next))
    own = {id(parameter): name for name, parameter in subject.parameters.items()}
    loose = {key for key in here.loose | there.loose if key in own}
    gram, gram_next = _products(here, there, loose, own)
    if loose:
        names = [own[key] for key in own if key in loose]
        rest, rest_next = _explicit(subject, x, x_next, critics, names)
        gram, gram_next = gram + rest, gram_next + rest_next
    return gram, gram_next


def _by_rows(subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int) -> tuple[Tensor, Tensor]:
    return _explicit(subject, x, x_next, critics, list(subject.parameters))


def _by_rows_alone(
    subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int
) -> tuple[Tensor, Tensor]:
    names = list(subject.parameters)
    here, there = (rows_by_loop(subject, inputs, names, critics) for inputs in (x, x_next))
    return products(here, here), products(there, here)


def _explicit(
    subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...], critics: int, names: list[str]
) -> tuple[Tensor, Tensor]:
    """Blocks from explicit gradients of some parameters, a chunk of rows at a time."""

    def block(z: tuple[Tree, ...], first: Rows | None) -> Tensor:
        strips = []
        for rows in chunks(subject, z, names, critics) if first is None else [first]:
            columns = chunks(subject, x, names, critics) if whole is None else [whole]
            strips.append(torch.cat([products(rows, some) for some in columns], 3))
        return torch.cat(strips, 2)

    parts = chunks(subject, x, names, critics)
    head = next(parts)
    # All rows in one chunk: their gradients serve both blocks.
    whole = head if next(iter(head.values())).shape[1] == len(leaves(x)[0]) else None
    return block(x, whole), block(x_next, None)


def _products(here: Factors, there: Factors, loose: set[int], own: dict[int, str]) -> tuple[Tensor, Tensor]:
    """G_ij(X, X) and G_ij(X*, X) for all pairs of critics, from the shares that both have."""

    def counts(key: Key) -> bool:
        base = key if isinstance(key, int) else key[0]
        return base in own and base not in loose

    found = [
        [_blocks(mine, following, {key: theirs[key] for key in theirs if counts(key)}) for theirs in here.shares]
        for mine, following in zip(here.shares, there.shares, strict=True)
    ]
    like = next((block for strip in found for both in strip for block in both if block is not None), None)
    if like is None:
        raise RuntimeError("no parameter has factors")
    zeros = torch.zeros_like(like)

    def whole(which: int) -> Tensor:
        strips = [[zeros if (block := both[which]) is None else block for both in strip] for strip in found]
        return torch.stack([torch.stack(strip) for strip in strips])

    return whole(0), whole(1)


def _blocks(
    mine: dict[Key, Pair | Tensor], following: dict[Key, Pair | Tensor], theirs: dict[Key, Pair | Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """The sums over parameters of both blocks; a parameter's explicit gradients are made once and let go."""
    blocks: list[Tensor | None] = [None, None]
    for key, share in theirs.items():
        columns = None
        for which, left in enumerate((mine.get(key), following.get(key))):
            if left is None:
                continue
            block = blocks[which]
            if isinstance(left, Pair) and isinstance(share, Pair) and not _rows_are_smaller(left, share):
                blocks[which] = _add_pairs(block, left, share)
                continue
            columns = plain(share) if columns is None else columns
            product = (columns if left is share else plain(left)) @ columns.T
            blocks[which] = product if block is None else block + product
    return blocks[0], blocks[1]


def _rows_are_smaller(a: Pair, b: Pair) -> bool:
    """Whether explicit gradients cost fewer products than pairs of tokens, and fit."""
    fan_out, fan_in = a.deltas.shape[2], a.inputs.shape[2]
    rows, tokens, columns = len(a.deltas), a.deltas.shape[1], len(b.deltas)
    if max(rows, columns) * fan_out * fan_in > LARGEST_TABLE:
        return False
    if fan_out == 1 or fan_in == 1:
        return True
    explicit = fan_out * fan_in * (rows * tokens + columns * b.deltas.shape[1] + rows * columns)
    return explicit < rows * tokens * columns * b.deltas.shape[1] * (fan_out + fan_in)


def _add_pairs(block: Tensor | None, a: Pair, b: Pair) -> Tensor:
    """Add Σ over pairs of tokens of (δ·δ')(h·h')."""
    rows, tokens = a.deltas.shape[:2]
    columns, others = b.deltas.shape[:2]
    result = a.deltas.new_zeros(rows, columns) if block is None else block
    if tokens == others == 1:
        return result.addcmul_(a.deltas[:, 0] @ b.deltas[:, 0].T, a.inputs[:, 0] @ b.inputs[:, 0].T)
    step = max(1, LARGEST_TABLE // (tokens * columns * others))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        table = a.deltas[part].flatten(0, 1) @ b.deltas.flatten(0, 1).T
        table *= a.inputs[part].flatten(0, 1) @ b.inputs.flatten(0, 1).T
        result[part] += table.reshape(-1, tokens, columns, others).sum((1, 3))
    return result
