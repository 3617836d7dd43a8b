"""d3rlpy's CQL and IQL in an interpreter of their own: one JSON line in, one out.

``begin`` makes an algorithm, ``fit`` takes critic steps, ``values`` and ``act`` look at it. What overflows is answered
with nan and is no error.
"""

import contextlib
import io
import json
import signal
import sys
import warnings

warnings.filterwarnings("ignore")
signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted closes the pipe, and that ends this
answers = sys.stdout
sys.stdout = sys.stderr  # the library logs to stdout

with contextlib.redirect_stderr(io.StringIO()):  # gym, which it imports, prints a notice about itself
    import d3rlpy
import numpy as np
import torch

torch.set_num_threads(1)
CQL_ACTION_SAMPLES = 4
"""Actions a state that CQL's penalty sums over; d3rlpy's default is 10, which takes longer."""


class Learner:
    def __init__(self, told):
        d3rlpy.seed(told["seed"])
        self.random, self.batch, self.alive = np.random.default_rng(told["seed"]), told["batch"], True
        with np.load(told["data"]) as file:
            self.data = {name: file[name] for name in file.files}
        self.algorithm = build(told).create(device=told["device"])
        self.algorithm.create_impl(self.data["observations"].shape[1:], self.data["actions"].shape[1])

    def fit(self, steps):
        for _ in range(steps):
            drawn = self.random.integers(len(self.data["rewards"]), size=self.batch)
            chosen = {name: values[drawn] for name, values in self.data.items()}
            # Neither algorithm looks at the next action or at how many steps a transition spans.
            unused = {"next_actions": chosen["actions"], "intervals": np.ones((self.batch, 1), np.float32)}
            try:
                self.algorithm.update(d3rlpy.dataset.TransitionMiniBatch(**chosen, **unused, transitions=[]))
            except ValueError:  # a distribution whose parameters are no longer numbers
                self.alive = False
                return

    def values(self, observations, actions):
        found = self.algorithm.predict_value(table(observations), table(actions))
        return (found if self.alive else np.full(len(found), np.nan)).tolist()

    def act(self, observations):
        return self.algorithm.predict(table(observations)).tolist()


def build(told):
    units = [told["width"]] * 2
    plain = d3rlpy.models.VectorEncoderFactory(hidden_units=units)
    critic = d3rlpy.models.VectorEncoderFactory(hidden_units=units, use_layer_norm=told["layer_norm"])
    shared = {"batch_size": told["batch"], "gamma": told["discount"]}
    shared |= {"tau": told["target_rate"], "actor_learning_rate": told["lr"], "critic_learning_rate": told["lr"]}
    shared |= {"actor_encoder_factory": plain, "critic_encoder_factory": critic}
    if told["algorithm"] == "CQL":
        # A fixed weight of the penalty, as in d3rlpy's own reproduction of D4RL.
        return d3rlpy.algos.CQLConfig(**shared, alpha_learning_rate=0.0, n_action_samples=CQL_ACTION_SAMPLES)
    return d3rlpy.algos.IQLConfig(**shared, value_encoder_factory=critic)


def table(rows):
    return np.array(rows, dtype=np.float32)


def answer(question):
    if question["do"] == "begin":
        held["learner"] = Learner(question)
        return {}
    if question["do"] == "fit":
        held["learner"].fit(question["steps"])
        return {}
    if question["do"] == "values":
        return {"values": held["learner"].values(question["observations"], question["actions"])}
    return {"actions": held["learner"].act(question["observations"])}


held = {}
json.loads(sys.stdin.readline())
print(json.dumps({"version": d3rlpy.__version__}), file=answers, flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
