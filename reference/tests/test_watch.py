"""The watch over plain training loops: alarms, entries, and a training of which no bit changes."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from reference.tests.test_bounded import Clock
from reference.tests.watch_cases import DISCOUNT, Loop, same
from seem.alarms import KINDS, AlarmError, AlarmWarning, kind_of_alarm
from seem.calibration import Calibration, Kind
from seem.dynamics import Training
from seem.errors import InputError
from seem.leaving import Leaving
from seem.lookahead import value_bound
from seem.reading import read
from seem.schedule import Schedule
from seem.watch import Watch
from seem.watch_entry import flag

NOT_FINITE, PAST, LEAVING = KINDS
DIVERGES = {"Adam": {"lr": 1e-3, "seed": 1}, "SGD": {"lr": 2e-3, "seed": 2}}
LEFT = {"Adam": 230, "SGD": 127}
"""Steps at which mean |Q| is past its bound, without a watch."""
HEALTHY = {"Adam": {"lr": 3e-4, "norm": True}, "SGD": {"lr": 1e-4, "norm": True}}
ROWS = {
    "observations": torch.ones(4, 2),
    "actions": torch.ones(4, 1),
    "rewards": torch.tensor([1.0, -2.0, 0.0, 1.0]),
    "next_observations": torch.zeros(4, 2),
    "next_actions": torch.zeros(4, 1),
}


def watch_of(loop, **options):
    return Watch(**{"training": loop.training, "every": 20, **options})


def simple(**options):
    """A critic, and a watch over it."""
    torch.manual_seed(0)
    critic = nn.Linear(3, 1)
    given = {"training": Training(discount=0.9, lr=0.1), "every": 1, **options}
    return critic, Watch(**given)


@pytest.mark.parametrize("optimiser", DIVERGES)
def test_a_diverging_run_is_told_before_it_leaves_the_bound(optimiser):
    alarms, loop = [], Loop(optimiser, **DIVERGES[optimiser])
    watch = watch_of(loop, on_alarm=alarms.append)
    loop.train(LEFT[optimiser] + 40, watch)
    left = next(step for step, size in enumerate(loop.sizes) if not size <= loop.bound)
    assert abs(left - LEFT[optimiser]) < 15
    first = alarms[0]
    assert first.kind == LEAVING
    assert left - 100 <= first.step < left
    assert {NOT_FINITE, PAST} & {alarm.kind for alarm in alarms}
    assert watch.alarm.kind == alarms[-1].kind
    assert all(entry["bound"] == pytest.approx(loop.bound) for entry in watch.history)
    if optimiser == "SGD":  # gains e-fold in a few steps: no line covers that
        return
    forecasts = [entry for entry in watch.history if "leaves_at" in entry and entry["step"] > left - 60]
    assert forecasts
    for entry in forecasts:
        assert (entry["leaves_at"] - entry["step"]) / (left - entry["step"]) == pytest.approx(1, abs=0.4)


@pytest.mark.parametrize("optimiser", HEALTHY)
def test_a_healthy_run_with_seem_above_zero_gets_no_alarm(optimiser):
    loop = Loop(optimiser, **HEALTHY[optimiser])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch = watch_of(loop)
        loop.train(160, watch)
    assert watch.alarm is None
    assert not watch.stop
    assert len(watch.history) == 8
    assert sum(entry.get("excited") == 1 for entry in watch.history) >= 4
    assert all(entry[flag(kind)] == 0 for entry in watch.history for kind in KINDS)


@pytest.mark.parametrize("optimiser", DIVERGES)
def test_no_bit_of_the_training_changes(optimiser):
    steps = LEFT[optimiser] + 12
    plain = Loop(optimiser, **DIVERGES[optimiser]).train(steps)
    watched = Loop(optimiser, **DIVERGES[optimiser])
    alarms: list = []
    watched.train(steps, watch_of(watched, every=7, on_alarm=alarms.append))
    assert alarms
    assert same(plain.bits(), watched.bits())
    np.testing.assert_array_equal(plain.sizes, watched.sizes)


def test_after_the_overflow_training_goes_on():
    loop = Loop("SGD", **DIVERGES["SGD"])
    watch = watch_of(loop, on_alarm="stop", every=10)
    for step in range(180):
        if watch.due(step):
            watch.read(loop.critics, loop.rows, step, policy=loop.policy)
        loop.step()
    assert not all(parameter.isfinite().all() for parameter in loop.critics[0].parameters())
    assert watch.alarm.kind == NOT_FINITE
    assert watch.history[-1][flag(NOT_FINITE)] == 1
    assert watch.history[-1]["step"] == 170
    assert watch.stop


@pytest.mark.parametrize("optimiser", DIVERGES)
@pytest.mark.parametrize("size", [1e3, 1e6, 1e9, 1e12, 1e13, 1e18, 1e25, 1e38])
def test_a_critic_of_any_size_is_read_without_an_error(size, optimiser):
    """Up to where values, kernel, squares of rewards and the optimiser's own memory overflow."""
    loop = Loop(optimiser, **DIVERGES[optimiser], width=8)
    watch = watch_of(loop, on_alarm="stop", every=2)
    with torch.no_grad():
        for parameter in loop.critics[1].parameters():
            parameter *= size
    for step in range(7):
        if watch.due(step):
            watch.read(loop.critics, loop.rows, step, policy=loop.policy)
        loop.step()
    assert watch.alarm.kind in (NOT_FINITE, PAST)
    assert len(watch.history) == 4


