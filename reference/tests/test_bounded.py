"""The leading eigenvalue at a bounded share of the time, against all eigenvalues."""

import numpy as np
import pytest
import torch

import seem.bounded
from seem.bounded import BoundedSolver
from seem.dynamics import Training
from seem.enclosure import Enclosure
from seem.errors import InputError
from seem.forecasting import forecast
from seem.leading import from_all_eigenvalues
from seem.leaving import leaving
from seem.lookahead import LookAhead
from seem.networks import Critic, MLPConfig
from seem.reading import read
from seem.reading_result import UNCERTIFIED

ROWS = 80


class Clock:
    """Seconds that pass only when told, and one at every look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def case(scale=1.0, rows=ROWS, seed=0, critics=1):
    """Critics with their rows; a scale above 1 lengthens X* and makes them diverge."""
    generator = torch.Generator().manual_seed(seed)
    made = [Critic(3, 2, MLPConfig(width=16), generator=generator, dtype=torch.float64) for _ in range(critics)]
    x = torch.rand(rows, 5, generator=generator, dtype=torch.float64)
    batch = {"x": x, "x_next": scale * torch.rand(rows, 5, generator=generator, dtype=torch.float64)}
    batch["rewards"] = torch.randn(rows, generator=generator, dtype=torch.float64)
    batch["terminals"] = (torch.rand(rows, generator=generator, dtype=torch.float64) < 0.2).double()
    return made, batch


def reading_of(case, solver=None, **training):
    critics, batch = case
    return read(critics, batch, training=Training(**{"discount": 0.9, "lr": 1e-3, **training}), step=7, solver=solver)


@pytest.mark.parametrize("critics", [1, 2])
@pytest.mark.parametrize(("scale", "method"), [(30.0, "iterative"), (0.5, "dense")])
def test_a_bounded_reading_agrees_with_a_whole_one(scale, method, critics):
    drawn = case(scale, critics=critics)
    bounded, whole = reading_of(drawn, BoundedSolver(dense_share=1.0)), reading_of(drawn)
    assert bounded.certificate.method == method
    for name in ("leading", "normalised", "rate", "rayleigh", "growth", "td_norm", "excitation_gain"):
        assert getattr(bounded, name) == pytest.approx(getattr(whole, name), rel=1e-9), name
    assert bounded.excited == whole.excited
    assert bounded.bounds.low == bounded.bounds.high == bounded.leading
    if critics == 2:
        assert bounded.own is None
        assert "cost is bounded" in bounded.why("own")
        assert len(whole.own) == 2


def test_all_eigenvalues_are_computed_within_the_share_only():
    drawn, clock = case(0.5), Clock()
    solver, dense = BoundedSolver(dense_share=0.1, clock=clock), 0
    matrix = reading_of(drawn).parts.matrix.numpy()[:16, :16]
    for _ in range(400):
        dense += solver(matrix, False) is not None and solver.dense_seconds > dense
        clock.now += 2.0
        assert solver.dense_seconds <= 0.1 * clock.now
    # Each costs one second of this clock; the first is expected to cost 64.
    assert solver.dense_seconds > 0.08 * clock.now
    assert dense == solver.dense_seconds


def test_a_share_of_zero_never_computes_all_and_says_what_is_missing():
    reading = reading_of(case(0.5), BoundedSolver(dense_share=0.0))
    for name in ("leading", "leading_imaginary", "own", "certificate", "normalised", "rate", "excitation_gain"):
        assert getattr(reading, name) is None, name
        assert reading.why(name) == UNCERTIFIED, name
    assert not reading.overflowed
    assert reading.growth > 0


def test_what_was_not_certified_has_not_overflowed():
    reading = reading_of(case(30.0), lambda matrix, growing: Enclosure(-1.0, 1.0, None))
    assert "overflowed" not in forecast([reading], step=7, depth=3, dtype="float64").reason
    ahead = LookAhead(7, 1e9, reading.mean_abs_q, 50.0, 40.0, 0.01, 10, 1000.0, "a test")
    said = forecast([reading], step=7, ahead=ahead).leaving
    assert said == leaving([reading], step=7, ahead=ahead)
    assert (said.signal, said.leaves_at) == (50.0, 47.0)


def test_bounds_that_say_not_excited_close_the_gate():
    reading = reading_of(case(30.0), lambda matrix, growing: Enclosure(-2.0, -1.0, None))
    ahead = LookAhead(7, 1e9, reading.mean_abs_q, 50.0, 40.0, 0.01, 10, 1000.0, "a test")
    assert reading.excited is False
    assert leaving([reading], step=7, ahead=ahead).signal == np.inf


def test_attempts_in_vain_become_rarer_and_return_when_u_grows(monkeypatch):
    tried = []
    undetermined = Enclosure(-1.0, 1.0, None)
    monkeypatch.setattr(seem.bounded, "enclose", lambda matrix, **_: tried.append(len(matrix)) or undetermined)
    solver, matrix, made = BoundedSolver(dense_share=0.0), np.zeros((2, 2)), []
    for growing in [False] * 30 + [True, True]:
        before = len(tried)
        bounds = solver(matrix, growing)
        made.append(len(tried) > before)
        assert bounds == (undetermined if made[-1] else None)
    # One reading passes, then three, then always seven; none while u grows.
    assert [step for step, attempted in enumerate(made) if attempted] == [0, 2, 6, 14, 22, 30, 31]


def test_a_certificate_ends_the_pause(monkeypatch):
    solver, found = BoundedSolver(dense_share=0.0), from_all_eigenvalues(np.eye(2))
    answers = iter([Enclosure(-1.0, 1.0, None), Enclosure(1.0, 1.0, found), Enclosure(1.0, 1.0, found)])
    monkeypatch.setattr(seem.bounded, "enclose", lambda matrix, **_: next(answers))
    seen = [solver(np.eye(2), False) for _ in range(4)]
    assert [bounds and bounds.leading for bounds in seen] == [None, None, found, found]


@pytest.mark.parametrize("growing", [True, False])
@pytest.mark.parametrize("optimiser", [None, torch.optim.Adam])
def test_a_reading_tells_its_solver_whether_u_grows(growing, optimiser):
    """Under Adam, where growth is not known, by the sign of uᵀAu."""
    critics, batch = case(30.0 if growing else 0.0)
    told = []
    training = {} if optimiser is None else {"lr": None, "optimizer": optimiser(critics[0].parameters())}
    reading_of((critics, batch), lambda matrix, grows: told.append(grows), **training)
    assert told == [growing]


def test_a_start_of_another_size_is_forgotten():
    solver = BoundedSolver()
    for rows in (ROWS, ROWS + 10):
        assert reading_of(case(30.0, rows), solver).certificate.method == "iterative"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(InputError, match="dense_share"):
        BoundedSolver(dense_share=share)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.5, 1.0, 30.0])
def test_bounds_hold_the_leading_eigenvalue(seed, scale):
    drawn = case(scale, seed=seed)
    bounds, whole = reading_of(drawn, BoundedSolver(dense_share=0.0)).bounds, reading_of(drawn)
    slack = 1e-9 * whole.parts.matrix.norm().item()
    assert bounds.low - slack <= whole.leading <= bounds.high + slack
    assert bounds.excited in (None, whole.leading > 0)


@pytest.mark.parametrize("size", [1e200, np.inf])
def test_an_error_without_a_finite_norm_is_an_overflow(size):
    critics, batch = case()
    batch = {name: batch[name] for name in ("x", "x_next")} | {
        "td_error": torch.full((ROWS,), size, dtype=torch.float64)
    }
    reading = reading_of((critics, batch), BoundedSolver())
    assert reading.overflowed
    assert reading.bounds is None
