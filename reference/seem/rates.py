"""Numbers of a matrix and an error: gains of the modes, where u is heading, the semi-gradient's size."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def gains(spectrum: Complex[Tensor, " M"], step_size: float) -> tuple[float, float]:
    """Largest |1 + ηλ| over Re λ > 0 and over Re λ ≤ 0; 1 where there is none."""
    gains = (1 + step_size * spectrum).abs()
    excited = spectrum.real > 0
    excitation = gains[excited].amax().item() if excited.any() else 1.0
    overshoot = gains[~excited].amax().item() if not excited.all() else 1.0
    return excitation, overshoot


def motion(matrix: Float[Tensor, "M M"], error: Float[Tensor, " M"], step_size: float) -> tuple[float, float]:
    """Where the TD error is heading: uᵀAu/uᵀu and ‖(I + ηA)u‖/‖u‖; 0 and 0 without an error.

    Args:
        matrix: A, shape (M, M), float64.
        error: u, shape (M,), float64.
        step_size: η of the sum loss.

    Returns:
        The Rayleigh quotient of u and the growth of its norm that the next step should bring.
    """
    direction = error / error.norm().clamp_min(torch.finfo(torch.float64).tiny)
    pushed = matrix @ direction
    return (direction @ pushed).item(), (direction + step_size * pushed).norm().item()


def semi_gradient_norm(gram: Float[Tensor, "M M"], error: Float[Tensor, " M"]) -> float:
    """‖Φᵀu‖, from the Gram block."""
    size = error.norm()
    direction = error / size.clamp_min(torch.finfo(torch.float64).tiny)  # uᵀGu may overflow where ‖Φᵀu‖ does not
    return (size * (direction @ gram @ direction).clamp_min(0).sqrt()).item()


def reciprocal_condition(spectrum: Complex[Tensor, " M"]) -> float:
    """Min |λ| / max |λ|; 0 without a kernel."""
    sizes = spectrum.abs()
    return (sizes.min() / sizes.max()).item() if sizes.max() > 0 else 0.0
