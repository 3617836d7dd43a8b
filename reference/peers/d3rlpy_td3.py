"""d3rlpy's TD3 trained by its own ``fit``, timed in its own interpreter."""

import json
import sys
import time
import warnings

told = json.loads(sys.stdin.readline())
warnings.filterwarnings("ignore")
answers = sys.stdout
sys.stdout = sys.stderr  # the library logs to stdout

import d3rlpy
import numpy as np
import torch

torch.set_num_threads(told["threads"])
rng = np.random.default_rng(0)
rows = told["rows"]
ends = np.zeros(rows, np.float32)
ends[999::1000] = 1
dataset = d3rlpy.dataset.MDPDataset(
    observations=rng.standard_normal((rows, told["observation_dim"])).astype(np.float32),
    actions=rng.uniform(-1, 1, (rows, told["action_dim"])).astype(np.float32),
    rewards=rng.standard_normal(rows).astype(np.float32),
    terminals=np.zeros(rows, np.float32),
    timeouts=ends,
)
encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=[256, 256])
config = d3rlpy.algos.TD3Config(batch_size=told["batch"], actor_encoder_factory=encoder, critic_encoder_factory=encoder)
algo = config.create(device="cpu:0")


def fit(steps):
    options = {"n_steps": steps, "n_steps_per_epoch": steps, "show_progress": False, "save_interval": 10**9}
    algo.fit(dataset, logger_adapter=d3rlpy.logging.NoopAdapterFactory(), **options)


fit(10)
print(json.dumps({"version": d3rlpy.__version__}), file=answers, flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    fit(told["steps"])
    print(json.dumps({"seconds": time.perf_counter() - started}), file=answers, flush=True)
