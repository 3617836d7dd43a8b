"""The machinery catches errors: mutated steps leave a residual, disagree numerically, and name themselves."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
import sympy as sp

from theory import homogeneity, td_iteration
from theory.derivation import Derivation, DerivationError, Step, assert_derivation, assert_step

A, B = sp.symbols("a b", positive=True)
T = sp.Symbol("t", real=True)
FIRST_ORDER = td_iteration.DERIVATIONS[0]["first-order"]
VALUE = homogeneity.DERIVATIONS[1]["value-2"]
C = homogeneity.C


def seem_matrix(*, mask=True, transpose=False, sign=-1):
    critic, weights = td_iteration.smooth_critic, td_iteration.SMOOTH_WEIGHTS
    following = td_iteration.gram(critic, weights, td_iteration.X_NEXT, td_iteration.X)
    following = following.T if transpose else following
    left = td_iteration.mask() if mask else sp.eye(2)
    return td_iteration.GAMMA * left * following + sign * td_iteration.gram(
        critic, weights, td_iteration.X, td_iteration.X
    )


MUTANTS = {
    "wrong exponent": replace(VALUE, right=VALUE.right * C),
    "wrong sign": replace(FIRST_ORDER, right=seem_matrix(sign=1) * td_iteration.ERROR),
    "transposed Gram block": replace(FIRST_ORDER, right=seem_matrix(transpose=True) * td_iteration.ERROR),
    "dropped mask": replace(FIRST_ORDER, right=seem_matrix(mask=False) * td_iteration.ERROR),
    "missing factor 2": Step("double", "", (), sp.Integer(2) * A, A),
    "tiny term": Step("tiny", "", (), A + sp.Rational(1, 10**30) * B, A),
}


def test_the_unmutated_steps_pass():
    same = replace(FIRST_ORDER, right=seem_matrix() * td_iteration.ERROR)
    for step in (VALUE, FIRST_ORDER, same):
        assert_step(step)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_leave_a_residual_and_disagree_numerically(mutant):
    assert any(entry != 0 for entry in sp.Matrix([mutant.residual()]))
    assert not mutant.follows()
    assert not mutant.agrees_numerically(np.random.default_rng(0))
    with pytest.raises(DerivationError, match="residual is not zero"):
        assert_step(mutant)


@pytest.mark.parametrize(
    "side",
    [
        sp.Limit(sp.sin(T) / T, T, 0),
        sp.Integral(sp.exp(-(T**2)), T),
        sp.Derivative(sp.sin(T), T),
        sp.Sum(1 / A, (A, 1, 5)),
        sp.rootof(T**5 - T - 1, 0),
        sp.Float(0.5) * A,
        sp.Function("f")(A),
        sp.oo,
        sp.Matrix([sp.Integral(A, (A, 0, B))]),
    ],
    ids=["limit", "integral", "derivative", "sum", "root-of", "float", "function", "infinity", "matrix-entry"],
)
def test_what_nothing_can_check_is_rejected(side):
    with pytest.raises(DerivationError):
        Step("bad", "", (), side, side)


def test_shown_forms_are_evaluated_and_must_agree():
    shown = sp.Derivative(sp.sin(T), T)
    right = Step("derivative", "", (), sp.cos(T), sp.cos(T), shown=shown)
    assert_step(right)
    assert "frac{d}{d t}" in right.latex()
    wrong = Step("derivative", "", (), sp.sin(T), sp.sin(T), shown=shown)
    with pytest.raises(DerivationError, match="residual"):
        assert_step(wrong)


def test_inequalities_need_a_witness_of_manifest_sign():
    mean = Step("mean", "", (), A**2 + B**2, 2 * A * B, relation=">=", witness=(A - B) ** 2)
    assert_step(mean)
    with pytest.raises(DerivationError, match="needs a witness"):
        replace(mean, witness=None)
    with pytest.raises(DerivationError, match="not zero"):
        assert_step(replace(mean, witness=(A + B) ** 2))
    unclear = Step("unclear", "", (), A, B, relation=">=", witness=A - B)
    with pytest.raises(DerivationError, match="not manifest"):
        assert_step(unclear)
    with pytest.raises(DerivationError, match="not manifest"):
        assert_step(replace(mean, relation=">"))


def test_random_points_follow_assumptions_ranges_and_conditions():
    n = sp.Symbol("n", integer=True, positive=True)
    step = Step("root", "", (), sp.sqrt((A - n) ** 2), A - n, ranges={A: (5, 9), n: (1, 4)}, where=(n + 2 < A,))
    assert step.agrees_numerically(np.random.default_rng(0), points=20)
    assert not replace(step, ranges={A: (0, 1)}, where=()).agrees_numerically(np.random.default_rng(0))
    with pytest.raises(DerivationError, match="narrower ranges"):
        replace(step, where=(A > 100,)).check_numerically(np.random.default_rng(0))


def test_the_numeric_check_does_not_trust_the_simplifier():
    """sqrt(a²) = a holds for positive a only; numbers see it where a symbol's assumption would hide it."""
    step = Step("positive", "", (), sp.sqrt((A - 2) ** 2), sp.Abs(A - 2))
    assert step.agrees_numerically(np.random.default_rng(0))
    assert not replace(step, right=A - 2).agrees_numerically(np.random.default_rng(0))


def test_derivations_name_their_grade_and_keep_their_names_apart():
    step = Step("same", "", (), A, A)
    with pytest.raises(DerivationError, match="no grade"):
        Derivation("title", "folklore", (step,))
    with pytest.raises(DerivationError, match="share a name"):
        Derivation("title", "derived", (step, step))
    derivation = Derivation("title", "derived", (step, replace(step, name="other")))
    assert_derivation(derivation)
    assert derivation["other"].left == A
    with pytest.raises(KeyError):
        derivation["absent"]
    assert derivation.latex().count(r"\tag") == 2


def test_sides_of_different_shape_are_rejected():
    with pytest.raises(DerivationError, match="shape"):
        Step("shape", "", (), sp.eye(2), sp.Matrix([1, 2]))


def test_a_short_formula_replaces_long_entries_on_the_page():
    step = Step("long", "", (), A, A, formula=r"x = x")
    assert step.latex() == "x = x"
    assert all(len(step.latex()) < 500 for step in td_iteration.DERIVATIONS[0].steps)


def test_one_wrong_entry_of_a_matrix_is_enough():
    for right in (sp.Matrix([A, 2 * B]), sp.Matrix([2 * A, B])):
        wrong = Step("entries", "", (), sp.Matrix([A, B]), right)
        assert not wrong.follows()
        with pytest.raises(DerivationError, match="residual is not zero"):
            assert_step(wrong)


def test_a_step_that_the_simplifier_lets_pass_fails_by_its_numbers(monkeypatch):
    monkeypatch.setattr("theory.derivation._is_zero", lambda value: True)
    assert_step(Step("right", "", (), A, A))
    with pytest.raises(DerivationError, match="differ by"):
        assert_step(Step("wrong", "", (), A, 2 * A))


def test_a_step_without_a_number_at_its_points_fails(monkeypatch):
    monkeypatch.setattr(Step, "check_numerically", lambda *_: mpmath.nan)
    with pytest.raises(DerivationError, match="differ by"):
        assert_step(Step("right", "", (), A, A))


def test_an_inequality_that_fails_in_numbers_fails():
    """Left - right = witness holds as an identity, and left is the smaller one."""
    turned = Step("turned", "", (), A, A + B, relation=">=", witness=-B)
    assert turned.residual() == 0
    assert not turned.agrees_numerically(np.random.default_rng(0))
