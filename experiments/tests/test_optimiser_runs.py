"""What the study of optimisers keeps of a run, against a plain loop in the space of all parameters."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from studies.optimiser import runs
from studies.shared.runs import column
from studies.shared.training import DeclaredRun

from seem.datasets import load
from seem.datasets.dataset import EMBEDDED
from seem.training import start

DATA = EMBEDDED / "hopper-medium.hdf5"
ROWS, READ_AT = 6, 40
SMALL = {
    "Adam": runs.OptimiserArm("Adam", runs._td3(width=8), full_batch=True),
    "AdamW": runs.OptimiserArm("AdamW", runs.DecayedTD3Config(critic=runs._td3(width=8).critic, target_rate=0.05)),
    "momentum": runs.OptimiserArm("momentum", replace(runs._sgd(width=8, momentum=0.9), target_interval=3)),
}


def config_of(arm, budget):
    return runs.ByArm(budget, ROWS, reading_interval=20).run(arm, 30)


def kept_of(arm, budget, tmp_path):
    return runs.measure(tmp_path, "cpu", DeclaredRun("small", arm.name, config_of(arm, budget), DATA))


def trained(arm, steps):
    """The agent after some steps, its rows, mean |Q| before each step, and copies of the critics' parameters."""
    config = config_of(arm, steps)
    transitions, rows, batches, agent = start(config, load(DATA))
    sizes, copies = [], []
    for step in range(steps + 1):
        sizes.append(agent.values(rows).abs().mean().item())
        copies.append([p.detach().clone() for p in agent.critics.parameters()])
        if step < steps:
            drawn = torch.randint(len(transitions), (config.batch or 1,), generator=batches)
            agent.update(rows if config.batch is None else transitions.select(drawn))
    return agent, rows, sizes, copies


def gradients(values, parameters):
    """One row of gradients per value, by a loop of autograd."""
    made = []
    for value in values:
        parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        made.append(
            torch.cat(
                [
                    torch.zeros(p.numel(), dtype=torch.float64) if g is None else g.flatten()
                    for g, p in zip(parts, parameters, strict=True)
                ]
            )
        )
    return torch.stack(made).double().numpy()


