"""Checkpoints of unfinished runs: sealed, bound to their run and to the lines written so far, and trusted only whole.

A checkpoint holds the run's key, the versions that made it, its step, and digests of config.json and of what
readings.jsonl and forecasts.jsonl held. A run goes on from it only where all of that is still true; lines that were
written after it are dropped, and made again bit for bit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seem.errors import InputError
from seem.files import canonical_json, digest, read_bytes, write_atomically
from seem.records import read_tensors, write_tensors

NAME = "checkpoint.safetensors"
LINES = ("readings.jsonl", "forecasts.jsonl")
CONFIG = "config.json"
REMEDY = "delete its run folder and run again"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps.

    Attributes:
        key: The run's key.
        versions: Versions of what computed it.
        step: Critic steps taken.
        tensors: Tensors by name.
        state: A JSON object, whatever else the run needs.
    """

    key: str
    versions: dict[str, str]
    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a run's checkpoint, in place of the one before.

    Args:
        folder: The run's folder, whose lines are those of the checkpoint's step.
        checkpoint: The state.

    Raises:
        InputError: When it cannot be written, or a file that it rests on is gone.
    """
    contents = {name: read_bytes(folder / name) for name in (CONFIG, *LINES)}
    metadata = {
        "key": checkpoint.key,
        "versions": checkpoint.versions,
        "step": checkpoint.step,
        "state": checkpoint.state,
        "files": {name: {"bytes": len(content), "sha256": digest(content)} for name, content in contents.items()},
    }
    seal = _seal(checkpoint.tensors, metadata)
    write_tensors(folder / NAME, checkpoint.tensors, {**metadata, "seal": seal})


def read_checkpoint(folder: Path, key: str, versions: dict[str, str]) -> Checkpoint | None:
    """The checkpoint of a run, everything that it rests on checked; lines written after it are cut off.

    Args:
        folder: The run's folder.
        key: The run's key.
        versions: Versions of what would go on.

    Returns:
        The checkpoint, or None where there is none yet.

    Raises:
        InputError: When it is damaged or edited, of another run or other versions, or the files of its run were
            changed.
    """
    path = folder / NAME
    if not path.exists():
        return None
    tensors, metadata = read_tensors(path)
    seal = metadata.pop("seal", None)
    if seal != _seal(tensors, metadata):
        raise InputError(f"{path} was changed after it was written, or is of another version: {REMEDY}")
    if metadata["key"] != key:
        raise InputError(f"{path} is the checkpoint of another run: {REMEDY}")
    if metadata["versions"] != versions:
        changed = ", ".join(
            f"{name} {was} instead of {versions.get(name)}"
            for name, was in metadata["versions"].items()
            if was != versions.get(name)
        )
        raise InputError(f"{path} was made by other versions ({changed or 'of other packages'}): {REMEDY}")
    for name, known in metadata["files"].items():
        _check_file(folder / name, known["bytes"], known["sha256"])
    return Checkpoint(key, versions, metadata["step"], tensors, metadata["state"])


def _check_file(path: Path, length: int, sha256: str) -> None:
    if not path.exists():
        raise InputError(f"{path} is gone while its run was not finished: {REMEDY}")
    content = read_bytes(path)
    if digest(content[:length]) != sha256:
        raise InputError(f"{path} was changed while its run was not finished: {REMEDY}")
    if len(content) == length:
        return
    if path.name == CONFIG:
        raise InputError(f"{path} was changed while its run was not finished: {REMEDY}")
    write_atomically(path, content[:length])


def _seal(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    described = {
        name: [str(tensor.dtype), list(tensor.shape), digest(tensor.detach().cpu().contiguous().numpy().tobytes())]
        for name, tensor in tensors.items()
    }
    return digest(canonical_json([described, metadata]))
