"""Linear critics trained by real torch optimisers, with every kind of loss and target: what a roll-out must equal."""

# ruff: noqa: D102, D103 - the cases are known by their names

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from seem.dynamics import Training
from seem.reading import read
from seem.step_rules import StepRule
from seem.under_optimiser import UnderOptimiser

GAMMA = 0.9
OPTIMISERS: dict[str, Callable] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05),
    "SGD, decay": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.2),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Nesterov, decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.3),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "Adam, lr a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.05, dtype=torch.float64), foreach=False),
    "Adam, foreach": lambda p: torch.optim.Adam(p, lr=0.05, foreach=True),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=0.05, fused=True),
    "Adam without momentum": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.0, 0.999)),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.2),
    "Adam, decoupled decay": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.2, decoupled_weight_decay=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "RMSprop, centred": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
    "RMSprop, momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "two learning rates": lambda p: torch.optim.SGD(
        [{"params": p[:2], "lr": 0.02}, {"params": p[2:], "lr": 0.1}], momentum=0.5
    ),
    "two epsilons": lambda p: torch.optim.Adam([{"params": p[:1], "eps": 0.1}, {"params": p[1:], "lr": 0.1}], lr=0.02),
}
LOSSES: dict[str, dict] = {
    "mean square": {},
    "half": {"loss_scale": 0.5},
    "Huber": {"huber_knee": 0.6},
    "weights": {"row_weights": torch.linspace(0, 2, 6, dtype=torch.float64)},
    "clipped": {"clip_norm": 0.5},
    "all of it": {
        "loss_scale": 0.5,
        "huber_knee": 0.8,
        "row_weights": torch.linspace(0, 2, 6, dtype=torch.float64),
        "clip_norm": 1.0,
    },
}
TARGETS: dict[str, dict] = {
    "copied": {},
    "rate 1": {"targets": 1.0},
    "copied every fourth": {"target_interval": 4},
    "averaged": {"targets": 0.1},
    "averaged every third": {"targets": 0.2, "target_interval": 3},
    "frozen": {"targets": "frozen"},
}


@dataclass
class Run:
    """Twin linear critics of one backup, their targets and their optimiser."""

    optimiser: str = "SGD"
    settings: dict = field(default_factory=dict)
    seed: int = 0
    rows: int = 6
    width: int = 4
    pinned: bool = True
    backup: str = "mean"

    def __post_init__(self):
        self.generator = torch.Generator().manual_seed(self.seed)
        self.critics = [self._linear() for _ in range(2)]
        self.targets = [self._linear() for _ in range(2)]
        if self.training_of(None).copied:
            self.targets = copy.deepcopy(self.critics)
        self.parameters = [p for critic in self.critics for p in critic.parameters()]
        self.x, self.x_next = self._draw(2, self.rows, self.width)
        self.rewards = self._draw(self.rows)
        self.terminals = (torch.rand(self.rows, generator=self.generator) < 0.3).double()
        self.optimizer = OPTIMISERS[self.optimiser](self.parameters)
        self.training = self.training_of(self.optimizer)
        self.steps, self.frozen = 0, None

    def _draw(self, *shape) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def _linear(self) -> nn.Linear:
        made = nn.Linear(self.width, 1).double()
        for parameter in made.parameters():
            parameter.data = 0.5 * self._draw(*parameter.shape)
        return made

    def training_of(self, optimizer) -> Training:
        return Training(discount=GAMMA, optimizer=optimizer, **self.settings)

    @property
    def batch(self) -> dict:
        return {"x": self.x, "x_next": self.x_next, "rewards": self.rewards, "terminals": self.terminals}

    def errors(self) -> Tensor:
        following = torch.stack([target(self.x_next)[:, 0] for target in self.targets]).detach()
        backed = following.mean(0) if self.backup == "mean" else following.amin(0)
        values = torch.stack([critic(self.x)[:, 0] for critic in self.critics])
        return values - (self.rewards + GAMMA * (1 - self.terminals) * backed)

    def loss(self, u: Tensor) -> Tensor:
        training = self.training
        if training.huber_knee is not None:
            each = nn.functional.huber_loss(u, torch.zeros_like(u), delta=training.huber_knee, reduction="none")
        else:
            each = u.square()
        weights = 1.0 if training.row_weights is None else training.row_weights
        return training.loss_scale * (weights * each).mean(1).sum()

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss(self.errors()).backward()
        if self.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        if self.frozen is not None:
            self._pin()
        self.optimizer.step()
        self.steps += 1
        if self.steps % self.training.target_interval == 0:
            with torch.no_grad():
                for critic, target in zip(self.critics, self.targets, strict=True):
                    for mine, theirs in zip(critic.parameters(), target.parameters(), strict=True):
                        theirs.lerp_(mine, self.training.target_rate)

    def freeze(self) -> None:
        """From now on hold the second moment, as the reading assumes."""
        self.frozen = {}
        for parameter in self.parameters:
            state = self.optimizer.state.get(parameter, {})
            group = next(g for g in self.optimizer.param_groups if any(p is parameter for p in g["params"]))
            if "exp_avg_sq" in state:
                square = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
                self.frozen[parameter] = square / (1 - group["betas"][1] ** float(state["step"]))
            elif "square_avg" in state:
                self.frozen[parameter] = state["square_avg"].clone(), state.get("grad_avg", torch.zeros(())).clone()

    def _pin(self) -> None:
        """Set the moments so that torch's own step finds the frozen ones."""
        for parameter, kept in self.frozen.items():
            state, g = self.optimizer.state[parameter], parameter.grad
            group = next(g for g in self.optimizer.param_groups if any(p is parameter for p in g["params"]))
            if isinstance(kept, tuple):
                alpha = group["alpha"]
                state["square_avg"].copy_((kept[0] - (1 - alpha) * g.square()) / alpha)
                if group["centered"]:
                    state["grad_avg"].copy_((kept[1] - (1 - alpha) * g) / alpha)
                continue
            beta = group["betas"][1]
            wanted = kept * (1 - beta ** (float(state["step"]) + 1))
            state["exp_avg_sq"].copy_((wanted - (1 - beta) * g.square()) / beta)
            if group["amsgrad"]:
                state["max_exp_avg_sq"].zero_()

    def look(self):
        targets = None if self.training.copied else self.targets
        return read(
            self.critics,
            self.batch,
            training=self.training,
            target_critics=targets,
            backup=self.backup,
            step=self.steps,
            with_optimiser=True,
        )

    def path(self, steps: int) -> np.ndarray:
        """U now and after each of some real steps."""
        if self.pinned:
            self.freeze()
        found = [self.errors().detach().flatten()]
        for _ in range(steps):
            self.step()
            found.append(self.errors().detach().flatten())
        return torch.stack(found).numpy()


def step_of(kernel, bootstrap, rule=None, share=1.0, **settings) -> UnderOptimiser:
    """A linearised step of given blocks K and ΓK*, without memory or lag."""
    kernel, bootstrap = (np.atleast_2d(np.asarray(block, dtype=np.float64)) for block in (kernel, bootstrap))
    size = len(kernel)
    nothing = np.zeros(size)
    given = {"error": np.ones(size), "weights": np.ones(size)} | settings
    return UnderOptimiser(
        rule=rule or StepRule("SGD"),
        kernel=kernel,
        bootstrap=bootstrap,
        plain=kernel,
        memory=(nothing, nothing),
        lag=nothing,
        parameters=(nothing, nothing),
        share=share,
        **given,
    )


def adam(beta: float, **settings) -> StepRule:
    return StepRule("Adam", beta, 1 - beta, **settings)
