"""The layers of the package: imports go down only. Read from the syntax tree, so lazy imports count
too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mpifl

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "mpifl"

LAYERS = [
    "__init__",
    "flat_layout lazy options regular_files seeds terminal vision",
    "config schedules",
    "parallel",
    "store",
    "data models",
    "net",
    "losses",
    "training",
    "algorithms curvature",
    "runner",
    "plan analysis",
    "sweep",
    "commands",
    "cli",
    "__main__",
]
"""`__init__` is the version, which all may ask for; what the package exports it imports on demand.

From the bottom up: a part (a file or a package of mpifl/) imports from the lines above its own,
and from itself.
"""

LAYER = {part: number for number, line in enumerate(LAYERS) for part in line.split()}

MACHINERY = {"config", "parallel", "store", "data", "runner"}
FORBIDDEN = {"losses": MACHINERY, "algorithms": MACHINERY, "curvature": MACHINERY - {"data"}}
"""parts that know nothing of MPI, files, devices or config, though they stand above them"""

SINGLE_IMPORTERS = {"mpi4py": ("parallel/mpi.py",), "h5py": ("store/", "data/packed.py")}
"""each library behind one door"""

SOURCES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
LAYERED = [source for source in SOURCES if source != "__init__.py"]
ANALYSES = sorted((REPOSITORY / "analysis").glob("*.py"))


def part_of(source: str) -> str:
    """`rounds` of rounds.py, `data` of data/partition/iid.py."""
    return source.split("/")[0].removesuffix(".py")


@cache
def imports(path: Path) -> list[str]:
    """The dotted name of everything that a file imports, wherever in the file."""
    return list(_read_imports(path))


def _read_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}, line {node.lineno}: expected an absolute import; got a relative one"
            )
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    """The parts of mpifl that a file imports from; a public name of mpifl is of its home's part,
    and what else mpifl itself has, such as its version, of `__init__`.
    """
    parts = set()
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "mpifl":
            home = mpifl._HOMES.get(rest, name)
            part = home.removeprefix("mpifl").lstrip(".").partition(".")[0]
            is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
            parts.add(part if part and is_part else "__init__")
    return parts


def test_every_part_has_a_layer():
    parts = {part_of(source) for source in LAYERED}
    assert parts <= LAYER.keys(), f"add it to LAYERS in tests/{Path(__file__).name}"


def test_a_file_imports_only_from_layers_below_its_own():
    wrong = []
    for source in LAYERED:
        part = part_of(source)
        for imported in parts_imported(PACKAGE / source) - {part}:
            if LAYER[imported] >= LAYER[part]:
                wrong.append(f"mpifl/{source} imports {imported}, which is not below {part}")
    assert wrong == []


def test_the_mathematics_knows_nothing_of_mpi_files_devices_or_config():
    known = {}
    for source in SOURCES:
        forbidden = FORBIDDEN.get(part_of(source), set())
        known[source] = parts_imported(PACKAGE / source) & forbidden
    assert {source: parts for source, parts in known.items() if parts} == {}


@pytest.mark.parametrize("library", SINGLE_IMPORTERS)
def test_a_library_has_a_single_importer(library):
    found = [
        s for s in SOURCES if any(name.split(".")[0] == library for name in imports(PACKAGE / s))
    ]
    assert [source for source in found if not source.startswith(SINGLE_IMPORTERS[library])] == []
    assert found, f"nothing imports {library}: is the rule still needed?"


def test_an_analysis_reads_runs_and_trains_nothing():
    training = {"algorithms", "losses", "training"}
    found = {path.name: parts_imported(path) & training for path in ANALYSES}
    assert {name: parts for name, parts in found.items() if parts} == {}