class Plain:
    """A step of a training, linearised in all of its parameters, with nothing reduced."""

    def __init__(self, agent, rows):
        self.agent, self.config = agent, agent.config
        critics, targets = (copy.deepcopy(part).double() for part in (agent.critics, agent.target_critics))
        targets.requires_grad_(True)
        rows = rows.to(dtype=torch.float64)
        actions = agent.next_actions(rows.to(dtype=torch.float32)).double()
        x, x_next = (
            torch.cat(pair, 1) for pair in ((rows.observations, rows.actions), (rows.next_observations, actions))
        )
        own, theirs = list(critics.parameters()), list(targets.parameters())
        values = torch.cat([critic(x)[:, 0] for critic in critics])
        backed = torch.stack([target(x_next)[:, 0] for target in targets])
        smaller = backed.argmin(0)
        ahead = torch.stack([critic(x_next)[:, 0] for critic in critics])
        places = torch.arange(len(rows))
        discount = (self.config.discount * (1 - rows.terminals)).numpy()
        self.jacobian = gradients(values, own)
        self.bootstrap = np.tile(discount[:, None] * gradients(backed[smaller, places], theirs), (2, 1))
        current = np.tile(discount[:, None] * gradients(ahead[smaller, places], own), (2, 1))
        target = rows.rewards + torch.from_numpy(discount) * backed.amin(0)
        self.error = (values - target.repeat(2)).detach().numpy()
        self.seem = current @ self.jacobian.T - self.jacobian @ self.jacobian.T
        self.kernel = self.jacobian @ self.jacobian.T
        self.theta, self.lagging = (np.concatenate([p.detach().numpy().ravel() for p in ps]) for ps in (own, theirs))
        self.share = 2 / len(rows)

    def state(self, name):
        held = self.agent.critic_optimiser.state
        return np.concatenate([held[p][name].double().numpy().ravel() for p in self.agent.critics.parameters()])

    def scales(self, step):
        """What memory is multiplied by at a step from now."""
        if self.config.critic_optimiser == "sgd":
            return np.full(len(self.theta), self.config.critic_lr)
        taken = self.agent.steps
        second = np.sqrt(self.state("exp_avg_sq") / (1 - 0.999**taken)) + 1e-8
        return self.config.critic_lr / ((1 - 0.9 ** (taken + 1 + step)) * second)

    def preconditioned(self):
        """The leading eigenvalue under the optimiser, times h."""
        scaled = self.scales(0)[:, None] * self.jacobian.T
        return self.share * np.linalg.eigvals((self.bootstrap - self.jacobian) @ scaled).real.max()

    def growths(self, horizons):
        """Ln of the growth of ‖u‖, step by step."""
        sgd = self.config.critic_optimiser == "sgd"
        memory = self.state("momentum_buffer" if sgd else "exp_avg")
        beta, inflow = (self.config.momentum, 1.0) if sgd else (0.9, 0.1)
        shrink = self.config.critic_lr * getattr(self.config, "weight_decay", 0.0)
        moved, lagging, sizes = self.theta.copy(), self.lagging.copy(), []
        for step in range(max(horizons) + 1):
            u = self.error + self.jacobian @ (moved - self.theta) - self.bootstrap @ (lagging - self.lagging)
            sizes.append(np.linalg.norm(u))
            memory = beta * memory + inflow * self.share * self.jacobian.T @ u
            moved = (1 - shrink) * moved - self.scales(step) * memory
            if (self.agent.steps + step + 1) % self.config.target_interval == 0:
                lagging = (1 - self.config.target_rate) * lagging + self.config.target_rate * moved
        return [math.log(sizes[horizon] / sizes[0]) for horizon in horizons]


@pytest.mark.parametrize("name", SMALL)
def test_what_is_kept_is_what_a_plain_loop_says(name, tmp_path):
    kept = kept_of(SMALL[name], READ_AT, tmp_path)
    agent, rows, sizes, _ = trained(SMALL[name], READ_AT)
    plain = Plain(agent, rows)
    said = {key: column(kept, key)[-1] for key in runs.SAID}
    assert kept["read_at"] == [20, READ_AT]
    assert (kept["optimiser"], kept["divergence_step"], kept["full_batch"]) == (name, None, name == "Adam")
    # What is kept is rounded to five digits.
    close = {"rel": 1e-4, "abs": 1e-7}
    assert said["mean_abs_q"] == pytest.approx(sizes[-1], rel=1e-4)
    assert float(kept["td_norm"][-1]) == pytest.approx(np.linalg.norm(plain.error), rel=1e-4)
    assert said["leading"] == pytest.approx(np.linalg.eigvals(plain.seem).real.max(), rel=1e-4)
    assert said["normalised"] == pytest.approx(said["leading"] / np.linalg.norm(plain.seem), rel=2e-4)
    symmetric = (plain.seem + plain.seem.T) / 2
    assert said["numerical_abscissa"] == pytest.approx(np.linalg.eigvalsh(symmetric)[-1], rel=1e-4)
    assert said["kernel_norm"] == pytest.approx(np.linalg.norm(plain.kernel), rel=1e-4)
    assert said["preconditioned"] == pytest.approx(plain.preconditioned(), **close)
    assert said["gate"] == float(plain.preconditioned() > 0)
    assert [said["growth_20"], said["growth_100"]] == pytest.approx(plain.growths((20, 100)), **close)
    assert kept["step_size"] == pytest.approx(2 * agent.config.critic_lr / ROWS)


