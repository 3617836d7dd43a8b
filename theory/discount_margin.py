r"""At which discounts a critic is excited: not always above one, and where it certainly is not.

With B = Φ*Φᵀ (masked) and G = ΦΦᵀ the matrix is A = γB - G. Its real crossings are γ = 1/μ, μ an eigenvalue of G⁻¹B;
between two of them it may be unstable and beyond them stable again.

Source: derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

GAMMA = sp.Symbol("gamma", positive=True)
Z = sp.Symbol("z", real=True)
PHI = sp.Matrix([[-1, 1], [0, -1]])
PHI_NEXT = sp.Matrix([[-3, -3], [0, -2]])
GRAM, BOOTSTRAP = PHI * PHI.T, PHI_NEXT * PHI.T
IDENTITY = sp.eye(2)


def seem_matrix() -> sp.MatrixBase:
    """A = γB - G of the example."""
    return GAMMA * BOOTSTRAP - GRAM


def _steps() -> tuple[Step, ...]:
    rows = sp.Matrix(2, 2, sp.symbols("Phi_1:5", real=True))
    following = sp.Matrix(2, 2, sp.symbols("Phi^*_1:5", real=True))
    error = sp.Matrix(sp.symbols("u_1 u_2", real=True))
    bound = sp.Symbol("mu", positive=True)
    gram, bootstrap = rows * rows.T, following * rows.T
    driven, held = error.dot(bootstrap * error), error.dot(gram * error)
    half = sp.Symbol("g", positive=True)
    return (
        Step(
            "trace",
            "A = γB - G has the trace 2γ - 3 < 0: only a determinant below zero makes it unstable.",
            ("Φ = [[-1, 1], [0, -1]]", "Φ* = [[-3, -3], [0, -2]]", "γ < 3/2"),
            seem_matrix().trace(),
            2 * GAMMA - 3,
            shown=sp.Trace(seem_matrix()),
        ),
        Step(
            "interval",
            "Its determinant (2γ - 1)(3γ - 1) is negative for 1/3 < γ < 1/2 only: A is unstable exactly there, and "
            "stable at γ = .99.",
            ("Φ = [[-1, 1], [0, -1]]", "Φ* = [[-3, -3], [0, -2]]"),
            seem_matrix().det(),
            (2 * GAMMA - 1) * (3 * GAMMA - 1),
            shown=sp.Determinant(seem_matrix()),
        ),
        Step(
            "crossings",
            "The ends are 1/μ, μ = 2 and 3 the eigenvalues z of G⁻¹B.",
            ("Φ = [[-1, 1], [0, -1]]", "Φ* = [[-3, -3], [0, -2]]"),
            (GRAM.inv() * BOOTSTRAP - Z * IDENTITY).det(),
            (Z - 2) * (Z - 3),
            shown=sp.Determinant(GRAM.inv() * BOOTSTRAP - Z * IDENTITY),
        ),
        Step(
            "certified",
            "While uᵀBu ≤ μ uᵀGu for every u, uᵀAu is at most -(1 - γμ)uᵀGu: no discount below 1/μ excites, μ the "
            "largest "
            "eigenvalue of the symmetric part of B against G.",
            ("two rows", "A = γB - G, B = Φ*Φᵀ, G = ΦΦᵀ"),
            GAMMA * driven - held,
            -(1 - GAMMA * bound) * held - GAMMA * (bound * held - driven),
            formula=r"u^\top A u = -(1 - \gamma\mu)\,u^\top G u - \gamma\left(\mu\,u^\top G u - u^\top B u\right)",
        ),
        Step(
            "one-row",
            "For one row it is sharp: A = γb - g with b = μg is zero at γ = 1/μ.",
            ("one row", "b = μg"),
            (GAMMA * bound * half - half).subs(GAMMA, 1 / bound),
            sp.Integer(0),
            shown=sp.Subs(GAMMA * bound * half - half, GAMMA, 1 / bound),
        ),
    )


DERIVATIONS = (Derivation("Discounts that excite", "derived", _steps()),)
