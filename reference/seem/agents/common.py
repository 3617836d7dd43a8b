"""What every agent needs: optimisers, blended targets, checks."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seem.agents.protocol import Agent
from seem.errors import InputError


def build_optimiser(
    module: nn.Module, name: Literal["sgd", "adam"], lr: float, momentum: float = 0.0
) -> torch.optim.Optimizer:
    """An optimiser over all parameters of ``module``.

    Args:
        module: What is trained.
        name: "sgd" (heavy ball when ``momentum`` is positive) or "adam" (torch's defaults).
        lr: Learning rate, positive.
        momentum: Heavy-ball coefficient of "sgd", in [0, 1).

    Returns:
        The optimiser.

    Raises:
        InputError: See `check_optimiser`.
    """
    check_optimiser(name, lr, momentum)
    if name == "sgd":
        return torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum)
    return torch.optim.Adam(module.parameters(), lr=lr)


def check_optimiser(name: str, lr: float, momentum: float = 0.0) -> None:
    """Refuse an optimiser that cannot be.

    Args:
        name: "sgd" or "adam".
        lr: Learning rate.
        momentum: Heavy-ball coefficient.

    Raises:
        InputError: On an unknown name, a learning rate that is not positive and finite, or a momentum that is
            outside [0, 1) or given to Adam.
    """
    if name not in ("sgd", "adam"):
        raise InputError(f"unknown optimiser {name!r}: choose sgd or adam")
    if not 0 < lr < math.inf:
        raise InputError(f"learning rate {lr} is impossible: pass a positive number")
    if not 0 <= momentum < 1:
        raise InputError(f"momentum {momentum} is impossible: pass a number in [0, 1)")
    if name == "adam" and momentum:
        raise InputError("adam has its own momentum: pass momentum 0 with it")


@torch.no_grad()
def blend(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Move ``target``'s parameters towards ``source``'s: θ' ← (1 - τ)θ' + τθ.

    Buffers (BatchNorm's statistics, the spectral norm's vectors) have no mean of their own: they are copied.

    Args:
        target: What moves, in place.
        source: What it follows; a module of the same shape.
        rate: τ in [0, 1]; 1 copies exactly, 0 leaves the target alone.
    """
    for moved, followed in zip(target.parameters(), source.parameters(), strict=True):
        if rate == 1:
            moved.copy_(followed)
        elif rate > 0:  # 0 times an overflowed source would be nan
            moved.mul_(1 - rate).add_(followed, alpha=rate)
    for moved, followed in zip(target.buffers(), source.buffers(), strict=True):
        if rate > 0:
            moved.copy_(followed)


def critic_values(critics: Iterable[nn.Module], observations: Tensor, actions: Tensor) -> Tensor:
    """Values f_i(s, a) of several critics.

    Args:
        critics: Modules of one argument, the rows (s, a), with one output per row.
        observations: States s, shape (N, observation_dim).
        actions: Actions a, shape (N, action_dim).

    Returns:
        One row per critic, shape (critics, N).
    """
    rows = torch.cat((observations, actions), dim=1)
    return torch.stack([critic(rows).squeeze(1) for critic in critics])


def check_unit_interval(name: str, value: float) -> None:
    """Refuse a value outside [0, 1].

    Raises:
        InputError: Naming the setting.
    """
    if not 0 <= value <= 1:
        raise InputError(f"{name} {value} is impossible: pass a number from 0 to 1")


@contextmanager
def evaluating(agent: Agent) -> Iterator[None]:
    """All of an agent's networks in evaluation mode: looking at them neither couples rows nor moves a buffer.

    Args:
        agent: The agent; its attributes hold the modules.
    """
    modules = [part for part in vars(agent).values() if isinstance(part, nn.Module)]
    training = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.train(mode)


def state_of(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that decides an agent's future: networks, optimisers, random generators, step count.

    Args:
        agent: The agent; its attributes hold modules, optimisers and generators.

    Returns:
        Tensors by name, copies that later updates leave alone, and a JSON object.
    """
    tensors: dict[str, Tensor] = {}
    for name, part in vars(agent).items():
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        elif isinstance(part, torch.optim.Optimizer):
            for index, slots in part.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{slot}": value for slot, value in slots.items() if value is not None}
        elif isinstance(part, torch.Generator):
            tensors[name] = part.get_state()
    return {name: tensor.clone() for name, tensor in tensors.items()}, {"steps": agent.steps}


def load_state(agent: Agent, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Put an agent of the same configuration into a state of `state_of`, bit for bit.

    Args:
        agent: The agent to change.
        tensors: Tensors by name, on any device.
        counters: The JSON object.
    """
    agent.steps = counters["steps"]
    for name, part in vars(agent).items():
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if isinstance(part, nn.Module):
            part.load_state_dict(own)
        elif isinstance(part, torch.optim.Optimizer):
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in own.items():
                index, slot = key.split(".", 1)
                # Cloned, since torch keeps what it is given: two agents would share their moments.
                slots.setdefault(int(index), {})[slot] = value.clone()
            part.load_state_dict({"state": slots, "param_groups": part.state_dict()["param_groups"]})
        elif isinstance(part, torch.Generator):
            part.set_state(tensors[name])
