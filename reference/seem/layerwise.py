r"""Factors of per-row gradients of any module: one forward pass, and one backward pass per critic.

Every call that uses a parameter in a known way is collected (linear maps, convolutions, embeddings, normalisations,
sums and products with a parameter). Its input h and the derivative δ of a critic's value by its output are all that the
kernel needs: with a token per row :math:`(\delta\delta'^\top)\circ(hh'^\top)`, with more the sum over pairs of tokens,
or the row's own gradient :math:`\sum_t \delta_t h_t^\top` where that is smaller. A parameter that is computed from
others (weight norm, a slice) is pulled back to them. What is used in no known way is named `loose`, and its per-row
gradients are taken by `seem.gradients`.

Source: the layerwise identity is Novak et al. 2022 (2206.08720).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from seem.errors import InputError
from seem.layer_rules import RULES
from seem.subject import Subject
from seem.trees import Tree, leaves
from seem.uses import Collector, Key, Pair


@dataclass
class Factors:
    """What the kernel of N critics over M rows is made of.

    Attributes:
        shares: For each critic its shares by parameter: a `Pair`, or gradient rows (M, numbers).
        loose: Parameters whose gradients have no factors.
    """

    shares: list[dict[Key, Pair | Tensor]]
    loose: set[int] = field(default_factory=set)


def factors(subject: Subject, arguments: tuple[Tree, ...]) -> tuple[Tensor, Factors]:
    """The factors of all critics, by one forward and one backward pass per critic.

    Args:
        subject: The critics.
        arguments: Of M rows.

    Returns:
        The values, shape (N, M), detached, and the factors. Held are, of every collected call, its input and as many
        outputs' derivatives as there are critics.

    Raises:
        InputError: When the critics fail on the rows.
    """
    rows, parameters = len(leaves(arguments)[0]), list(subject.parameters.values())
    for copying in (False, True):
        collector = Collector(parameters, rows, RULES, copying=copying)
        with collector:
            values = subject.values(arguments)
        if not collector.changed():
            break
    else:
        raise InputError("the critic writes over its own results: read it through a module that does not")
    made = []
    for critic in range(len(values)):
        total, outputs = values[critic].sum(), [use.output for use in collector.uses]
        tracked = total.requires_grad and outputs
        deltas = torch.autograd.grad(total, outputs, retain_graph=True, allow_unused=True) if tracked else ()
        made.append(_shares(collector, deltas or (None,) * len(outputs)))
    return values.detach(), _pulled_back(collector, Factors(made, collector.loose))


def _shares(collector: Collector, deltas: tuple[Tensor | None, ...]) -> dict[Key, Pair | Tensor]:
    shares: dict[Key, Pair | Tensor] = {}
    for use, delta in zip(collector.uses, deltas, strict=True):
        if delta is None or not delta.any():  # another critic's layer adds nothing
            continue
        for key, share in use.shares(delta).items():
            shares[key] = share if key not in shares else _joined(shares[key], share)
    return shares


def _joined(first: Pair | Tensor, second: Pair | Tensor) -> Pair | Tensor:
    """The share of a parameter that is used twice: further tokens of the same rows, or the sum of the gradients."""
    if isinstance(first, Pair) and isinstance(second, Pair):
        # The same weights without a bias have no column of ones: zeros stand in for it.
        width = max(first.inputs.shape[2], second.inputs.shape[2])
        inputs = [functional.pad(part.inputs, (0, width - part.inputs.shape[2])) for part in (first, second)]
        return Pair(torch.cat((first.deltas, second.deltas), 1), torch.cat(inputs, 1))
    return plain(first) + plain(second)


def plain(share: Pair | Tensor) -> Tensor:
    """Gradient rows of a share, shape (M, numbers)."""
    return share.rows() if isinstance(share, Pair) else share


def _pulled_back(collector: Collector, found: Factors) -> Factors:
    """Shares of computed parameters become shares of those that they are computed from."""
    origins: dict[int, list[int]] = {}
    for key, (made, sources) in collector.derived.items():
        origins[key] = list(dict.fromkeys(leaf for source in sources for leaf in origins.get(source, [source])))
        if key in found.loose:
            found.loose.update(origins[key])
            continue
        wanted = [collector.known[leaf] for leaf in origins[key]]
        for shares in found.shares:
            if key not in shares:
                continue
            rows = plain(shares.pop(key)).reshape(-1, *made.shape)
            pulled = torch.autograd.grad(
                made, wanted, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
            for leaf, gradient in zip(origins[key], pulled, strict=True):
                if gradient is not None:
                    part = gradient.flatten(1)
                    shares[leaf] = part if leaf not in shares else plain(shares[leaf]) + part
    return found