@pytest.mark.parametrize("place", ["seem.watch.look_ahead", "seem.bounded.enclose"])
@pytest.mark.parametrize("error", [np.linalg.LinAlgError("no"), torch.linalg.LinAlgError("no"), OverflowError("no")])
def test_an_eigenvalue_routine_that_gives_up_stops_no_training(monkeypatch, place, error):
    def give_up(*arguments, **options):
        raise error

    loop = Loop(width=8)
    watch = watch_of(loop, every=2)
    loop.train(2, watch)
    monkeypatch.setattr(place, give_up)
    with pytest.warns(UserWarning, match="could not read at step 2 and training goes on"):
        watch.read(loop.critics, loop.rows, 2, policy=loop.policy)
    assert watch.alarm is None


@pytest.mark.parametrize("what", ["critic", "policy", "targets", "next actions"])
def test_whatever_network_is_not_finite_gives_an_alarm_and_no_error(what):
    critic, policy, target = nn.Linear(3, 1), nn.Linear(2, 1), nn.Linear(3, 1)
    broken = {"critic": critic, "policy": policy, "targets": target}.get(what)
    rows = {name: value for name, value in ROWS.items() if name != "next_actions"}
    options = {"policy": policy, "target_critics": target}
    if broken is not None:
        with torch.no_grad():
            broken.bias.fill_(math.nan)
    else:  # of one row alone, which is no other's fault
        options = {"next_actions": torch.tensor([[0.0], [math.nan], [0.0], [0.0]]), "target_critics": target}
    _, watch = simple(on_alarm="stop")
    entry = watch.read(critic, rows, 0, **options)
    assert watch.alarm.kind == NOT_FINITE
    assert "not finite" in watch.alarm.text
    assert entry[flag(NOT_FINITE)] == 1
    assert watch.stop


def test_nan_in_the_data_is_bad_data():
    critic, watch = simple()
    with pytest.raises(InputError, match=r"observations\[0, 1\] is nan"):
        watch.read(critic, ROWS | {"observations": torch.tensor([[1.0, math.nan], *[[1.0, 1.0]] * 3])}, 0)


def test_later_bad_input_is_a_warning_and_training_goes_on():
    critic, watch = simple()
    watch.read(critic, ROWS, 0)
    with pytest.warns(UserWarning, match=r"could not read at step 1 .* rewards\[0\] is nan"):
        entry = watch.read(critic, ROWS | {"rewards": torch.full((4,), math.nan)}, 1)
    assert {"step", "seconds"} <= entry.keys()
    assert "mean_abs_q" not in entry
    assert watch.alarm is None
    assert watch.read(critic, ROWS, 2)["mean_abs_q"] > 0


def test_an_entry_is_plain_numbers():
    loop = Loop()
    watch = watch_of(loop)
    loop.train(41, watch)
    assert [entry["step"] for entry in watch.history] == [0, 20, 40]
    entry = watch.history[-1]
    assert {type(value) for value in entry.values()} == {float}
    assert all("/" not in name for name in entry)
    # The same step, as it stood: from a loop of the same seed.
    other = Loop().train(40)
    whole = read(other.critics, other.rows, policy=other.policy, training=other.training, step=40)
    for name in ("mean_abs_q", "max_abs_q", "td_norm"):
        assert entry[name] == pytest.approx(getattr(whole, name), rel=1e-9), name
    assert entry["share_of_bound"] == entry["mean_abs_q"] / loop.bound
    assert "rate" not in entry  # under Adam a step is none of plain gradient descent
    held = entry.get("seem", entry.get("seem_low"))
    assert held <= whole.leading * (1 + 1e-9)


