"""The catalogue of domain mutants: mistakes, each a small patch of the sources, and the test that must kill it."""

import ast
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from seem.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "reference/seem/"
MUTABLE = (PACKAGE, "claims/", "benchmarks/", "theory/", "experiments/studies/")
"""Where mistakes are made: in whatever can publish a falsehood."""
TESTS = ("properties", "reference/tests", "claims", "benchmarks", "theory", "experiments/tests")
"""Where the tests are that must notice them."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        id: Its name, unique in the catalogue.
        file: The file it is made in, relative to the repository, below one of `MUTABLE`.
        find: Text that occurs exactly once in the file.
        replace: What the mistake writes instead.
        killed_by: The test that must fail, ``properties/test_x.py::test_name``, in one of `TESTS`.
        mistake: What went wrong, in words.
        area: Name of the catalogue file.
    """

    id: str
    file: str
    find: str
    replace: str
    killed_by: str
    mistake: str
    area: str

    def patched(self, source: str) -> str:
        """The file's text with the mistake in it.

        Args:
            source: Text of `file`.

        Raises:
            InputError: When `find` does not occur exactly once, so that the patch is stale.
        """
        count = source.count(self.find)
        if count != 1:
            raise InputError(
                f"mutant {self.id}: its text occurs {count} times in {self.file}, not once: "
                f"adapt 'find' in properties/mutants/{self.area}.toml"
            )
        return source.replace(self.find, self.replace)


def read_catalogue(folder: Path | None = None) -> list[Mutant]:
    """Read and check all mutants.

    Args:
        folder: Folder of the TOML files; the project's own without one.

    Returns:
        The mutants in file order, areas sorted by name.

    Raises:
        InputError: On wrong keys, a repeated id, a stale patch, a patch that breaks the syntax, or a
            test that does not exist.
    """
    mutants = [m for path in sorted((folder or Path(__file__).parent).glob("*.toml")) for m in _read_area(path)]
    seen: set[str] = set()
    for mutant in mutants:
        if mutant.id in seen:
            raise InputError(f"mutant id {mutant.id} is used twice: rename one")
        seen.add(mutant.id)
        _check(mutant)
    return mutants


def _read_area(path: Path) -> list[Mutant]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path.name} is not TOML ({error}): repair it") from None
    wanted = {field.name for field in fields(Mutant)} - {"area"}
    for entry in entries:
        if set(entry) != wanted:
            raise InputError(
                f"{path.name}: mutant {entry.get('id', '?')} has keys {sorted(entry)}: give exactly {sorted(wanted)}"
            )
    return [Mutant(**entry, area=path.stem) for entry in entries]


def _check(mutant: Mutant) -> None:
    source = Path(mutant.file)
    is_test = source.name.startswith("test_") or source.name == "conftest.py"
    if not mutant.file.startswith(MUTABLE) or is_test or not (REPOSITORY / source).is_file():
        raise InputError(f"mutant {mutant.id}: {mutant.file} is no source file under {', '.join(MUTABLE)}: name one")
    patched = mutant.patched((REPOSITORY / source).read_text(encoding="utf-8"))
    try:
        ast.parse(patched)
    except SyntaxError as error:
        raise InputError(f"mutant {mutant.id}: the patch breaks the syntax ({error.msg}): repair it") from None
    path, _, test = mutant.killed_by.partition("::")
    file, name = Path(path), test.partition("[")[0]
    is_test = file.parent.as_posix() in TESTS and file.name.startswith("test_") and (REPOSITORY / file).is_file()
    if not is_test or f"def {name}(" not in (REPOSITORY / file).read_text("utf-8"):
        raise InputError(f"mutant {mutant.id}: there is no test {mutant.killed_by}: name one that exists")
