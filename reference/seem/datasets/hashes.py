"""SHA-256 of files, and the two places where an expected one can stand beside a file."""

import hashlib
import os
from io import FileIO
from pathlib import Path

from seem.errors import InputError
from seem.paths import open_file, read_text

SUMS = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """Hash a file without holding it in memory.

    Args:
        path: The file.

    Returns:
        Its SHA-256, 64 hexadecimal digits.

    Raises:
        InputError: When the file cannot be read.
    """
    try:
        path.stat()
        with open_file(path) as file:
            return sha256_in(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): pass the path of a readable file") from error


def sha256_in(file: FileIO) -> str:
    """Hash an open file from its first byte on.

    Args:
        file: The file.

    Returns:
        Its SHA-256, 64 hexadecimal digits.
    """
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def record_hash(path: Path, sha256: str) -> None:
    """Write ``<path>.sha256`` in the format of ``sha256sum``, atomically.

    Args:
        path: The file that the hash belongs to; it need not exist yet.
        sha256: Its hash.
    """
    record = path.with_name(path.name + ".sha256")
    temporary = record.with_name(record.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(f"{sha256}  {path.name}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(record)


def recorded_hash(path: Path) -> str | None:
    """Read what `record_hash` wrote.

    Args:
        path: The file that the hash belongs to.

    Returns:
        The hash, or None where none was recorded.
    """
    return _listed_hash(path.with_name(path.name + ".sha256"), path.name)


def check_sums(path: Path, sha256: str) -> None:
    """Compare a file with the ``SHA256SUMS`` beside it or one folder above, where one lists it.

    Args:
        path: The file.
        sha256: Its hash.

    Raises:
        InputError: When the list gives another hash.
    """
    path = path.absolute()
    for folder in path.parents[:2]:
        listed = _listed_hash(folder / SUMS, path.relative_to(folder).as_posix())
        if listed is not None and listed != sha256:
            raise InputError(
                f"{path} has SHA-256 {sha256[:12]}… but {folder / SUMS} lists {listed[:12]}…: "
                "fetch the file again or correct the list"
            )


def _listed_hash(listing: Path, name: str) -> str | None:
    if not listing.is_file():
        return None
    for line in read_text(listing, "list of hashes").splitlines():
        digest, _, listed = line.partition(" ")
        if listed.lstrip(" *").removeprefix("./") == name:
            return digest.lower()
    return None
