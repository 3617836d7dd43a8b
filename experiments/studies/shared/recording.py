"""Record a finished study, and seal all recorded files by their hashes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from studies.shared.record import RECORDED, RESULTS, RUNS
from studies.shared.recorded import judge_anew, recorded_folders, recorded_verdicts, records, seal

from seem.errors import InputError
from seem.records import make_folder


@dataclass(frozen=True)
class RecordingOptions:
    """Command line.

    Attributes:
        folders: Output folders of finished studies; each is recorded under its own name.
        recorded: Where recorded studies are.
        with_runs: Copy the runs' own folders too, for a study whose kept rows are made again from them.
        judge_anew: Write what the present judges conclude from all recorded runs, which stay as they are.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    recorded: Path = RECORDED
    with_runs: bool = False
    judge_anew: bool = False


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
    if options.judge_anew:
        for path in [path for name in recorded_folders(options.recorded) for path in records(options.recorded / name)]:
            for line in judge_anew(path.parent):
                print(f"{path.parent.relative_to(options.recorded)}: {line}")
    seal(options.recorded)
    return 0
