"""Reference agents: one file per agent, the update rule readable from top to bottom."""

from seem.agents.protocol import Agent, AgentConfig
from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config

BuiltIn = TD3Config | SACConfig
"""The configurations that a command line offers."""

__all__ = ["Agent", "AgentConfig", "BuiltIn"]
