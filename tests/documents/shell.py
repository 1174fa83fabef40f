"""Shell scripts whose `mpifl` is this process: bash is bash, but no Python starts for a command.

The folder `bin`, first on the script's PATH, has `mpifl` and `mpirun`. They send their words,
folder, environment and streams to a socket. Here the command runs as mpifl would, on one rank,
which gives the bits of any number of ranks.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from mpifl.cli import main

_CLIENT = """#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
if os.path.basename(sys.argv[0]) == "mpirun":
    while words and words[0].startswith("-"):
        del words[: 2 if words[0] in ("-n", "-np") else 1]
    if words[0] != "mpifl":
        os.execvp(words[0], words)
    del words[0]
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
message = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(message).to_bytes(8, "little")], [0, 1, 2])
server.sendall(message)
sys.exit(int(server.recv(16) or 1))
"""
SHORTER = {
    "hessian": {"--samples": "30", "--top": "2", "--probes": "4"},
    "landscape": {"--side": "3", "--points": "5", "--samples": "30"},
    "features": {"--samples": "50"},
}
"""options that the commands of pages get, unless they give them, so that they take no time"""


class Shell:
    """Runs scripts of bash in a folder."""

    def __init__(self, bin: Path) -> None:
        address = str(bin / "socket")
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(address)
        self._server.listen()
        for name in ("mpifl", "mpirun"):
            program = bin / name
            program.write_text(_CLIENT.format(python=sys.executable, address=address))
            program.chmod(0o755)
        self._path = f"{bin}{os.pathsep}{os.environ['PATH']}"

    def close(self) -> None:
        """Close the socket."""
        self._server.close()

    def run(self, script: str, folder: Path) -> tuple[int, str]:
        """Run a script to its end. Returns the exit code, and what was printed."""
        output = folder.with_suffix(".output")
        with open(output, "wb") as printed:
            bash = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=folder,
                env=os.environ | {"PATH": self._path},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            while bash.poll() is None:
                if select.select([self._server], [], [], 0.02)[0]:
                    self._answer()
        return bash.returncode, output.read_text(encoding="utf-8")

    def _answer(self) -> None:
        """Run one command."""
        client, _ = self._server.accept()
        with client:
            size, streams, _, _ = socket.recv_fds(client, 8, 3)
            message = client.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL)
            words, folder, environment = json.loads(message)
            with _in_place(folder, environment, streams), _paths(folder, environment):
                code = _mpifl(words)
            client.sendall(str(code).encode())


@contextlib.contextmanager
def _in_place(folder: str, environment: dict[str, str], streams: list[int]) -> Iterator[None]:
    """Take on a program's working directory, environment and streams until the end of the block."""
    before = dict(os.environ)
    with (
        contextlib.chdir(folder),
        open(streams[0], encoding="utf-8") as given,
        open(streams[1], "w", encoding="utf-8") as printed,
        open(streams[2], "w", encoding="utf-8") as errors,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(errors),
    ):
        stdin, sys.stdin = sys.stdin, given
        os.environ.clear()
        os.environ.update(environment)
        try:
            yield
        finally:
            sys.stdin = stdin
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def _paths(folder: str, environment: dict[str, str]) -> Iterator[None]:
    """Import from PYTHONPATH until the end of the block, and forget what came from the folder."""
    before = list(sys.path)
    named = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [os.path.join(folder, path) for path in named if path]
    try:
        yield
    finally:
        sys.path[:] = before
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                del sys.modules[name]


def _mpifl(words: list[str]) -> int:
    """Run `mpifl WORDS`. Returns its exit code."""
    options = SHORTER.get(words[0], {}) if words else {}
    extra = [word for pair in options.items() if pair[0] not in words for word in pair]
    try:
        main([*words, *extra], prog_name="mpifl")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        traceback.print_exc()
    return 1
