r"""The self-similar ray: homogeneity makes the TD error an eigenvector, up to a defect that is given.

A bias-free critic of L weight matrices is homogeneous of degree L in its parameters, so Euler's identity
:math:`\Phi\theta = L f` holds at X and at X*. On the ray :math:`-\Phi(X)^\top u = \kappa\theta` it makes u an
eigenvector, :math:`Au = L\kappa u`. Both identities are given with their defects, so that they say what
happens off the ray and with rewards.

Source: paper, homogeneity (theory.homogeneity) and SGD theorem (recalled); the eigen-equation's defects are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.explicit_network import Network, gradient

GAMMA, C = sp.symbols("gamma c", positive=True)
ETA = sp.Symbol("eta", positive=True)
KAPPA = sp.Symbol("kappa", real=True)
DEPTH_LESS_ONE = sp.Symbol("ell", positive=True)
"""ℓ = L - 1, so that L > 1 is an assumption sympy can use."""
L = 1 + DEPTH_LESS_ONE
PARAMETERS = sp.Matrix(sp.symbols("theta_1:4", real=True))
PHI = sp.Matrix(2, 3, sp.symbols("Phi_1:7", real=True))
PHI_NEXT = sp.Matrix(2, 3, sp.symbols("Phi^*_1:7", real=True))
REWARD = sp.Matrix(sp.symbols("r_1 r_2", real=True))
TERMINAL = sp.Matrix(sp.symbols("d_1 d_2", real=True))


def discounting() -> sp.MatrixBase:
    """γ diag(1 - d)."""
    return GAMMA * sp.diag(*[1 - d for d in TERMINAL])


def td_error(reward: sp.MatrixBase | None = None) -> sp.MatrixBase:
    """The TD error u = f(X) - r - γ(1-d) f(X*), values by Euler's identity f = Φθ/L."""
    values = (PHI - discounting() * PHI_NEXT) * PARAMETERS / L
    return values if reward is None else values - reward


def seem_matrix() -> sp.MatrixBase:
    """A = γ diag(1-d) Φ* Φᵀ - Φ Φᵀ."""
    return (discounting() * PHI_NEXT - PHI) * PHI.T


def _euler_difference(depth: int) -> Step:
    """The identity for one row of a network with explicit weights, x and x* with gates of their own."""
    network = Network(depth)
    discount = GAMMA * (1 - TERMINAL[0])
    here, there = network.value("x"), network.value("y")
    slopes = discount * gradient(there, network.parameters) - gradient(here, network.parameters)
    return Step(
        f"euler-difference-{depth}",
        f"For a network of L = {depth} written out, (γDΦ* - Φ)θ is -Lu with u = f(x) - γ(1-d)f(x*).",
        (f"L = {depth}", "no biases", "r = 0"),
        slopes.dot(network.parameters),
        -depth * (here - discount * there),
        formula=r"\langle\gamma(1-d)\nabla f(x^*) - \nabla f(x), \theta\rangle = "
        rf"-{depth}\left(f(x) - \gamma(1-d)f(x^*)\right)",
    )


def _eigen_equation() -> Derivation:
    error = td_error()
    defect = PHI.T * error + KAPPA * PARAMETERS
    bootstrap = discounting() * PHI_NEXT - PHI
    rewarded = td_error(REWARD)
    norm = PARAMETERS.dot(PARAMETERS)
    one, value, following = sp.Symbol("c", positive=True), *sp.symbols("f f^*", real=True)
    stretched = one**L * value - GAMMA * (1 - TERMINAL[0]) * one**L * following
    return Derivation(
        "Eigen-equation on the self-similar ray",
        "derived; the paper's SGD theorem (recalled) states the alignment only",
        (
            Step(
                "euler-difference",
                "Euler's identity at X and X* gives (γDΦ* - Φ)θ = -Lu: along θ, which multiplies f and f* by c^L, "
                "u = f - γ(1-d)f* changes at the rate Lu.",
                ("bias-free critic of depth L", "r = 0", "D = diag(1-d)"),
                (stretched.subs(one, 1) - stretched).diff(one).subs(one, 1),
                -L * stretched.subs(one, 1),
                shown=sp.Subs(sp.Derivative(-stretched, one), one, 1),
            ),
            *(_euler_difference(depth) for depth in (1, 2, 3)),
            Step(
                "eigen-equation",
                "Au - Lκu is linear in the defect of the ray: at -Φᵀu = κθ, u is an eigenvector and λ = Lκ, real.",
                ("r = 0",),
                seem_matrix() * error - L * KAPPA * error,
                bootstrap * defect,
            ),
            Step(
                "reward-defect",
                "A reward adds κLr, which is negligible only once |u| exceeds |r|.",
                ("any reward",),
                seem_matrix() * rewarded - L * KAPPA * rewarded,
                bootstrap * (PHI.T * rewarded + KAPPA * PARAMETERS) + KAPPA * L * REWARD,
            ),
            Step(
                "norm-growth",
                "Under gradient flow d‖θ‖²/dt = -2ηL u·f, on the ray or not.",
                ("bias-free critic",),
                2 * PARAMETERS.dot(-ETA * PHI.T * rewarded),
                -2 * ETA * L * rewarded.dot(PHI * PARAMETERS / L),
            ),
            Step(
                "norm-growth-on-ray",
                "-L u·f = κ‖θ‖² up to the defect: κ needs no eigenvalue, only u and f.",
                ("r = 0",),
                -L * error.dot(PHI * PARAMETERS / L) - KAPPA * norm,
                -PARAMETERS.dot(defect),
            ),
        ),
    )


DERIVATIONS = (_eigen_equation(),)
