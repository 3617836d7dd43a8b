"""d3rlpy's critics: the kernel that is read is autograd's, and training goes on as if nobody had looked."""

import contextlib
import io
import random
import warnings

import numpy as np
import pytest
import torch

from reference.tests.libraries.autograd import check_kernel, same_bits, state_of
from seem.dynamics import Training
from seem.errors import InputError
from seem.reading import read

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # gym, which it imports, speaks of itself
    warnings.simplefilter("ignore")
    d3rlpy = pytest.importorskip("d3rlpy", reason="d3rlpy is not installed: nox -s kernels-d3rlpy")

ROWS, STATES, ACTIONS = 12, 5, 2
PLAIN = d3rlpy.models.VectorEncoderFactory([24, 16])
CRITICS = {
    "TD3": d3rlpy.algos.TD3Config(critic_encoder_factory=PLAIN),
    "SAC": d3rlpy.algos.SACConfig(critic_encoder_factory=PLAIN),
    "TD3+BC": d3rlpy.algos.TD3PlusBCConfig(critic_encoder_factory=PLAIN),
    "CQL, five critics": d3rlpy.algos.CQLConfig(critic_encoder_factory=PLAIN, n_critics=5),
    "IQL": d3rlpy.algos.IQLConfig(critic_encoder_factory=PLAIN),
    "LayerNorm and tanh": d3rlpy.algos.TD3Config(
        critic_encoder_factory=d3rlpy.models.VectorEncoderFactory([24, 16], activation="tanh", use_layer_norm=True)
    ),
    "shared encoder": d3rlpy.algos.TD3Config(
        critic_encoder_factory=PLAIN, q_func_factory=d3rlpy.models.MeanQFunctionFactory(share_encoder=True)
    ),
    "mean of quantiles": d3rlpy.algos.SACConfig(
        critic_encoder_factory=PLAIN, q_func_factory=d3rlpy.models.QRQFunctionFactory(n_quantiles=7)
    ),
}


def made(config, shape=(STATES,)):
    d3rlpy.seed(0)
    algorithm = config.create(device="cpu:0")
    algorithm.create_impl(shape, ACTIONS)
    return algorithm


def rows(shape=(STATES,)):
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(2, ROWS, *shape, generator=generator)
    actions = torch.rand(2, ROWS, ACTIONS, generator=generator) * 2 - 1
    return (states[0], actions[0]), (states[1], actions[1])


def q_values(critics, x):
    return [critic(*x).q_value for critic in critics]


@pytest.mark.parametrize("name", CRITICS)
def test_the_kernel_of_its_critics_is_autograds(name):
    critics = list(made(CRITICS[name]).impl.modules.q_funcs)
    picked = (lambda output: output.q_value) if name == "mean of quantiles" else None
    found = check_kernel(critics, *rows(), q_values, picked)
    assert len(found.values) == (5 if name == "CQL, five critics" else 2)
    assert found.blocks.way == "layerwise"


def test_the_kernel_of_a_critic_of_images_is_autograds():
    pixels = d3rlpy.models.PixelEncoderFactory(filters=[[4, 5, 3], [6, 3, 2]], feature_size=16)
    config = d3rlpy.algos.SACConfig(critic_encoder_factory=pixels, actor_encoder_factory=pixels)
    critics = list(made(config, (3, 21, 21)).impl.modules.q_funcs)
    assert check_kernel(critics, *rows((3, 21, 21)), q_values).blocks.way == "layerwise"


def test_what_is_no_critic_of_one_value_is_refused():
    """A quantile critic trains quantiles, IQN draws them, DQN has a value per action."""
    x, _ = rows()
    training = Training(discount=0.9, lr=1e-3)
    batch = {"x": x, "x_next": x, "td_error": torch.ones(2, ROWS)}
    with pytest.raises(InputError, match="outputs="):
        read(list(made(CRITICS["mean of quantiles"]).impl.modules.q_funcs), batch, training=training)
    drawn = d3rlpy.algos.SACConfig(q_func_factory=d3rlpy.models.IQNQFunctionFactory())
    critics = list(made(drawn).impl.modules.q_funcs)
    with pytest.raises(InputError, match="other values at each call"):
        read(critics, batch, training=training, outputs=lambda output: output.q_value)
    with pytest.raises(InputError, match="one output per row"):
        read(made(d3rlpy.algos.DQNConfig()).impl.modules.q_funcs[0], {"x": x[0], "x_next": x[0]}, training=training)


def mini_batch(transitions, discount=0.99):
    drawn = d3rlpy.dataset.TransitionMiniBatch(**transitions, transitions=[])
    return d3rlpy.torch_utility.TorchMiniBatch.from_batch(drawn, discount, False, "cpu:0")


