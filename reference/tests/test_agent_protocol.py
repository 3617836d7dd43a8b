"""What a run needs of an agent: any class that has it trains, and no two kinds share a run's key."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
import tyro

from reference.tests.training_cases import SGD, dataset
from seem.agents import Agent, AgentConfig, BuiltIn
from seem.agents.common import load_state, state_of
from seem.agents.protocol import Kind
from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3, TD3Config
from seem.config import RunConfig, run_key
from seem.records import canonical_json, read_run
from seem.training import train

KINDS = get_args(BuiltIn)
SHORT = RunConfig(SGD, rows=8, budget=4)


class Third(TD3):
    """TD3 without a minimum over twins."""

    @torch.no_grad()
    def td_target(self, batch, *, noisy=True):
        values = self.target_critics[0].q(batch.next_observations, self.next_actions(batch))
        return batch.rewards + self.config.discount * (1 - batch.terminals) * values


@dataclass(frozen=True)
class ThirdConfig(TD3Config):
    """The fields of TD3, and another agent."""

    def build(self, *sizes, **settings) -> Third:
        return Third(self, *sizes, **settings)


def third() -> ThirdConfig:
    return ThirdConfig(**{entry.name: getattr(SGD, entry.name) for entry in fields(SGD) if entry.init})


@pytest.mark.parametrize("kind", [*KINDS, ThirdConfig])
def test_a_configuration_builds_its_agent(kind):
    config = kind()
    assert isinstance(config, AgentConfig)
    agent = config.build(3, 2, seed=5, dtype=torch.float64)
    assert isinstance(agent, Agent)
    assert agent.config == config
    same, other = (config.build(3, 2, seed=seed, dtype=torch.float64) for seed in (5, 6))
    tensors = state_of(agent)[0]
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in state_of(same)[0].items())
    assert any(not torch.equal(tensor, tensors[name]) for name, tensor in state_of(other)[0].items())
    load_state(other, *state_of(agent))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in state_of(other)[0].items())
    assert next(agent.critics[0].parameters()).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_says_its_kind(kind):
    assert f'"kind":"{kind.__name__.removesuffix("Config")}"' in canonical_json(kind())
    assert replace(kind(), discount=0.5).kind == kind().kind


def test_agents_of_equal_fields_have_keys_of_their_own():
    configs = [SGD, third(), SACConfig(critic=SGD.critic)]
    assert {entry.name: getattr(third(), entry.name) for entry in fields(SGD)} | {"kind": "TD3"} == vars(SGD)
    assert third() != SGD
    assert len({canonical_json(config) for config in configs}) == 3
    assert len({run_key(replace(SHORT, agent=config), dataset(), "cpu") for config in configs}) == 3


def test_a_run_trains_the_agent_that_its_configuration_builds(tmp_path: Path):
    train(SHORT, dataset(), tmp_path / "TD3")
    config = replace(SHORT, agent=third())
    train(config, dataset(), tmp_path / "Third")
    plain, other = (read_run(tmp_path / name) for name in ("TD3", "Third"))
    assert other.outcome["run"]["agent"] == plain.outcome["run"]["agent"] | {"kind": "Third"}
    transitions = dataset().transitions.to(dtype=torch.float64)
    agent = third().build(transitions.observation_dim, transitions.action_dim, seed=0, dtype=torch.float64)
    rows = transitions.subset(8, torch.Generator().manual_seed(0))
    norms = [(values[0] - target).norm().item() for values, target in (agent.update(rows) for _ in range(4))]
    assert other.trace["td_norm"].tolist() == norms
    assert plain.trace["td_norm"].tolist() != norms


def test_a_command_line_offers_every_agent():
    for kind in KINDS:
        name = kind.__name__.removesuffix("Config").lower()
        parsed = tyro.cli(RunConfig, args=[f"agent:{name}-config", "--agent.discount", "0.5"])
        assert parsed == RunConfig(kind(discount=0.5))


def test_a_kind_is_not_a_setting():
    with pytest.raises(TypeError, match="kind"):
        TD3Config(kind="SAC")
    assert Kind().kind == "Kind"


def test_a_release_leaves_every_key_and_a_new_format_none(monkeypatch):
    key = run_key(SHORT, dataset(), "cpu")
    monkeypatch.setattr("seem.__version__", "999.0")
    assert run_key(SHORT, dataset(), "cpu") == key
    monkeypatch.setattr("seem.config.RECORD_FORMAT", 999)
    assert run_key(SHORT, dataset(), "cpu") != key


def test_a_finished_run_is_read_back_after_a_release_and_refused_in_another_format(tmp_path: Path, monkeypatch):
    outcome = train(SHORT, dataset(), tmp_path)
    monkeypatch.setattr("seem.__version__", "999.0")
    assert train(SHORT, dataset(), tmp_path) == outcome
    monkeypatch.setattr("seem.config.RECORD_FORMAT", 999)
    with pytest.raises(Exception, match="another run"):
        train(SHORT, dataset(), tmp_path)
