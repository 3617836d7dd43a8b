"""Profiles of the suite and one torch thread a worker."""

import os

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# No deadline: a busy machine is not a counterexample.
slow = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", max_examples=50, derandomize=True, database=None, **slow)
settings.register_profile("dev", max_examples=200, **slow)
settings.register_profile("nightly", max_examples=10_000, **slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