def test_the_dear_gate_is_read_only_where_the_drift_leads_out_soon():
    loop = Loop(**DIVERGES["Adam"])
    watch = watch_of(loop, on_alarm="stop")
    loop.train(300, watch)
    assert watch.alarm.kind == LEAVING
    *early, last = watch.history
    assert last["crossing"] <= watch.horizon
    assert "preconditioned" in last
    assert last["excited"] == float(last["preconditioned"] > 0)
    assert not any("preconditioned" in entry for entry in early)
    assert loop.sizes[-1] < loop.bound


def test_the_optimisers_gate_decides(monkeypatch):
    """The same run with a gate that says no: no alarm before the bound is passed."""
    monkeypatch.setattr("seem.under_optimiser.UnderOptimiser.excited", False)
    loop, alarms = Loop(**DIVERGES["Adam"]), []
    loop.train(LEFT["Adam"] + 30, watch_of(loop, on_alarm=alarms.append))
    assert [alarm.kind for alarm in alarms] == [PAST]


def test_where_the_step_cannot_be_linearised_seem_is_the_gate():
    loop = Loop(**DIVERGES["Adam"])
    training = Training(discount=DISCOUNT, optimizer=loop.optimiser, target_interval=2)  # and no target critics
    watch = watch_of(loop, training=training, on_alarm="stop")
    with pytest.warns(UserWarning, match="the gate is the sign of SEEM.*pass target_critics"):
        loop.train(300, watch)
    assert watch.alarm.kind == LEAVING
    assert "preconditioned" not in watch.history[-1]


def said(signal):
    return Leaving(5, 100.0, 10.0, signal, 30.0)


def test_three_alarms_and_what_is_none():
    critic, _ = simple()
    reading = read(critic, ROWS, training=Training(discount=0.9, lr=0.1), step=5)
    size = reading.mean_abs_q
    assert kind_of_alarm(reading, said(math.inf), bound=2 * size, horizon=100) is None
    assert kind_of_alarm(reading, None, bound=None, horizon=100) is None
    assert kind_of_alarm(reading, said(100.0), bound=2 * size, horizon=100) == LEAVING
    assert kind_of_alarm(reading, said(100.1), bound=2 * size, horizon=100) is None
    assert kind_of_alarm(reading, said(1.0), bound=size / 2, horizon=100) == PAST
    assert kind_of_alarm(reading, None, bound=size, horizon=100) is None
    assert kind_of_alarm(None, None, bound=size, horizon=100) == NOT_FINITE
    huge = ROWS | {"targets": torch.full((4,), 1e200, dtype=torch.float64)}  # of a target network that has blown up
    reading = read(critic, huge, training=Training(discount=0.9, lr=0.1), step=5)
    assert reading.mean_abs_q == size
    assert kind_of_alarm(reading, None, bound=2 * size, horizon=100) == NOT_FINITE


def test_warn_raise_stop_and_a_function_are_told_once_while_an_alarm_lasts():
    critic, watch = simple(bound=1e-6)
    with pytest.warns(AlarmWarning, match="past the 1e-06 that any policy can earn.*LayerNorm.*LN-ANYWHERE"):
        watch.read(critic, ROWS, 0)
    for step in (1, 2):  # a second warning would be an error here
        watch.read(critic, ROWS, step)
    assert not watch.stop
    assert watch.alarm.step == 2
    _, watch = simple(bound=1e-6, on_alarm="raise")
    with pytest.raises(AlarmError, match="past the") as raised:
        watch.read(critic, ROWS, 0)
    assert raised.value.alarm is watch.alarm
    assert len(watch.history) == 1
    _, watch = simple(bound=1e-6, on_alarm="stop")
    watch.read(critic, ROWS, 0)
    assert watch.stop
    heard: list = []
    _, watch = simple(on_alarm=heard.append)
    for step, bound in enumerate([1e-6, 1e-6, 1e6, 1e-6]):
        watch.read(critic, ROWS, step, bound=bound)
    assert [alarm.step for alarm in heard] == [0, 3]


