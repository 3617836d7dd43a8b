"""Record a finished study, and seal all recorded files by their hashes.

    python experiments/record.py runs/surge

copies its results, kept runs and figures to experiments/recorded/surge/; without a folder it only seals. The claims of
the ledger that rest on a recorded file turn red when it no longer has its hash.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from recorded_studies import RECORDED, SUMMARY, recorded_claims, seal
from training_study import RESULTS, RUNS

from seem.errors import InputError, run_command
from seem.records import make_folder


@dataclass(frozen=True)
class Options:
    """Command line.

    Attributes:
        folders: Output folders of finished studies; each is recorded under its own name.
        recorded: Where recorded studies are.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    recorded: Path = RECORDED


def main(options: Options) -> int:
    """Check the studies, copy them, and seal.

    Returns:
        The exit status.

    Raises:
        InputError: When a folder holds no finished study; nothing is copied then.
    """
    for folder in options.folders:
        if not any((folder / name).is_file() for name in (RESULTS, SUMMARY)):
            raise InputError(f"{folder} holds no {RESULTS}: let the study's command finish first")
        recorded_claims(folder)
    for folder in options.folders:
        target = make_folder(options.recorded / folder.resolve().name)
        for path in [folder / RESULTS, folder / SUMMARY, folder / RUNS, *sorted(folder.glob("*.png"))]:
            if path.is_file():
                shutil.copy2(path, target / path.name)
        print(f"recorded: {target}")
    seal(options.recorded)
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
