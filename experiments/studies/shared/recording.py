"""Record a finished study, and seal all recorded files by their hashes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from studies.shared.record import RECORDED, RESULTS, RUNS
from studies.shared.recorded import recorded_verdicts, seal

from seem.errors import InputError
from seem.records import make_folder


@dataclass(frozen=True)
class RecordingOptions:
    """Command line.

    Attributes:
        folders: Output folders of finished studies; each is recorded under its own name.
        recorded: Where recorded studies are.
        with_runs: Copy the runs' own folders too, for a study whose kept rows are made again from them.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    recorded: Path = RECORDED
    with_runs: bool = False


def record(options: RecordingOptions) -> int:
    """Check the studies, copy them, and seal.

    Returns:
        The exit status.

    Raises:
        InputError: When a folder holds no finished study; nothing is copied then.
    """
    for folder in options.folders:
        if not (folder / RESULTS).is_file():
            raise InputError(f"{folder} holds no {RESULTS}: let the study's command finish first")
        recorded_verdicts(folder)
    for folder in options.folders:
        target = make_folder(options.recorded / folder.resolve().name)
        for path in [folder / RESULTS, folder / RUNS, *sorted(folder.glob("*.png"))]:
            if path.is_file():
                shutil.copy2(path, target / path.name)
        if options.with_runs:
            shutil.copytree(folder / "runs", target / "runs", dirs_exist_ok=True)
        print(f"recorded: {target}")
    seal(options.recorded)
    return 0
