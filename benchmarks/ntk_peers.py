"""Other ways to the SEEM matrix, as a user would write them."""

import torch
from torch import Tensor, nn


def by_sample(network: nn.Module, x: Tensor, x_next: Tensor, discount: float | Tensor) -> Tensor:
    """The published procedure: one backward pass a row, all gradients stacked, one product.

    Source: the order of operations of the authors' public code (printed).
    """
    parameters = list(network.parameters())

    def gradients(rows: Tensor) -> Tensor:
        stacked = []
        for row in rows:
            network.zero_grad()
            network(row[None]).sum().backward()
            stacked.append(torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None]))
        return torch.stack(stacked)

    phi, phi_next = gradients(x), gradients(x_next)
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
