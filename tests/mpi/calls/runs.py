"""`mpifl run` on the ranks of a running job."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from mpifl.parallel.communicator import Communicator
from mpifl.runner import session


def run(
    communicator: Communicator, config: Path, out: Path, assignments: Sequence[str], resume: bool
) -> tuple[int, str]:
    """The exit code of one run, and what it has said."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = session.run(communicator, str(config), assignments, session.Target(out, resume))
    return code, output.getvalue()


def run_all(communicator: Communicator, folder: Path) -> None:
    """Run each config `folder`/NAME.toml into `folder`/NAME."""
    for config in sorted(folder.glob("*.toml")):
        code, output = run(communicator, config, folder / config.stem, [], resume=False)
        assert code == 0, output