def test_a_run_goes_on_for_the_longer_horizon_after_its_critic_has_left(tmp_path, monkeypatch):
    arm = SMALL["Adam"]
    agent, rows, sizes, copies = trained(arm, 60)
    bound = max(sizes[:50]) + 1e-6
    left = next((step for step, size in enumerate(sizes) if size > bound), None)
    assert left is not None
    monkeypatch.setattr(runs, "value_bound", lambda *_: bound)
    kept = kept_of(arm, 400, tmp_path)
    assert kept["divergence_step"] == left
    assert kept["read_at"] == [step for step in range(20, 400, 20) if step < left]
    assert len(kept["td_norm"]) == (left + 100) // 20 + 1
    # At the last reading the line along the last ten steps crosses the bound where it was said.
    at = kept["read_at"][-1]
    drift = [(late - early) / 10 for early, late in zip(copies[at - 10], copies[at], strict=True)]
    before = [(late - early) / 10 for early, late in zip(copies[at - 20], copies[at - 10], strict=True)]
    own, shared = (sum((a.double() * b).sum().item() for a, b in zip(drift, d, strict=True)) for d in (drift, before))
    growth = math.log(own / shared) / 10
    crossing = column(kept, "crossing")[-1]
    way = crossing * (1 - growth * 5)
    assert column(kept, "accelerated")[-1] == pytest.approx((math.sqrt(1 + 2 * growth * way) - 1) / growth, rel=1e-3)
    for parameter, now, step in zip(agent.critics.parameters(), copies[at], drift, strict=True):
        parameter.data = now + crossing * step
    assert agent.values(rows).abs().mean().item() == pytest.approx(bound, rel=1e-2)


def test_a_kept_run_is_read_back(tmp_path, monkeypatch):
    kept = kept_of(SMALL["Adam"], 20, tmp_path)
    monkeypatch.setattr(runs, "_follow", lambda *_: pytest.fail("it is measured already"))
    assert kept_of(SMALL["Adam"], 20, tmp_path) == kept


def test_an_arm_is_one_change_of_the_centre_or_adam_at_a_rate_and_a_depth():
    centre, arms = runs.ARMS[0], {arm.name: arm for arm in runs.ARMS}
    described = {name: runs.ByArm(1, 2).run(arm, 40) for name, arm in arms.items()}
    assert described["full batch"] == replace(described["centre"], batch=None)
    assert {name for name, config in described.items() if config.batch is None} == {
        "full batch",
        "full batch, interval 1",
        "full batch, L=2",
        "full batch, L=4",
    }
    agents = {name: type(config.agent.build(3, 2, seed=0).critic_optimiser) for name, config in described.items()}
    assert agents["AdamW"] is torch.optim.AdamW
    assert {agents["SGD"], agents["momentum"]} == {torch.optim.SGD}
    assert {kind for name, kind in agents.items() if name not in ("AdamW", "SGD", "momentum")} == {torch.optim.Adam}
    assert centre.agent == replace(arms["interval 1"].agent, target_interval=2)
    assert {name for name, arm in arms.items() if arm.agent.target_interval == 1} == {
        "interval 1",
        "interval 1, L=4",
        "full batch, interval 1",
    }
    pairs = {(arm.agent.target_rate, arm.agent.critic.depth) for arm in runs.ARMS}
    assert pairs == {(rate, depth) for rate in (1.0, 0.05, 0.005) for depth in (2, 3, 4)}
    assert {arm.agent.critic.width for name, arm in arms.items() if name != "width 256"} == {64}
    assert arms["width 256"].agent.critic.width == 256
    assert arms["LayerNorm"].agent.critic.normalisation == "layer"


def test_growths_without_a_path_or_past_the_range_are_no_numbers():
    assert np.isnan(runs.growths(None, (1, 2))).tolist() == [True, True]
    path = np.array([[3.0, 4.0], [6.0, 8.0], [np.inf, 0.0]])
    assert runs.growths(path, (1, 2)) == pytest.approx([math.log(2), math.inf])
