"""Steps whose equation once did not hold what the statement says: changing the statement's content now fails."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from theory import decay_laws, discrete_time, ema_targets, homogeneity, self_excitation, self_similar_ray, twin_min
from theory import sgd_growth as sgd
from theory.derivation import DerivationError, Step, assert_step
from theory.notation import missing, named

_, SCHEDULE = decay_laws.DERIVATIONS
MODES, _, _ = ema_targets.DERIVATIONS
(RECURSION, _, _), (_, REDUCED, _) = discrete_time.DERIVATIONS, twin_min.DERIVATIONS
(EIGEN,), (GENERAL, _, _) = self_similar_ray.DERIVATIONS, homogeneity.DERIVATIONS
LATEST, KERNEL = sgd.DERIVATIONS[2], self_excitation.DERIVATIONS[2]
GAMMA, C, D = self_similar_ray.GAMMA, self_similar_ray.C, self_similar_ray.TERMINAL[0]


def changed(step: Step, **content) -> Step:
    """A step whose right side says something else: symbols replaced in it."""
    return replace(step, right=step.right.subs({sp.sympify(old): new for old, new in content.pop("of").items()}))


def other_critic(step: Step) -> Step:
    """The second critic held by the first one's kernel."""
    first, second = twin_min.PHI
    return replace(step, right=step.right.subs(dict(zip(second, first, strict=True)), simultaneous=True))


CHANGED = {
    "E of another energy": changed(LATEST["ascent"], of={C: 2 * C}),
    "u without the discount": changed(LATEST["ascent"], of={GAMMA: 1}),
    "a step size that does not fall": changed(SCHEDULE["law"], of={decay_laws.SLOWING: 0}),
    "another crash": replace(SCHEDULE["law-crash"], right=sp.Integer(1)),
    "a target that is not copied": changed(MODES["discrete-copied"], of={ema_targets.TAU: 1}),
    "A of undiscounted rows": changed(KERNEL["rayleigh"], of={self_excitation.GAMMA: 1}),
    "A without the row at X*": changed(KERNEL["rayleigh"], of=dict.fromkeys(self_excitation.PHI_NEXT, 0)),
    "two rows that do not excite each other": changed(KERNEL["equal-norms-two-rows"], of={sp.sqrt(5): -sp.sqrt(5)}),
    "Euler without the terminal": changed(EIGEN["euler-difference"], of={D: 0}),
    "Euler of another depth": replace(EIGEN["euler-difference-3"], right=EIGEN["euler-difference-3"].right * 2 / 3),
    "half the crash step": replace(RECURSION["continuous"], left=RECURSION["continuous"].left * 2),
    "δ without its recursion": changed(GENERAL["layer-gradient"], of={homogeneity.DEPTH: homogeneity.DEPTH + 1}),
    "a kernel of degree L": changed(GENERAL["kernel"], of={homogeneity.DEPTH: homogeneity.DEPTH / 2 + 1}),
    "a forward pass that forgets c": changed(GENERAL["forward"], of={homogeneity.LAYER: homogeneity.LAYER - 1}),
    "a backward pass that forgets c": changed(GENERAL["backward"], of={homogeneity.LAYER: homogeneity.LAYER + 1}),
    "a second critic with the first kernel": other_critic(REDUCED["one-critic"]),
}


@pytest.mark.parametrize("mutant", CHANGED.values(), ids=CHANGED)
def test_a_changed_statement_fails(mutant):
    assert not mutant.agrees_numerically(np.random.default_rng(0))
    with pytest.raises(DerivationError, match="residual"):
        assert_step(mutant)


def test_a_shown_form_of_other_content_fails():
    step = RECURSION["continuous"]
    slower = sp.Limit(step.shown.args[0] * 2, *step.shown.args[1:])
    with pytest.raises(DerivationError, match="residual"):
        assert_step(replace(step, shown=slower))


def test_symbols_that_an_equation_lacks_are_named():
    law, copied = SCHEDULE["law"], MODES["discrete-copied"]
    assert missing(law, "decay_laws") == []
    bare = replace(law, left=sgd.crash_in(sgd.RATE), right=sgd.crash_in(sgd.RATE), assumptions=(), ranges={})
    assert "T" in missing(bare, "decay_laws")
    assert missing(replace(bare, statement="The step size η_t falls with α."), "decay_laws") == ["α", "η"]
    without = replace(copied, left=copied.left.subs(ema_targets.TAU, 1), right=copied.right.subs(ema_targets.TAU, 1))
    assert missing(replace(without, statement="u moves with (1-τ)ηG*u."), "ema_targets") == ["τ"]


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("A factor c > 0 moves no gate.", "c"),
        ("‖θ‖ grows as a^L, not as a line does.", "θaL"),
        ("At L = 2 the rate is e^{ηλ}, Euler's O(η) in dQ/dt.", "Lηλ"),
        ("With W_l and x_i the value is A·u.", "WxAu"),
    ],
)
def test_words_are_no_symbols(statement, names):
    assert named(statement) == set(names)
