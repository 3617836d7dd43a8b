r"""Degrees of a LayerNorm critic: which parameters scale its output, and what ε breaks.

With ε = 0 LayerNorm forgets the scale of its input, so weights before it have degree 0; what is left is the
last affine (gain and shift, degree 1) and the head (degree 1): degree 2 together, 1 without affine.

Source: derived. That weights before a normalisation have degree 0, and so an effective learning rate, is
Lyle et al. 2024 (2407.01800).
"""

import sympy as sp

from theory.derivation import Derivation, Step

C = sp.Symbol("c", positive=True)
EPSILON = sp.Symbol("epsilon", positive=True)
ETA = sp.Symbol("eta", positive=True)
UNITS = 3
PRE = sp.Matrix(sp.symbols("z_1:4", real=True))
GAIN = sp.Matrix(sp.symbols("g_1:4", real=True))
SHIFT = sp.Matrix(sp.symbols("t_1:4", real=True))
HEAD = sp.Matrix(sp.symbols("v_1:4", real=True))
GATES = sp.Matrix(sp.symbols("m_1:4", integer=True, nonnegative=True))
WEIGHT = sp.Matrix(3, 2, lambda i, j: sp.Symbol(f"w_{i}{j}", real=True))
INNER = sp.Matrix(sp.symbols("p_1 p_2", real=True))


def centred(z: sp.MatrixBase) -> sp.MatrixBase:
    """The vector z less its mean."""
    return z - sp.ones(len(z), 1) * sum(z) / len(z)


def variance(z: sp.MatrixBase) -> sp.Expr:
    """Mean square of the centred vector."""
    return centred(z).dot(centred(z)) / len(z)


def layernorm(z: sp.MatrixBase, epsilon: sp.Expr | int = 0) -> sp.MatrixBase:
    """(z - mean)/sqrt(variance + ε), without affine."""
    return centred(z) / sp.sqrt(variance(z) + epsilon)


def critic(head, gain, shift, z, epsilon=0) -> sp.Expr:
    """The head on the gated affine of LayerNorm(z)."""
    affine = sp.Matrix([g * n + t for g, n, t in zip(gain, layernorm(z, epsilon), shift, strict=True)])
    return sum(v * m * p for v, m, p in zip(head, GATES, affine, strict=True))


def _steps() -> tuple[Step, ...]:
    value = critic(HEAD, GAIN, SHIFT, PRE)
    # Given the gates, the gradient by z is that of v·LN(z), v the product of head, gate and gain.
    delta = sp.Matrix([HEAD.dot(layernorm(PRE))]).jacobian(PRE).T.applyfunc(sp.factor)
    larger = {z: C * z for z in PRE}
    scale = sp.Symbol("S", positive=True)
    spread = sp.sqrt(scale + EPSILON)
    # The ratio of both sides' standard deviations, with the variance written S.
    first = (sp.sqrt(scale + EPSILON) / sp.sqrt(scale + EPSILON / C**2)).diff(EPSILON).subs(EPSILON, 0)
    return (
        Step(
            "forgets-scale",
            "With ε = 0, LN(cz) = LN(z): weights before a LayerNorm have degree 0.",
            ("c > 0", "ε = 0", "z not constant across units"),
            layernorm(C * PRE),
            layernorm(PRE),
            formula=r"\mathrm{LN}_0(cz) = \mathrm{LN}_0(z)",
        ),
        Step(
            "forgets-shift",
            "LN(z + c·1) = LN(z), for every ε: a shift common to all units is invisible.",
            (),
            layernorm(PRE + C * sp.ones(UNITS, 1), EPSILON),
            layernorm(PRE, EPSILON),
            formula=r"\mathrm{LN}_\varepsilon(z + c\mathbf 1) = \mathrm{LN}_\varepsilon(z)",
        ),
        Step(
            "affine-and-head",
            "Gain, shift and head scaled by c scale f by c²: degree 2.",
            ("c > 0", "no head bias"),
            critic(C * HEAD, C * GAIN, C * SHIFT, PRE),
            C**2 * value,
            formula=r"f(cv, cg, ct) = c^2 f(v, g, t)",
        ),
        Step(
            "head-only",
            "Without affine only the head is left: degree 1.",
            ("affine off", "no head bias"),
            critic(C * HEAD, sp.ones(UNITS, 1), sp.zeros(UNITS, 1), PRE),
            C * critic(HEAD, sp.ones(UNITS, 1), sp.zeros(UNITS, 1), PRE),
            formula=r"f(cv) = c f(v)",
        ),
        Step(
            "inner-affine",
            "An affine followed by another LayerNorm has degree 0 as well.",
            ("c > 0", "ε = 0 in the next LayerNorm", "no bias between them"),
            layernorm(WEIGHT * (C * INNER)),
            layernorm(WEIGHT * INNER),
            formula=r"\mathrm{LN}_0(W(cp)) = \mathrm{LN}_0(Wp)",
        ),
        Step(
            "pre-gradient",
            "The gradient δ ⊗ h of weights before LayerNorm has degree -1, as δ has: their share of the "
            "kernel falls as c^-2.",
            ("c > 0", "ε = 0"),
            delta.subs(larger, simultaneous=True),
            delta / C,
            formula=r"\delta(cz) = c^{-1}\delta(z)",
        ),
        Step(
            "orthogonal-gradient",
            "Euler at degree 0: ⟨z, δ⟩ = 0, hence ⟨W, δ ⊗ h⟩ = δᵀWh = 0: the gradient is tangent to the sphere.",
            ("ε = 0",),
            delta.dot(PRE),
            sp.Integer(0),
            formula=r"\langle z, \delta\rangle = 0",
        ),
        Step(
            "weights-only-grow",
            "Hence a discrete step can only lengthen what it moves: ‖z - ηδ‖² = ‖z‖² + η²‖δ‖².",
            ("ε = 0",),
            (PRE - ETA * delta).dot(PRE - ETA * delta),
            PRE.dot(PRE) + ETA**2 * delta.dot(delta),
            formula=r"\|z - \eta\delta\|^2 = \|z\|^2 + \eta^2\|\delta\|^2",
        ),
        Step(
            "epsilon-rescaled",
            "For ε > 0 scaling by c is the same as dividing ε by c²: exactness is lost.",
            ("c > 0",),
            layernorm(C * PRE, EPSILON),
            layernorm(PRE, EPSILON / C**2),
            formula=r"\mathrm{LN}_\varepsilon(cz) = \mathrm{LN}_{\varepsilon/c^2}(z)",
        ),
        Step(
            "epsilon-correction",
            "The leading correction: LN_ε(cz)/LN_ε(z) = 1 + ε(1 - c^-2)/(2 Var z) + O(ε²).",
            ("Var z = S > 0",),
            first,
            (1 - C**-2) / (2 * scale),
        ),
        Step(
            "epsilon-second-order",
            "What the leading correction neglects is of order ε²: its coefficient is finite.",
            ("Var z = S > 0",),
            (spread / sp.sqrt(scale + EPSILON / C**2)).diff(EPSILON, 2).subs(EPSILON, 0) / 2,
            (3 * C**-4 - 2 * C**-2 - 1) / (8 * scale**2),
        ),
    )


DERIVATIONS = (Derivation("Degrees of a LayerNorm critic", "derived", _steps()),)
