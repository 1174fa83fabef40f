"""`mpifl run` on the ranks of a running job."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from mpifl.parallel.communicator import Communicator
from mpifl.runner import session
from mpifl.training import lane_choice
from mpifl.training.lane_room import LaneRoom


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


def run_that_tries_lanes(communicator: Communicator, config: Path, out: Path) -> None:
    """Run a config with more lanes each time that it may try another number."""
    always_pays = patch.object(lane_choice, "_GAIN", 1e9)
    has_room = patch.object(LaneRoom, "most", lambda self, made: 4)
    with always_pays, has_room:
        code, said = run(communicator, config, out, ["runtime.lanes=auto"], resume=False)
    assert code == 0, said