def test_remedies_name_the_critical_discount_and_the_largest_stable_learning_rate():
    critic, rows = nn.Linear(1, 1, bias=False), {"x": torch.ones(1, 1), "x_next": 3 * torch.ones(1, 1)}
    rows |= {"td_error": torch.ones(1)}

    def text(discount, **training):
        watch = Watch(training=Training(discount=discount, **training), every=1, bound=1e-9, on_alarm="stop")
        watch.read(critic, rows, 0)
        return watch.alarm.text

    # A = 3γ - 1: critical at 1/3; at γ = .2 stable up to η = 2/.4, which is lr 2.5.
    assert "discount below 0.3333" in text(0.9, lr=0.5)
    assert "mode that excites itself grows at any" in text(0.9, lr=0.5)
    assert "learning rate to at most 2.5," in text(0.2, lr=3.0)
    assert "at most" not in text(0.2, lr=2.0)
    assert "critical" not in text(0.2, lr=3.0)


def test_critics_with_a_normalisation_are_told_about_paths():
    norm = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    _, watch = simple(bound=1e-6, on_alarm="stop")
    watch.read(norm, ROWS, 0)
    assert "every path" in watch.alarm.remedies[0]
    assert "LN-BRANCHES" in watch.alarm.remedies[0]


def test_a_record_of_calibration_gives_an_interval():
    record = Calibration({"Adam, copied targets, accelerated": Kind(tuple((0.8, 1.0, 1.2) for _ in range(40)))})
    loop = Loop(**DIVERGES["Adam"])
    watch = watch_of(loop, on_alarm="stop", calibration=record)
    loop.train(300, watch)
    last = watch.history[-1]
    assert last["step"] < last["earliest"] < last["leaves_at"] < last["latest"]
    assert f"(between {last['earliest']:.0f} and {last['latest']:.0f})" in watch.alarm.text


def test_the_bound_is_kept_from_the_rewards_seen():
    critic, watch = simple()
    for step, size in enumerate((1.0, 3.0, 2.0)):
        entry = watch.read(critic, ROWS | {"rewards": size * ROWS["rewards"]}, step)
        assert entry["bound"] == pytest.approx(max(2.0, 2.0 * (3 if step else 1)) / 0.1)
    assert simple(bound=7)[1].read(critic, ROWS, 0)["bound"] == 7


def test_the_bound_is_of_all_rows_given_and_not_only_of_those_read():
    generator = torch.Generator().manual_seed(0)
    rows = {name: torch.rand(999, *part.shape[1:], generator=generator) for name, part in ROWS.items()}
    rows["rewards"][3] = 50.0
    critic, watch = simple(rows=10)
    entry = watch.read(critic, rows, 0)
    assert entry["rows"] == 10
    assert entry["bound"] == pytest.approx(500)
    chosen = np.linspace(0, 998, 10).round()
    with torch.no_grad():
        x = torch.cat((rows["observations"], rows["actions"]), 1)[chosen]
        assert entry["mean_abs_q"] == pytest.approx(critic(x).abs().mean().item(), rel=1e-6)


def test_n_step_discounts_bound_by_row():
    critic, watch = simple()
    discounts = torch.tensor([0.9, 0.5, 0.9, 0.9])
    entry = watch.read(critic, ROWS | {"discounts": discounts}, 0)
    assert entry["bound"] == pytest.approx(value_bound(ROWS["rewards"], discounts)) == pytest.approx(10)


def test_rewards_that_are_all_zero_say_once_that_nothing_bounds_q():
    critic, watch = simple()
    nothing = ROWS | {"rewards": torch.zeros(4)}
    with pytest.warns(UserWarning, match="all rewards so far are 0"):
        assert "bound" not in watch.read(critic, nothing, 0)
    for step in (1, 2):  # a second warning would be an error here
        watch.read(critic, nothing, step)
    assert "bound" in watch.read(critic, ROWS, 3)


@pytest.mark.parametrize(
    "form",
    [
        lambda r: (r["observations"], r["actions"], r["rewards"], r["next_observations"], torch.zeros(4, 1)),
        lambda r: {name: part.numpy() for name, part in r.items()},
        lambda r: type("Rows", (), r)(),
    ],
    ids=["tuple", "arrays", "object"],
)  # fmt: skip
def test_batches_in_every_form(form):
    critic, watch = simple(rows=2)
    entry = watch.read(critic, form(ROWS), 0, next_actions=torch.zeros(4, 1))
    assert entry == watch.history[0]
    assert (entry["rows"], entry["bound"]) == (2, pytest.approx(20))


