"""No file that is read can run code: nothing loads a pickle, or evaluates text, by whatever name.

CIFAR's own files are pickles; torchvision compares their MD5 with those that it knows before it
loads one.
"""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import overwrite

from mpifl.data.sources import SOURCES
from mpifl.options import BadInput

REPOSITORY = Path(__file__).parent.parent
FILES = [
    path
    for folder in ("mpifl", "analysis", "benchmarks")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
]
RUNS_PLUGINS = "mpifl/runner/plugin_code.py"
"""the one file that runs text from elsewhere: plugins that the user has named"""
RUNS_RECORDED_CALLS = "mpifl/training/replay.py"
"""it writes torch's calls down as text of its own, and runs that"""
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "pandas",
    "yaml",
}
LOADERS = {"torch.load", "np.load", "numpy.load", "torch.hub", "torch.jit.load", "torch.package"}
BUILTINS = {"eval", "exec", "compile", "__import__"}


def dangers(source: str) -> Iterator[str]:
    """What in a source could load a pickle or run text.

    `np.load(..., allow_pickle=False)` cannot, nor what is given `weights_only=True`.
    """
    nodes = list(ast.walk(ast.parse(source)))
    safe: list[ast.AST] = []
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            called = ast.unparse(node.func)
            given = f"{keyword.arg}={ast.unparse(keyword.value)}"
            of_numpy = called in ("np.load", "numpy.load") and given == "allow_pickle=False"
            if of_numpy or given == "weights_only=True":
                safe += [keyword, node.func]
    for node in nodes:
        if node in safe:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in names if name.split(".")[0] in MODULES or name in LOADERS)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in LOADERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.id
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            yield f"{node.arg}="


def test_no_source_loads_a_pickle_or_runs_text_but_two():
    found = {}
    for path in FILES:
        if dangers_in_it := list(dangers(path.read_text(encoding="utf-8"))):
            found[str(path.relative_to(REPOSITORY))] = dangers_in_it
    assert found == {RUNS_PLUGINS: ["compile", "exec"], RUNS_RECORDED_CALLS: ["exec"]}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads as l",
        "import os, dill.session",
        "from torch import load",
        "import torch\ntorch.load('x')",
        "read = numpy.load",
        "np.lib.format.read_array(f, allow_pickle=True)",
        "torch.hub.load('x')",
        "torch.load('x', weights_only=False)",
        "torch.load('x', weights_only=trusted)",
        "eval('1')",
    ],
)
def test_the_reading_finds_each_way(source):
    assert list(dangers(source))


class Harmful:
    """Touches a file when it is loaded from a pickle."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifars_pickles_are_not_loaded_unless_they_are_the_known_ones(tmp_path, name):
    folder = tmp_path / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    folder.mkdir()
    batches = [f"data_batch_{i}" for i in range(1, 6)]
    for file in [*batches, "test_batch", "batches.meta", "train", "test", "meta"]:
        overwrite(folder / file, pickle.dumps(Harmful(tmp_path / "harmed")))
    with pytest.raises(BadInput):
        SOURCES[name].load(tmp_path)
    assert not (tmp_path / "harmed").exists()
    pickle.loads((folder / "meta").read_bytes())
    assert (tmp_path / "harmed").exists()
