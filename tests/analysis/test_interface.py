"""The public names of mpifl.analysis: all there, and cheap to import."""

import ast
import inspect
import subprocess
import sys

import pytest

import mpifl.analysis as analysis


@pytest.mark.parametrize("name", analysis.__all__)
def test_a_public_name_can_be_imported(name):
    assert getattr(analysis, name) is not None
    assert name in dir(analysis)


def test_type_checkers_see_the_names_that_can_be_imported():
    tree = ast.parse(inspect.getsource(analysis))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: found.module for found in block.body for alias in found.names}
    assert seen == analysis._HOMES
    assert sorted(analysis.__all__) == sorted(seen)


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        analysis.compair  # noqa: B018


def test_a_table_from_python_imports_no_torch_and_nothing_that_draws():
    program = (
        "import sys; from mpifl.analysis import compare, group, markdown, open_runs;"
        "print({'torch', 'matplotlib', 'plotly', 'mpi4py', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
