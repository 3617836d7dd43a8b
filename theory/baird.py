r"""Baird's star, solved exactly: threshold 15/17, the complex window, and what a finite step changes.

Seven states, eight weights, features 2e_i + e_8 for states 1 to 6 and e_7 + 2e_8 for state 7; every state's
target is state 7 and r = 0. The critic is linear, so u_{t+1} = (I + ηA)u_t has no remainder.

Source: Baird 1995 for the counterexample; eigenvalues, window and the step-size dependence are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

GAMMA, ETA = sp.symbols("gamma eta", positive=True)
Z = sp.Symbol("z", real=True)
WEIGHTS = sp.Matrix(sp.symbols("theta_1:9", real=True))
STATES = 7
LAST = STATES - 1
WINDOW_UPPER = (203 + 4 * sp.sqrt(390)) / 289
WINDOW_LOWER = (203 - 4 * sp.sqrt(390)) / 289
THRESHOLD = sp.Rational(15, 17)


def features() -> sp.MatrixBase:
    """Φ, shape (7, 8)."""
    phi = sp.zeros(STATES, STATES + 1)
    for state in range(LAST):
        phi[state, state], phi[state, STATES] = 2, 1
    phi[LAST, LAST], phi[LAST, STATES] = 1, 2
    return phi


def next_features() -> sp.MatrixBase:
    """Φ*: state 7 in every row."""
    return sp.ones(STATES, 1) * features()[LAST, :]


def seem_matrix() -> sp.MatrixBase:
    """A = γ G(X*, X) - G(X, X), shape (7, 7)."""
    return GAMMA * next_features() * features().T - features() * features().T


def trace() -> sp.Expr:
    """Trace of the 2×2 block on (states 1 to 6 equal, state 7)."""
    return 17 * GAMMA - 15


def determinant() -> sp.Expr:
    """Determinant of that block."""
    return 26 * (1 - GAMMA)


def leading(sign: int = 1) -> sp.Expr:
    """The two eigenvalues that depend on γ."""
    return (trace() + sign * sp.sqrt(trace() ** 2 - 4 * determinant())) / 2


def _derivation() -> Derivation:
    phi, matrix = features(), seem_matrix()
    embed = sp.Matrix([[1, 0]] * LAST + [[0, 1]])
    block = sp.Matrix([[12 * GAMMA - 10, 5 * GAMMA - 2], [12 * GAMMA - 12, 5 * GAMMA - 5]])
    odd = sp.Matrix([1, -1, 0, 0, 0, 0, 0])
    error = (phi - GAMMA * next_features()) * WEIGHTS
    stepped = (phi - GAMMA * next_features()) * (WEIGHTS - ETA * phi.T * error)
    discriminant = trace() ** 2 - 4 * determinant()
    quadratic = (Z - leading(1)) * (Z - leading(-1))
    gain = 1 + ETA * trace() + ETA**2 * determinant()
    real, imaginary = trace() / 2, sp.sqrt(4 * determinant() - trace() ** 2) / 2
    inside = {GAMMA: (0.45, 0.97)}
    weight_matrix = -phi.T * (phi - GAMMA * next_features())
    return Derivation(
        "Baird's star",
        "Baird 1995; eigenvalues, window and finite step derived",
        (
            Step(
                "exact-iteration",
                "u_{t+1} = (I + ηA)u_t holds without remainder.",
                ("f linear in θ",),
                stepped,
                (sp.eye(STATES) + ETA * matrix) * error,
                formula=r"u_{t+1} = (I + \eta A)\,u_t",
            ),
            Step(
                "invariant-plane",
                "On (s, …, s, w) A acts as a 2×2 block.",
                (),
                matrix * embed,
                embed * block,
                shown=sp.MatMul(matrix, embed),
            ),
            Step(
                "odd-modes",
                "Differences among states 1 to 6 have eigenvalue -4.",
                (),
                matrix * odd,
                -4 * odd,
                shown=sp.MatMul(matrix, odd),
            ),
            Step(
                "trace",
                "The block's trace is 17γ - 15.",
                (),
                block.trace(),
                trace(),
                shown=sp.Trace(block),
            ),
            Step(
                "determinant",
                "Its determinant is 26(1 - γ) > 0 for γ < 1.",
                ("γ < 1",),
                block.det(),
                determinant(),
                shown=sp.Determinant(block),
            ),
            Step(
                "eigenvalues",
                "Its eigenvalues are [(17γ - 15) ± sqrt((17γ - 15)² - 104(1 - γ))]/2.",
                ("outside the complex window for real values",),
                (block - Z * sp.eye(2)).det(),
                quadratic,
                ranges={GAMMA: (0.98, 1)},
            ),
            Step(
                "weight-space",
                "The 8×8 matrix on the weights, W = -Φᵀ(Φ - γΦ*), satisfies WΦᵀ = ΦᵀA: the same non-zero spectrum.",
                (),
                weight_matrix * phi.T,
                phi.T * matrix,
                formula=r"-\Phi^\top(\Phi - \gamma\Phi^*)\,\Phi^\top = \Phi^\top A",
            ),
            Step(
                "threshold",
                "Re λ = 17(γ - 15/17)/2 in the window: unstable exactly for γ > 15/17.",
                ("complex window or det > 0",),
                real,
                sp.Rational(17, 2) * (GAMMA - THRESHOLD),
                shown=sp.Add(leading(1), leading(-1), evaluate=False) / 2,
            ),
            Step(
                "discriminant",
                "The pair is complex for (203 - 4√390)/289 < γ < (203 + 4√390)/289 = 0.42909… to 0.97575….",
                (),
                discriminant,
                289 * (GAMMA - WINDOW_LOWER) * (GAMMA - WINDOW_UPPER),
            ),
            Step(
                "undiscounted",
                "At γ = 1 the eigenvalues are 0 and 2.",
                ("γ = 1",),
                sp.Matrix([leading(1), leading(-1)]).subs(GAMMA, 1),
                sp.Matrix([2, 0]),
                shown=sp.Subs(sp.Matrix([leading(1), leading(-1)]), GAMMA, 1),
            ),
            Step(
                "modulus-in-window",
                "In the window |1 + ηλ|² = 1 + η(17γ - 15) + 26η²(1 - γ): the growth per step is this, not 1 + ηλ.",
                ("complex window",),
                (1 + ETA * real) ** 2 + ETA**2 * imaginary**2,
                gain,
                ranges=inside,
            ),
            Step(
                "finite-step-threshold",
                "At step η the pair passes |1 + ηλ| = 1 at γ = (15 - 26η)/(17 - 26η) already, below 15/17.",
                ("complex window", "η < 17/26"),
                gain - 1,
                ETA * (17 - 26 * ETA) * (GAMMA - (15 - 26 * ETA) / (17 - 26 * ETA)),
                ranges={ETA: (0.01, 0.3), **inside},
            ),
            Step(
                "finite-step-gap",
                "The gap to 15/17 is 52η/(17(17 - 26η)): first order in η.",
                ("η < 17/26",),
                THRESHOLD - (15 - 26 * ETA) / (17 - 26 * ETA),
                52 * ETA / (17 * (17 - 26 * ETA)),
                ranges={ETA: (0.01, 0.3)},
            ),
        ),
    )


DERIVATIONS = (_derivation(),)
