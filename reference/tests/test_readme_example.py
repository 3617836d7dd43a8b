"""The README's examples of measuring one's own critic, and of watching one's own training, run as they stand there."""

import re
from pathlib import Path

import torch
from torch import nn

README = Path(__file__).parents[2] / "README.md"


def test_readme_examples(capsys):
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, states, actions):
            return self.layers(torch.cat((states, actions), dim=1))

    generator = torch.Generator().manual_seed(0)
    states, next_states = torch.randn(2, 6, 3, generator=generator)
    names = {
        "critic": Own(),
        "twin": Own(),
        "batch": {
            "observations": states,
            "actions": torch.tanh(states[:, :2]),
            "rewards": torch.ones(6, 1),
            "next_observations": next_states,
            "dones": torch.zeros(6, 1, dtype=torch.bool),
        },
        "policy": nn.Sequential(nn.Linear(3, 2), nn.Tanh()),
        "step": 0,
    }
    trained = [*names["critic"].parameters(), *names["twin"].parameters()]
    names["critic_optimiser"] = torch.optim.Adam(trained)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert [len([line for line in block.splitlines() if line]) for block in blocks] == [5, 4], "lines that are read"
    for block in blocks:
        exec(block, names)  # noqa: S102 - the example is this repository's own text
    leading, growth, critical = capsys.readouterr().out.split()
    assert float(growth) > 0
    assert float(leading) == names["reading"].leading
    assert critical == "None" or 0 < float(critical) <= 1
    assert names["reading"].rows == 6
    (entry,) = names["watch"].history
    assert round(entry["bound"], 6) == 100
    assert entry["mean_abs_q"] == names["reading"].mean_abs_q
