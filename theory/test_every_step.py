"""What is demanded of every step of every module: it shows two forms, speaks of what it holds, and can fail.

A step that follows whatever its sides say proves nothing. So each side of each step is perturbed, in a coefficient, a
sign and an exponent, and the perturbed step must fail; a perturbation that leaves the side's value as it was (a
coefficient of zero, an exponent of one) is none.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from theory import notation, render
from theory.derivation import Step

STEPS = [
    pytest.param(module.__name__.rpartition(".")[2], step, id=f"{module.__name__.rpartition('.')[2]}-{step.name}")
    for module in render.modules()
    for derivation in module.DERIVATIONS
    for step in derivation.steps
]
VISIBLE = 1e-10
"""Change of a side's value that no rounding of 15 digits makes."""
POINTS = 3


def test_every_derivation_is_here():
    assert len(STEPS) > 300


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_the_page_shows_two_forms(module, step):
    if step.formula:
        sides = [side.strip() for side in step.formula.split("=")]
        assert len(set(sides)) == len(sides), f"{step.formula} repeats itself"
    else:
        left = sp.latex(step.left if step.shown is None else step.shown)
        assert left != sp.latex(step.right), f"{module}.{step.name} is drawn as {left} twice"


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_the_equation_holds_what_the_statement_names(module, step):
    assert notation.missing(step, module) == []


def entry(side) -> sp.Expr:
    """The entry that is perturbed: the one with the most operations."""
    return max(side, key=sp.count_ops) if isinstance(side, sp.MatrixBase) else side


def perturbed(side) -> Iterator[tuple[str, object]]:
    """A side with one coefficient, one sign and some exponents changed."""

    def rebuilt(changed: sp.Expr):
        if not isinstance(side, sp.MatrixBase):
            return changed
        index = list(side).index(old)
        return side.copy().as_mutable()._new(*side.shape, [*list(side)[:index], changed, *list(side)[index + 1 :]])

    old = entry(side)
    total = next((node for node in sp.preorder_traversal(old) if isinstance(node, sp.Add)), None)
    if total is None:
        yield "coefficient", rebuilt(2 * old if old != 0 else sp.Integer(1))
        yield "sign", rebuilt(-old)
    else:
        first, *others = total.args
        yield "coefficient", rebuilt(old.xreplace({total: sp.Add(2 * first, *others)}))
        yield "sign", rebuilt(old.xreplace({total: sp.Add(-first, *others)}))
    for power in sorted(old.atoms(sp.Pow), key=sp.default_sort_key)[:2]:
        yield "exponent", rebuilt(old.xreplace({power: sp.Pow(power.base, power.exp + 1)}))
    for symbol in sorted(old.free_symbols, key=lambda symbol: symbol.name)[:2]:
        yield "exponent", rebuilt(old.xreplace({symbol: symbol**2}))


def perturbations(step: Step) -> Iterator[tuple[str, Step]]:
    """The step with one side perturbed, once for each perturbation that changes the side's value.

    Raises:
        AssertionError: When a perturbed side still fits the others at a random point.
    """
    names = [name for name in ("left", "right", "witness") if getattr(step, name) is not None]
    found = [
        (place, kind, changed)
        for place, name in enumerate(names)
        for kind, changed in perturbed(getattr(step, name))
        if not sp.sympify(changed).has(sp.nan, sp.zoo, sp.oo)
    ]
    sides = [getattr(step, name) for name in names]
    symbols = sorted(set().union(*(side.free_symbols for side in sides)), key=lambda symbol: symbol.name)
    flat = [list(s) if isinstance(s, sp.MatrixBase) else [s] for s in (*sides, *(changed for *_, changed in found))]
    # All at once: they share nearly all of their terms.
    evaluate = sp.lambdify(symbols, flat, modules="mpmath", cse=True)
    rng = np.random.default_rng(1)
    values = [[np.array(side) for side in evaluate(*step._point(symbols, rng))] for _ in range(POINTS)]
    for number, (place, kind, changed) in enumerate(found):
        gaps = []
        for point in values:
            moved = [*point[: len(names)]]
            before, moved[place] = moved[place], point[len(names) + number]
            if max(abs(before - moved[place])) > VISIBLE:
                gaps.append(max(abs(moved[0] - sum(moved[1:]))))
        if gaps:
            assert max(gaps) > VISIBLE, f"{kind} of the {names[place]} side: {changed}"
            yield kind, replace(step, **{names[place]: changed})


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_a_perturbed_side_fails(module, step):
    mutants = list(perturbations(step))
    assert mutants, f"{module}.{step.name}: nothing can be perturbed"
    assert not mutants[0][1].follows(), f"{module}.{step.name}: {mutants[0][0]}"