def test_arrays_of_another_framework_are_read_without_a_look_ahead():
    _, watch = simple(dense_share=1.0)
    with pytest.raises(InputError, match="pass bound"):
        watch.read(None, {"gram": np.eye(3), "gram_next": 2 * np.eye(3)}, 0)
    entry = watch.read(None, {"gram": np.eye(3), "gram_next": 2 * np.eye(3)}, 0, bound=5)
    assert entry["rows"] == 3
    assert entry["seem"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_alarm": "shout"}, 'on_alarm .shout. is unknown: pass "warn"'),
        ({"every": 0}, "every 0 is impossible"),
        ({"every": -3}, "every -3 is impossible"),
        ({"every": 5, "share": 0.1}, "both given"),
        ({"every": None, "share": 0.0}, "share 0.0 is impossible"),
        ({"every": None, "share": 1.1}, "share 1.1 is impossible"),
        ({"dense_share": -1}, "dense_share -1 is impossible"),
        ({"rows": 0}, "rows 0 is impossible"),
        ({"bound": 0}, "bound 0 is impossible"),
        ({"bound": math.inf}, "bound inf is impossible"),
        ({"horizon": 0}, "horizon 0 is impossible"),
        ({"training": Training(discount=1.0, lr=0.1)}, "bounds no value: pass bound"),
    ],
)
def test_what_is_impossible_is_refused_in_one_sentence(options, message):
    with pytest.raises(InputError, match=message):
        simple(**options)


def test_at_the_first_reading_what_does_not_fit_is_refused():
    critic, _ = simple()
    stranger = torch.optim.Adam(nn.Linear(3, 1).parameters())
    mistakes = [
        (Training(discount=0.9, optimizer=stranger), ROWS, "trains none of the critic's parameters"),
        (Training(discount=0.9, lr=0.1), {n: v for n, v in ROWS.items() if n != "rewards"}, "pass bound, or batches"),
        (Training(discount=0.9, lr=0.1), {n: v for n, v in ROWS.items() if n != "next_actions"}, "pass policy"),
        (Training(discount=torch.full((3,), 0.9), lr=0.1), ROWS, "3 numbers of discount, but 4 rows"),
        (Training(discount=0.9, lr=0.1), ROWS | {"actions": torch.ones(3, 1)}, "actions has shape"),
    ]
    for training, rows, message in mistakes:
        with pytest.raises(InputError, match=message):
            Watch(training=training, every=1).read(critic, rows, 0)


def test_steps_that_run_backwards_are_another_training():
    critic, watch = simple(every=10)
    watch.read(critic, ROWS, 40)
    for ask in (watch.due, lambda step: watch.read(critic, ROWS, step)):
        with pytest.raises(InputError, match="make a new watch"):
            ask(30)


def test_readings_come_every_so_many_steps_also_where_steps_are_skipped():
    critic, watch = simple(every=10)
    read_at = [step for step in range(3, 60, 4) if watch.due(step) and watch.read(critic, ROWS, step)]
    assert read_at == [3, 11, 23, 31, 43, 51]


def test_the_parameters_are_copied_before_a_reading():
    critic, watch = simple(every=100)
    for step in range(301):
        if watch.due(step):
            watch.read(critic, ROWS, step)
    assert [step for step, _ in watch._trail.notes] == [280, 290, 300]


def test_at_a_share_of_the_time_readings_are_as_often_as_the_dearest_fits():
    clock = Clock()
    critic, watch = simple(every=None, share=0.1, clock=clock, dense_share=0.0)
    spent, read_at = 0.0, []
    for step in range(1500):
        if watch.due(step):
            spent += watch.read(critic, ROWS, step)["seconds"]
            read_at.append(step)
            copies = [at for at, _ in watch._trail.notes]
            # The first reading comes before anything is known of its cost.
            assert len(read_at) == 1 or spent <= 0.1 * clock.now
        clock.now += 1.0
    # A reading waits two windows from where it fits.
    assert spent > 0.03 * clock.now
    assert copies == [read_at[-1] - 20, read_at[-1] - 10, read_at[-1]]


def test_the_share_is_kept_where_readings_are_dear():
    clock = Clock()
    schedule, spent = Schedule(None, 0.1, clock), 0.0
    for step in range(6000):
        if schedule.due(step):
            clock.now += 50.0
            schedule.done(step, 50.0)
            spent += 50.0
            assert step == 0 or spent <= 0.1 * clock.now
        clock.now += 1.0
    assert spent > 0.08 * clock.now


def test_other_critics_begin_another_trail():
    critic, watch = simple(every=2)
    watch.read(critic, ROWS, 0)
    other = nn.Linear(3, 1)
    watch.read(other, ROWS, 2)
    watch.read(other, ROWS, 4)
    assert [step for step, _ in watch._trail.notes] == [2, 4]
    assert watch.alarm is None
