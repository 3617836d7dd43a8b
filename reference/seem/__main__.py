"""`python -m seem cite CLAIM`: what a claim of the theory rests on; `python -m seem watch FILE`: a watch's history."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from seem.cite import LEDGER, describe_claim
from seem.errors import InputError, run_command
from seem.paths import user_path


@dataclass(frozen=True)
class Cite:
    """Print what a claim rests on, with BibTeX.

    Attributes:
        claim: Its id in the claims table, such as SGD-LAW.
        ledger: The ledger; that of the clone or of the installed package without it.
    """

    claim: Annotated[str, tyro.conf.Positional]
    ledger: Path = LEDGER


@dataclass(frozen=True)
class Watch:
    """Print the history of a watch as a table, and draw it.

    Attributes:
        file: The file that `seem.Watch(file=...)` writes.
        picture: Where to draw it, as PNG; beside the file without it.
    """

    file: Annotated[Path, tyro.conf.Positional]
    picture: Path | None = None


def main(command: Cite | Watch) -> int:
    """Print what was asked for.

    Returns:
        The exit status.
    """
    if isinstance(command, Cite):
        print(describe_claim(command.claim, command.ledger))
        return 0
    from seem.plots import plot_watch, save_figure
    from seem.watch_history import printable, read_history, table

    file = user_path(command.file)
    picture = file.with_name(f"{file.name}.png") if command.picture is None else user_path(command.picture)
    lines = read_history(file)
    if picture.exists() and picture.samefile(file):
        raise InputError(f"{picture} is the history itself: pass another --picture")
    for line in table(lines):
        print(line)
    save_figure(plot_watch(lines, printable(file.name)), picture)
    print(f"\nthe picture is {picture}")
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.extras.subcommand_cli_from_dict({"cite": Cite, "watch": Watch})))
