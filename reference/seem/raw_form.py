"""Checks of the raw form of a reading: X, X*, TD errors and terminals outright."""

from jaxtyping import Float
from torch import Tensor

from seem.dynamics import Numbers, check_discount, check_entries, check_successors, check_terminals, column
from seem.errors import InputError
from seem.ntk import Kernel
from seem.trees import Tree, leaves


def check_rows_of(
    x: Tree, x_next: Tree, td_error: Tensor, terminals: Tensor, discount: Numbers
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Validate the raw form, before anything is evaluated.

    Returns:
        u, γ and d, all of shape (M,), float64, on the CPU.

    Raises:
        InputError: Naming what is impossible and where.
    """
    check_discount(discount)
    rows = len(td_error) if td_error.ndim else 0
    if rows == 0:
        raise InputError("there are no rows: pass at least one transition")
    for name, tree in (("x", x), ("x_next", x_next)):
        for part in leaves(tree):
            if part.ndim == 0 or len(part) != rows:
                raise InputError(f"{name} has shape {tuple(part.shape)}, but td_error has {rows} rows")
            (check_entries if name == "x" else check_successors)(part, name)
    ends = column(terminals, rows, "terminals")
    check_entries(ends, "terminals")
    check_terminals(ends)
    return column(td_error, rows, "td_error"), column(discount, rows, "discount"), ends


def check_one_critic(kernel: Kernel) -> None:
    """Refuse several critics where one is read.

    Raises:
        InputError: When a module returns more than one.
    """
    if len(kernel.values) > 1:
        raise InputError(
            f"a critic has one output per row, this one gives {len(kernel.values)}: pass a one-output network, or read "
            "all of them by seem.read"
        )


def check_error(error: Float[Tensor, "*N M"], kernel: Kernel) -> None:
    """Refuse a TD error that is not a number though the critic is finite: then the data are at fault.

    Raises:
        InputError: Naming the row.
    """
    finite = kernel.values.isfinite().all() and kernel.values_next.isfinite().all()
    wrong = error.isnan().nonzero()
    if len(wrong) and finite:
        raise InputError(
            f"td_error is nan in row {wrong[0, -1].item()}, though the critic is finite: look for a NaN in its reward "
            "or target"
        )
