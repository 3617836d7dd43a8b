"""The README's example of measuring one's own critic runs as it stands there."""

import re
from pathlib import Path

import torch
from torch import nn

README = Path(__file__).parents[2] / "README.md"


def test_readme_example(capsys):
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, states, actions):
            return self.layers(torch.cat((states, actions), dim=1))

    generator = torch.Generator().manual_seed(0)
    states, next_states = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    names = {
        "critic": Own().double(),
        "states": states,
        "next_states": next_states,
        "actions": torch.tanh(states[:, :2]),
        "policy": lambda observations: torch.tanh(observations[:, :2]),
        "td_target": torch.ones(6, dtype=torch.float64),
        "terminals": torch.zeros(6, dtype=torch.float64),
    }
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(block[1], names)  # noqa: S102 - the example is this repository's own text
    assert len([float(number) for number in capsys.readouterr().out.split()]) == 3
    assert names["reading"].rows == 6
