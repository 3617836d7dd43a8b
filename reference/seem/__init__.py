"""SEEM-verify: forecasts of Q-value divergence in offline reinforcement learning, and their verification."""

__version__ = "0.1.0"
