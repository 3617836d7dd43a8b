"""Critics of d3rlpy, which is no dependency of this project: install it beside it.

SEEM_CRITIC=properties.examples.d3rlpy_critics:layer_norm python -m pytest properties/
"""

import torch
from torch import Tensor, nn

OBSERVATION_DIM, ACTION_DIM = 11, 3
Made = tuple[nn.Module, tuple[Tensor, Tensor]]


class QValue(nn.Module):
    """The values of a d3rlpy Q function, which the function itself returns inside a tuple."""

    def __init__(self, q_function: nn.Module) -> None:
        super().__init__()
        self.q_function = q_function

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Values, shape (N, 1)."""
        return self.q_function(observations, actions).q_value


def _critic(encoder_factory) -> Made:
    from d3rlpy.models import MeanQFunctionFactory, create_continuous_q_function

    functions, _ = create_continuous_q_function(
        (OBSERVATION_DIM,), ACTION_DIM, encoder_factory, MeanQFunctionFactory(), device="cpu", enable_ddp=False
    )
    return QValue(functions[0]), (torch.zeros(2, OBSERVATION_DIM), torch.zeros(2, ACTION_DIM))


def plain() -> Made:
    """The default: two hidden layers of 256 ReLU units."""
    from d3rlpy.models import DefaultEncoderFactory

    return _critic(DefaultEncoderFactory())


def layer_norm() -> Made:
    """With LayerNorm, which d3rlpy puts after the non-linearity."""
    from d3rlpy.models import VectorEncoderFactory

    return _critic(VectorEncoderFactory([256, 256], use_layer_norm=True))


def batch_norm() -> Made:
    """With BatchNorm, in training mode as it is built."""
    from d3rlpy.models import VectorEncoderFactory

    return _critic(VectorEncoderFactory([256, 256], use_batch_norm=True))


def simba() -> Made:
    """SimBa: residual blocks with LayerNorm before, and one LayerNorm after all of them (Lee et al. 2024)."""
    from d3rlpy.models import SimBaEncoderFactory

    return _critic(SimBaEncoderFactory())
