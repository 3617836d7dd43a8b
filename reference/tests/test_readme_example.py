"""The README's examples, one's own critic and one's own training, run as they stand there."""

import re
from pathlib import Path

import torch
from torch import nn

README = Path(__file__).parents[2] / "README.md"


def blocks() -> list[str]:
    """The README's blocks of Python: a critic's, and a training's."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_readme_example(capsys):
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
    }
    first, second = blocks()
    assert len([line for line in first.splitlines() if line]) <= 6
    exec(first, names)  # noqa: S102 - the example is this repository's own text
    leading, growth, critical = capsys.readouterr().out.split()
    assert float(growth) > 0
    assert float(leading) == names["reading"].leading
    assert critical == "None" or 0 < float(critical) <= 1
    assert names["reading"].rows == 6
    batch = names["batch"]
    s, a, s_next, d = (batch[name] for name in ("observations", "actions", "next_observations", "dones"))
    names |= {"s": s, "a": a, "s_next": s_next, "a_next": names["policy"](s_next).detach(), "step": 7}
    names |= {"d": d.float(), "u": names["critic"](s, a).detach() - 1}
    exec(second, names)  # noqa: S102 - the same
    assert names["glance"].step == 7
    assert names["glance"].rows == 6
    assert names["glance"].rate is None or names["glance"].excited == (names["glance"].rate > 0)
    assert len([line for line in second.splitlines() if line]) <= 4
