r"""Transient growth: the numerical abscissa :math:`\omega(A) = \lambda_{\max}((A + A^\top)/2)` and its bound.

Every real 2×2 matrix is m·I + k·[[cos 2ψ, sin 2ψ], [sin 2ψ, -cos 2ψ]] + r·[[0, -1], [1, 0]] with k ≥ 0, so
ω = m + k without loss of generality.

Source: derived (the numerical abscissa is standard; Trefethen and Embree, Spectra and Pseudospectra).
"""

import sympy as sp

from theory.derivation import Derivation, Step

MEAN, SKEW, PSI = sp.symbols("m r psi", real=True)
STRETCH = sp.Symbol("k", positive=True)
SHEAR = sp.Symbol("kappa", positive=True)
TIME = sp.Symbol("t", positive=True)
ETA = sp.Symbol("eta", positive=True)
ERROR = sp.Matrix(sp.symbols("u_1 u_2", real=True))
Z = sp.Symbol("z")
OMEGA = MEAN + STRETCH


def general() -> sp.MatrixBase:
    """The general real 2×2 matrix."""
    turned = sp.Matrix([[sp.cos(2 * PSI), sp.sin(2 * PSI)], [sp.sin(2 * PSI), -sp.cos(2 * PSI)]])
    return MEAN * sp.eye(2) + STRETCH * turned + SKEW * sp.Matrix([[0, -1], [1, 0]])


def sheared() -> sp.MatrixBase:
    """Both eigenvalues -1, far from normal for large κ."""
    return sp.Matrix([[-1, SHEAR], [0, -1]])


def sheared_flow(time: sp.Expr) -> sp.MatrixBase:
    """e^{tA} of `sheared`."""
    return sp.exp(-time) * sp.Matrix([[1, SHEAR * time], [0, 1]])


def flow_rate(matrix: sp.MatrixBase) -> sp.Expr:
    """d/dt ‖u‖² along u' = Au."""
    return 2 * ERROR.dot(matrix * ERROR)


def _derivation() -> Derivation:
    matrix = general()
    shortfall = 2 * STRETCH * (sp.sin(PSI) * ERROR[0] - sp.cos(PSI) * ERROR[1]) ** 2
    norm = ERROR.dot(ERROR)
    stepped = (sp.eye(2) + ETA * matrix) * ERROR
    weighted = sp.exp(-2 * OMEGA * TIME) * flow_rate(matrix) - 2 * OMEGA * sp.exp(-2 * OMEGA * TIME) * norm
    return Derivation(
        "Transient growth",
        "derived",
        (
            Step(
                "abscissa",
                "The symmetric part has eigenvalues m ± k, so ω = m + k.",
                (),
                ((matrix + matrix.T) / 2 - Z * sp.eye(2)).det(),
                (Z - OMEGA) * (Z - MEAN + STRETCH),
            ),
            Step(
                "rayleigh-bound",
                "uᵀAu ≤ ω‖u‖²: the instantaneous growth rate of ‖u‖ never exceeds ω.",
                (),
                OMEGA * norm,
                ERROR.dot(matrix * ERROR),
                relation=">=",
                witness=shortfall,
            ),
            Step(
                "attained",
                "At u = (cos ψ, sin ψ) it is attained: the bound is sharp.",
                ("u = (cos ψ, sin ψ)",),
                ERROR.dot(matrix * ERROR).subs({ERROR[0]: sp.cos(PSI), ERROR[1]: sp.sin(PSI)}),
                OMEGA,
            ),
            Step(
                "gronwall",
                "d/dt(e^{-2ωt}‖u‖²) ≤ 0 along u' = Au, hence ‖e^{tA}‖ ≤ e^{tω}.",
                ("A fixed", "continuous time"),
                sp.Integer(0),
                weighted,
                relation=">=",
                witness=2 * sp.exp(-2 * OMEGA * TIME) * shortfall,
            ),
            Step(
                "eigenvalues",
                "The eigenvalues satisfy (λ - m)² = k² - r²: asymmetry turns growth into rotation, Re λ ≤ ω.",
                (),
                (matrix - Z * sp.eye(2)).det(),
                (Z - MEAN) ** 2 - STRETCH**2 + SKEW**2,
            ),
            Step(
                "one-step",
                "‖(I + ηA)u‖² = ‖u‖² + 2η uᵀAu + η²‖Au‖²: the Rayleigh quotient, not λ, is this step's growth.",
                (),
                stepped.dot(stepped),
                norm + 2 * ETA * ERROR.dot(matrix * ERROR) + ETA**2 * (matrix * ERROR).dot(matrix * ERROR),
            ),
            Step(
                "sheared-equation",
                "Counterexample to 'Re λ < 0, so no growth': e^{-t}[[1, κt], [0, 1]] solves U' = AU, "
                "A = [[-1, κ], [0, -1]].",
                ("both eigenvalues -1",),
                sheared_flow(TIME).diff(TIME),
                sheared() * sheared_flow(TIME),
                shown=sp.Derivative(sheared_flow(TIME), TIME),
            ),
            Step(
                "sheared-spectrum",
                "Both eigenvalues are -1.",
                (),
                (sheared() - Z * sp.eye(2)).det(),
                (Z + 1) ** 2,
            ),
            Step(
                "sheared-peak",
                "At t = 1 the start e_2 has become κ/e·e_1 + e_2/e, longer than before once κ > sqrt(e² - 1).",
                (),
                sheared_flow(sp.Integer(1)) * sp.Matrix([0, 1]),
                sp.Matrix([SHEAR, 1]) / sp.E,
                shown=sp.Subs(sheared_flow(TIME) * sp.Matrix([0, 1]), TIME, 1),
            ),
            Step(
                "sheared-abscissa",
                "Its numerical abscissa is -1 + κ/2: transient growth exactly when κ > 2.",
                (),
                ((sheared() + sheared().T) / 2 - Z * sp.eye(2)).det(),
                (Z + 1 - SHEAR / 2) * (Z + 1 + SHEAR / 2),
            ),
            Step(
                "discrete-fails",
                "In discrete time the bound e^{tηω} fails: A = -3, η = 1 gives |1 - 3|² = 4 > 1 > e^{-6}.",
                ("η = 1: dropped assumption of continuous time",),
                (1 + sp.Integer(1) * (-3)) ** 2,
                sp.exp(-6),
                relation=">",
                witness=4 - sp.exp(-6),
            ),
        ),
    )


DERIVATIONS = (_derivation(),)