def transitions():
    drawn = np.random.default_rng(3)
    shapes = {"observations": STATES, "actions": ACTIONS, "rewards": 1, "next_observations": STATES,
              "next_actions": ACTIONS, "terminals": 1, "intervals": 1}  # fmt: skip
    parts = {name: drawn.uniform(-1, 1, (ROWS, width)).astype(np.float32) for name, width in shapes.items()}
    parts["terminals"] = (parts["terminals"] > 0.5).astype(np.float32)
    parts["intervals"] = np.full((ROWS, 1), 3, np.float32)
    return parts


def test_its_mini_batch_is_read_with_the_policy_and_not_with_the_actions_that_were_recorded():
    config = d3rlpy.algos.TD3Config(critic_encoder_factory=PLAIN, target_smoothing_sigma=0.0)
    algorithm = made(config)
    batch, impl = mini_batch(transitions()), algorithm.impl
    reading = read(
        list(impl.modules.q_funcs),
        batch,
        training=Training(discount=config.gamma, lr=3e-4),  # the batch says how many steps are behind a return
        policy=lambda states: impl.modules.targ_policy(states).squashed_mu,
        target_critics=list(impl.modules.targ_q_funcs),
    )
    assert reading.successors == "the policy's actions, valued by the target critics"
    with torch.no_grad():
        # Its own targets: the smoothing has no width here.
        target = batch.rewards + config.gamma**batch.intervals * impl.compute_target(batch) * (1 - batch.terminals)
        errors = [critic(batch.observations, batch.actions).q_value - target for critic in impl.modules.q_funcs]
    # 1e-5: the library computes in float32.
    assert reading.td_norm == pytest.approx(torch.cat(errors).norm().item(), rel=1e-5)


def test_a_shared_encoder_whose_gradients_it_scales_has_no_foretold_step():
    impl = made(CRITICS["shared encoder"]).impl
    policy = impl.modules.targ_policy
    reading = read(
        list(impl.modules.q_funcs),
        mini_batch(transitions()),
        training=Training(discount=0.9, lr=1e-3),
        policy=lambda states: policy(states).squashed_mu,
    )
    assert reading.leading is not None
    for name in ("growth", "rate", "rayleigh", "excitation_gain", "overshoot_gain", "largest_step_size"):
        assert getattr(reading, name) is None, name
        assert "hook" in reading.why(name), name


@pytest.mark.parametrize("name", ["TD3", "SAC", "shared encoder", "LayerNorm and tanh"])
def test_a_reading_in_the_middle_of_training_changes_no_bit(name):
    drawn = np.random.default_rng(0)
    ends = np.zeros(200, np.float32)
    ends[49::50] = 1
    looks = []

    def trained(look):
        algorithm = made(CRITICS[name])
        data = d3rlpy.dataset.MDPDataset(
            *(drawn_once[name] for name in ("observations", "actions", "rewards")),
            terminals=np.zeros(200, np.float32), timeouts=ends,
        )  # fmt: skip
        options = {"n_steps": 12, "n_steps_per_epoch": 12, "show_progress": False, "save_interval": 10**9}
        algorithm.fit(data, logger_adapter=d3rlpy.logging.NoopAdapterFactory(), callback=look, **options)
        modules = algorithm.impl.modules
        parts = [part for part in vars(modules).values() if isinstance(part, torch.nn.Module)]
        optimisers = [part.optim for part in vars(modules).values() if hasattr(part, "optim")]
        assert optimisers
        keys = np.random.get_state()[1]  # noqa: NPY002 - the generator that the library draws from
        generators = [torch.tensor(random.getstate()[1]), torch.from_numpy(keys.astype(np.int64))]
        return state_of(*parts, *optimisers) + generators

    def look(algorithm, epoch, step):
        modules = algorithm.impl.modules
        policy = getattr(modules, "targ_policy", modules.policy)
        looks.append(
            read(
                list(modules.q_funcs),
                mini_batch(transitions()),
                training=Training(discount=0.99, optimizer=modules.critic_optim.optim),
                policy=lambda states: policy(states).squashed_mu,
                step=step,
            )
        )

    drawn_once = {
        "observations": drawn.standard_normal((200, STATES)).astype(np.float32),
        "actions": drawn.uniform(-1, 1, (200, ACTIONS)).astype(np.float32),
        "rewards": drawn.standard_normal(200).astype(np.float32),
    }
    assert same_bits(trained(None), trained(look))
    assert len(looks) == 12
    assert all(reading.leading is not None for reading in looks)
