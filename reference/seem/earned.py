"""What can be earned, kept up during a training, and whether what was trained has left the floating-point range."""

from typing import Any

import torch
from torch import nn

from seem.batches import named, tensors
from seem.checks import check_number
from seem.dynamics import Numbers
from seem.errors import InputError
from seem.lookahead import value_bound
from seem.trees import leaves


class Earned:
    """What mean |Q| must not pass: a number, or the largest `seem.lookahead.value_bound` of the rewards seen so far.

    Args:
        given: The number, or None.
        discount: The training's γ.

    Raises:
        InputError: On an impossible bound, or without one where nothing bounds |Q|.
    """

    def __init__(self, given: float | int | None, discount: Numbers) -> None:
        self.given = None if given is None else check_number("bound", given, above=0)
        self.discount, self.seen = discount, 0.0
        if given is None and (torch.as_tensor(discount) == 1).any():
            raise InputError("a discount of 1 bounds no value: pass bound, the largest |Q| that can be earned")

    def bound(self, batch: Any, given: float | int | None) -> float | None:
        """The bound at a reading; None while all rewards seen were 0.

        Args:
            batch: Its transitions, all of them.
            given: A bound for this reading alone, or None.

        Raises:
            InputError: When nothing bounds |Q|.
        """
        if given is not None:
            return check_number("bound", given, above=0)
        if self.given is not None:
            return self.given
        found = named(batch)
        rewards = tensors(found.get("rewards"), "rewards")
        if rewards is None:
            raise InputError("what can be earned is unknown: pass bound, or batches with rewards")
        if (rewards != 0).any():
            self.seen = max(self.seen, value_bound(rewards, found.get("discounts", self.discount)))
        return self.seen or None


def diverged(critics: Any, policy: Any, targets: Any, rows: Any) -> bool:
    """Whether what was trained is not finite, which explains why it could not be read.

    Args:
        critics: One or several.
        policy: A module, a module's method, or anything else, of which nothing is known.
        targets: Target critics.
        rows: The batch; what networks made of it counts.
    """
    given = [part for one in (critics, policy, targets) for part in (one if isinstance(one, (list, tuple)) else [one])]
    modules = [part if isinstance(part, nn.Module) else getattr(part, "__self__", None) for part in given]
    held = [p.detach() for module in modules if isinstance(module, nn.Module) for p in module.parameters()]
    made = [rows.get(name) for name in ("next_actions", "targets")] if isinstance(rows, dict) else []
    held += [part for tree in made for part in leaves(tensors(tree, "made by the networks"))]
    return any(part.is_floating_point() and not part.isfinite().all() for part in held)
