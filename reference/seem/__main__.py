"""`python -m seem cite CLAIM`: what a claim of the theory rests on, with BibTeX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from seem.cite import LEDGER, describe_claim
from seem.errors import run_command


@dataclass(frozen=True)
class Cite:
    """Print what a claim rests on, with BibTeX.

    Attributes:
        claim: Its id in the claims table, such as SGD-LAW.
        ledger: The ledger; that of the clone or of the installed package without it.
    """

    claim: Annotated[str, tyro.conf.Positional]
    ledger: Path = LEDGER


def main(command: Cite) -> int:
    """Print it.

    Returns:
        The exit status.
    """
    print(describe_claim(command.claim, command.ledger))
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.extras.subcommand_cli_from_dict({"cite": Cite})))
