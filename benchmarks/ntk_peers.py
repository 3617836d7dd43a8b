"""Other ways to the SEEM matrix, as a user would write them."""

import warnings

import torch
from torch import Tensor, nn


def gradients_by_sample(network: nn.Module, rows: Tensor) -> Tensor:
    """Per-sample gradients stacked, one backward pass a row."""
    parameters, stacked = list(network.parameters()), []
    for row in rows:
        values = network(row[None])
        network.zero_grad()
        values.backward()
        stacked.append(torch.cat([p.grad.view(-1) for p in parameters if p.grad is not None]))
    return torch.stack(stacked)


def by_published_procedure(network: nn.Module, x: Tensor, x_next: Tensor, discount: float | Tensor) -> Tensor:
    """A as the authors' public code gets it, where G(X, X) is a result of its own and multiplied out twice.

    Source: the order of operations of that code (printed): a backward pass a row, gradients over √P, three products.
    Its result is A/P, scaled back here.
    """
    phi = gradients_by_sample(network, x)
    phi = phi / phi.shape[1] ** 0.5
    _ = phi @ phi.T
    phi_next = gradients_by_sample(network, x_next)
    phi_next = phi_next / phi_next.shape[1] ** 0.5
    return (discount * (phi_next @ phi.T) - phi @ phi.T) * phi.shape[1]


def by_sample(network: nn.Module, x: Tensor, x_next: Tensor, discount: float) -> Tensor:
    """The same loop with one fused product and nothing else."""
    phi, phi_next = gradients_by_sample(network, x), gradients_by_sample(network, x_next)
    return (discount * phi_next - phi) @ phi.T


def by_torch_func(network: nn.Module, x: Tensor, x_next: Tensor, discount: float) -> Tensor:
    """Per-sample gradients by vmap(grad), stacked, one fused product."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def value(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(network, parameters, (row[None],)).squeeze()

    per_sample = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))

    def gradients(rows: Tensor) -> Tensor:
        return torch.cat([g.flatten(1) for g in per_sample(parameters, rows).values()], dim=1)

    phi, phi_next = gradients(x), gradients(x_next)
    return (discount * phi_next - phi) @ phi.T


def blocks_by_torch_func(
    network: nn.Module, x: tuple[Tensor, ...], x_next: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """G(X, X) and G(X*, X) of a module of any arguments, by vmap(grad) and one product each."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def value(parameters: dict[str, Tensor], row: tuple[Tensor, ...]) -> Tensor:
        return torch.func.functional_call(network, parameters, tuple(part[None] for part in row)).squeeze()

    per_sample = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attention has no batching rule of its own
        taken = [per_sample(parameters, rows).values() for rows in (x, x_next)]
    phi, phi_next = (torch.cat([g.flatten(1) for g in gradients], 1) for gradients in taken)
    return phi @ phi.T, phi_next @ phi.T
