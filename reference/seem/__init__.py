"""SEEM-verify: forecasts of Q-value divergence in offline reinforcement learning, and their verification.

The front door; each name is loaded when it is first used, and with it only what it needs.

- `Transitions`: rows (s, a, r, s', terminal) as frozen tensors
- `load`: a data set's file, read and checked
- `gram_blocks`: the kernel blocks G(X, X) and G(X*, X) of a critic
- `leading_eigenvalue`: a matrix's eigenvalue of largest real part, with its certificate
- `Training`: how critics are trained: discount, loss, optimiser, targets
- `read`: critics of any kind, read without being touched
- `Reading`: what one look says
- `Watch`: readings and alarms during a training of one's own
- `forecast`: from readings to when Q diverges
- `look_ahead`: critics along the drift of their parameters
- `Trail`: copies of the parameters some steps apart, and their drift
- `Calibration`: how far earlier forecasts were off, for an interval
- `MLPConfig`: the shape of a critic or an actor
- `TD3Config`: an agent: TD3, or TD3+BC
- `SACConfig`: an agent: SAC
- `RunConfig`: everything that decides a training
- `train`: a training with readings and forecasts, kept in a folder
- `read_run`: a kept training, read back and checked
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seem.agents.sac import SACConfig
    from seem.agents.td3 import TD3Config
    from seem.calibration import Calibration
    from seem.config import RunConfig
    from seem.datasets.dataset import load
    from seem.drift import Trail
    from seem.dynamics import Training
    from seem.forecasting import forecast
    from seem.leading import leading_eigenvalue
    from seem.lookahead import look_ahead
    from seem.networks import MLPConfig
    from seem.ntk import gram_blocks
    from seem.reading import read
    from seem.reading_result import Reading
    from seem.records import read_run
    from seem.training import train
    from seem.transitions import Transitions
    from seem.watch import Watch

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "MLPConfig",
    "Reading",
    "RunConfig",
    "SACConfig",
    "TD3Config",
    "Trail",
    "Training",
    "Transitions",
    "Watch",
    "forecast",
    "gram_blocks",
    "leading_eigenvalue",
    "load",
    "look_ahead",
    "read",
    "read_run",
    "train",
]

_MODULES = {
    "Calibration": "calibration",
    "MLPConfig": "networks",
    "Reading": "reading_result",
    "RunConfig": "config",
    "SACConfig": "agents.sac",
    "TD3Config": "agents.td3",
    "Trail": "drift",
    "Training": "dynamics",
    "Transitions": "transitions",
    "Watch": "watch",
    "forecast": "forecasting",
    "gram_blocks": "ntk",
    "leading_eigenvalue": "leading",
    "load": "datasets.dataset",
    "look_ahead": "lookahead",
    "read": "reading",
    "read_run": "records",
    "train": "training",
}
"""Where each name lives. None is also a module's, which would take its place once it is imported."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
