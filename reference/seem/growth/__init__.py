r"""Growth laws: how Q grows under a training rule, and when it leaves the floating-point range.

On a self-similar ray (bias-free network of depth L, reward 0, X* fixed, :math:`-\Phi^\top u = \kappa\theta`)
the parameters keep their direction and only their scale moves, so a law is one scalar recursion.
"""

from seem.growth.adam import AdamLaw
from seem.growth.base import GrowthLaw
from seem.growth.clipping import ClippingLaw
from seem.growth.decaying_steps import DecayingStepLaw
from seem.growth.huber import HuberLaw
from seem.growth.momentum import MomentumLaw
from seem.growth.sgd import LARGE_LOG_RATE, SMALL_STEP, SGDLaw
from seem.growth.signs import SignLaw
from seem.growth.targets import EMALaw
from seem.growth.weight_decay import WeightDecayLaw

__all__ = [
    "LARGE_LOG_RATE",
    "SMALL_STEP",
    "AdamLaw",
    "ClippingLaw",
    "DecayingStepLaw",
    "EMALaw",
    "GrowthLaw",
    "HuberLaw",
    "MomentumLaw",
    "SGDLaw",
    "SignLaw",
    "WeightDecayLaw",
]
