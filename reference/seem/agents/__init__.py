"""Reference agents: one file an agent, the update rule readable from top to bottom."""
