r"""The TD error iteration :math:`u_{t+1} = (I + \eta A)u_t + O(\eta^2)`, derived on explicit networks.

Two transitions, scalar inputs. A smooth critic :math:`a_1\tanh(w_1 x) + a_2\tanh(w_2 x)` gives the
first-order term and the remainder; one active ReLU unit :math:`a w x` gives the remainder in closed form,
to all orders. The matrix is :math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)`, rows X*.

Source: paper, TD error iteration (printed formula); the terminal mask, the orientation of the blocks and
the remainder are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

GAMMA = sp.Symbol("gamma", positive=True)
ETA = sp.Symbol("eta", positive=True)
LR = sp.Symbol("alpha", positive=True)
X = sp.Matrix(sp.symbols("x_1 x_2", real=True))
X_NEXT = sp.Matrix(sp.symbols("x^*_1 x^*_2", real=True))
REWARD = sp.Matrix(sp.symbols("r_1 r_2", real=True))
TERMINAL = sp.Matrix(sp.symbols("d_1 d_2", real=True))
ERROR = sp.Matrix(sp.symbols("u_1 u_2", real=True))
TARGET = sp.Matrix(sp.symbols("y_1 y_2", real=True))
MOTION = sp.Matrix(sp.symbols("v_1 v_2", real=True))
SMOOTH_WEIGHTS = sp.Matrix(sp.symbols("a_1 a_2 w_1 w_2", real=True))
ACTIVE_WEIGHTS = sp.Matrix(sp.symbols("a w", positive=True))


def smooth_critic(weights: sp.MatrixBase, x: sp.Expr) -> sp.Expr:
    """A critic of depth 2 with two tanh units."""
    return weights[0] * sp.tanh(weights[2] * x) + weights[1] * sp.tanh(weights[3] * x)


def active_critic(weights: sp.MatrixBase, x: sp.Expr) -> sp.Expr:
    """A critic of depth 2 with one ReLU unit, on inputs that keep it active."""
    return weights[0] * weights[1] * x


def linear_critic(weights: sp.MatrixBase, x: sp.Expr) -> sp.Expr:
    """A critic that is linear in its weights: the remainder must vanish."""
    return weights[0] * x + weights[1] * x**2


def jacobian(critic, weights: sp.MatrixBase, inputs: sp.MatrixBase) -> sp.MatrixBase:
    """Φ(X), one row an input."""
    return sp.Matrix([critic(weights, x) for x in inputs]).jacobian(weights)


def gram(critic, weights: sp.MatrixBase, rows: sp.MatrixBase, columns: sp.MatrixBase) -> sp.MatrixBase:
    """The Gram block G(rows, columns)."""
    return jacobian(critic, weights, rows) * jacobian(critic, weights, columns).T


def mask(terminal: sp.MatrixBase = TERMINAL) -> sp.MatrixBase:
    """diag(1 - d)."""
    return sp.diag(*[1 - d for d in terminal])


def seem_matrix(critic, weights: sp.MatrixBase) -> sp.MatrixBase:
    """A = γ diag(1 - d) G(X*, X) - G(X, X)."""
    return GAMMA * mask() * gram(critic, weights, X_NEXT, X) - gram(critic, weights, X, X)


def td_error(critic, weights: sp.MatrixBase, x_next: sp.MatrixBase = X_NEXT) -> sp.MatrixBase:
    """The TD error u = f(X) - r - γ(1 - d) f(X*)."""
    values = sp.Matrix([critic(weights, x) for x in X])
    return values - REWARD - GAMMA * mask() * sp.Matrix([critic(weights, x) for x in x_next])


def after_step(critic, weights: sp.MatrixBase, error: sp.MatrixBase, x_next: sp.MatrixBase = X_NEXT):
    """The TD error at θ - η Φ(X)ᵀ u, u given."""
    return td_error(critic, weights - ETA * jacobian(critic, weights, X).T * error, x_next)


def first_order(critic, weights: sp.MatrixBase, error: sp.MatrixBase = ERROR, x_next: sp.MatrixBase = X_NEXT):
    """Derivative of the stepped TD error by η at η = 0."""
    return after_step(critic, weights, error, x_next).diff(ETA).subs(ETA, 0)


def second_order(critic, weights: sp.MatrixBase) -> sp.MatrixBase:
    """Half the second derivative of the stepped TD error by η at η = 0."""
    return after_step(critic, weights, ERROR).diff(ETA, 2).subs(ETA, 0) / 2


def hessian_remainder(critic, weights: sp.MatrixBase) -> sp.MatrixBase:
    """½[vᵀH(x_i)v - γ(1 - d_i) vᵀH(x*_i)v] with v = Φ(X)ᵀu."""
    direction = jacobian(critic, weights, X).T * ERROR

    def curvature(x: sp.Expr) -> sp.Expr:
        return (direction.T * sp.hessian(critic(weights, x), list(weights)) * direction)[0]

    rows = [curvature(x) - GAMMA * (1 - d) * curvature(z) for x, z, d in zip(X, X_NEXT, TERMINAL, strict=True)]
    return sp.Matrix(rows) / 2


def _semi_gradient() -> Step:
    frozen = sum((smooth_critic(SMOOTH_WEIGHTS, x) - y) ** 2 for x, y in zip(X, TARGET, strict=True)) / 2
    errors = sp.Matrix([smooth_critic(SMOOTH_WEIGHTS, x) - y for x, y in zip(X, TARGET, strict=True)])
    return Step(
        "semi-gradient",
        "With frozen targets the gradient of ½‖u‖² is Φ(X)ᵀu.",
        ("targets y do not depend on θ",),
        sp.Matrix([frozen]).jacobian(SMOOTH_WEIGHTS).T,
        jacobian(smooth_critic, SMOOTH_WEIGHTS, X).T * errors,
        formula=r"\nabla_\theta \tfrac12\|f(X) - y\|^2 = \Phi(X)^\top u",
    )


def _mean_squared() -> Step:
    rows = len(X)
    errors = sp.Matrix([smooth_critic(SMOOTH_WEIGHTS, x) - y for x, y in zip(X, TARGET, strict=True)])
    mean = sp.Matrix([errors.dot(errors) / rows])
    return Step(
        "mean-loss",
        "A step lr on the mean squared loss over M rows is a step η = 2·lr/M on ½‖u‖².",
        ("M = 2 rows",),
        LR * mean.jacobian(SMOOTH_WEIGHTS).T,
        (2 * LR / rows) * jacobian(smooth_critic, SMOOTH_WEIGHTS, X).T * errors,
        formula=r"\alpha\,\nabla_\theta \tfrac1M\|f(X) - y\|^2 = \tfrac{2\alpha}{M}\,\Phi(X)^\top u",
    )


def _moving_target() -> Step:
    moved = X_NEXT + ETA * MOTION
    slopes = sp.Matrix([smooth_critic(SMOOTH_WEIGHTS, x).diff(x) for x in X_NEXT])
    return Step(
        "moving-targets",
        "When X* moves by ηv during the step, the first-order term gains -γ(1-d) ∂f/∂x* · v.",
        ("x*_i becomes x*_i + η v_i",),
        first_order(smooth_critic, SMOOTH_WEIGHTS, ERROR, moved),
        seem_matrix(smooth_critic, SMOOTH_WEIGHTS) * ERROR - GAMMA * mask() * sp.diag(*slopes) * MOTION,
        formula=r"\left.\tfrac{du}{d\eta}\right|_{0} = A u - "
        r"\gamma\,\mathrm{diag}(1-d)\,\mathrm{diag}(\partial f/\partial x^*)\,v",
    )


def _derivation() -> Derivation:
    smooth, weights, active = smooth_critic, SMOOTH_WEIGHTS, ACTIVE_WEIGHTS
    matrix = seem_matrix(smooth, weights)
    product = active[0] * active[1]
    remainder = product * (X.dot(ERROR)) ** 2 * (X - GAMMA * mask() * X_NEXT)
    ended = {TERMINAL[0]: 1}
    return Derivation(
        "TD error iteration",
        "paper, TD error iteration (printed formula); mask, orientation and remainder derived",
        (
            _semi_gradient(),
            _mean_squared(),
            Step(
                "first-order",
                "To first order in η the TD error moves by A u, rows of the bootstrap block at X*.",
                ("θ steps by -η Φ(X)ᵀ u", "X*, r and d are fixed during the step"),
                first_order(smooth, weights),
                matrix * ERROR,
                formula=r"\left.\tfrac{d}{d\eta}\,u(\theta - \eta\Phi(X)^\top u)\right|_{\eta=0} = A u",
            ),
            Step(
                "reward-cancels",
                "At given u the reward drops out of the change of u, to all orders in η.",
                ("the same reward before and after the step",),
                after_step(smooth, weights, ERROR) - td_error(smooth, weights),
                (after_step(smooth, weights, ERROR) - td_error(smooth, weights)).subs(
                    dict.fromkeys(REWARD, sp.Integer(0))
                ),
                formula=r"u(\theta - \eta\Phi(X)^\top u) - u(\theta)\ \text{does not depend on } r",
            ),
            Step(
                "terminal-row",
                "The row of a true terminal is -G(x_i, X): nothing is bootstrapped.",
                ("d_1 = 1",),
                matrix.subs(ended)[0, :],
                -gram(smooth, weights, X, X)[0, :],
                formula=r"d_1 = 1:\quad A_{1\cdot} = -G(x_1, X)",
            ),
            Step(
                "no-discount",
                "γ = 0 gives A = -G(X, X), so uᵀAu = -‖Φ(X)ᵀu‖².",
                ("γ = 0",),
                ERROR.T * matrix.subs(GAMMA, 0) * ERROR,
                -(ERROR.T * jacobian(smooth, weights, X)) * (jacobian(smooth, weights, X).T * ERROR),
                formula=r"\gamma = 0:\quad u^\top A u = -\|\Phi(X)^\top u\|^2",
            ),
            Step(
                "second-order",
                "The η² term is the difference of the critic's curvatures along Φ(X)ᵀu, bootstrapped and not.",
                ("θ steps by -η Φ(X)ᵀ u", "X*, r and d are fixed during the step"),
                second_order(smooth, weights),
                hessian_remainder(smooth, weights),
                formula=r"\tfrac12\left.\tfrac{d^2u_i}{d\eta^2}\right|_{0} = "
                r"\tfrac12\left[v^\top H(x_i)v - \gamma(1-d_i)\,v^\top H(x^*_i)v\right],\ v = \Phi(X)^\top u",
            ),
            Step(
                "active-relu",
                "For one active ReLU unit the iteration is a quadratic polynomial in η, without further terms.",
                ("the unit stays active during the step",),
                after_step(active_critic, active, ERROR) - td_error(active_critic, active),
                ETA * seem_matrix(active_critic, active) * ERROR + ETA**2 * remainder,
                formula=r"u(\eta) - u = \eta A u + "
                r"\eta^2 a w\,(x^\top u)^2\left(x - \gamma\,\mathrm{diag}(1-d)\,x^*\right)",
            ),
            Step(
                "linear",
                "A critic that is linear in its weights has no remainder.",
                ("f is linear in θ",),
                after_step(linear_critic, sp.Matrix(weights[:2]), ERROR)
                - td_error(linear_critic, sp.Matrix(weights[:2])),
                ETA * seem_matrix(linear_critic, sp.Matrix(weights[:2])) * ERROR,
                formula=r"u(\eta) - u = \eta A u",
            ),
            _moving_target(),
        ),
    )


DERIVATIONS = (_derivation(),)
