"""A private Slurm for the tests: the real daemons, from the system's packages, on loopback only.

Each node is a slurmd in UTS, mount and PID namespaces of its own: MPI sees several hosts, and what
runs on a node ends with it. All daemons end with the process that started them. That takes root;
`make slurm` installs the packages.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from slurm.configuration import GPUS, configuration

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "unshare", "setpriv")
ENDED = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
}
_PATH = f"{sys.prefix}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # a test run that is killed leaves no daemon behind

Job = dict[str, str]
"""what `scontrol show job` says of one job, or of one task of an array"""


def lacking() -> str:
    """Why there can be no cluster here; empty if there can be one."""
    if missing := [name for name in DAEMONS if not shutil.which(name, path=_PATH)]:
        return (
            f"no Slurm here: {', '.join(missing)} not found; "
            "`make slurm` installs it on Debian and Ubuntu, as root"
        )
    probe = subprocess.run(
        ["unshare", "--uts", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True
    )
    return f"no namespaces here, so no nodes: {probe.stderr.strip()}" if probe.returncode else ""


class Cluster:
    """A running Slurm of `nodes` nodes, n1, n2 ..., until `stop`."""

    def __init__(self, folder: Path, nodes: int = 2) -> None:
        self.folder = folder
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.environment = {"PATH": _PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        self._nodes: dict[str, subprocess.Popen] = {}
        self._daemons = ExitStack()
        for name in (
            "log",
            "state",
            *(f"{kind}.{node}" for kind in ("spool", "tmp") for node in self.nodes),
        ):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(configuration(folder, self.nodes))
        (folder / "gres.conf").write_text(GPUS)
        (folder / "hosts").write_text(
            "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.nodes))
        )
        (folder / "munge.key").touch(mode=0o600)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        own = {
            "key-file": "munge.key",
            "socket": "munge.sock",
            "pid-file": "munge.pid",
            "seed-file": "munge.seed",
        }
        paths = [f"--{option}={self.folder / name}" for option, name in own.items()]
        self._daemon("munged", "munged", "--foreground", "--force", *paths)
        until("munged's socket", (self.folder / "munge.sock").exists)
        self._daemon("slurmctld", "slurmctld", "-D")
        for node in self.nodes:
            self.start_node(node)

    def start_node(self, node: str) -> None:
        """Start a node's daemon, on a fresh node, and wait until Slurm would use it."""
        if node in self._nodes:
            self.kill_node(node)
        boot = (
            f"hostname {node}; mount --bind {self.folder}/hosts /etc/hosts; "
            "mount -t tmpfs -o mode=1777 tmpfs /dev/shm;"
            # what ran under a daemon that was killed runs on
            f"slurmd -D -N {node} & wait $! || sleep infinity"
        )
        own = (
            "unshare",
            "--uts",
            "--mount",
            "--ipc",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        )
        self._nodes[node] = self._daemon(f"slurmd.{node}", *own, "bash", "-ec", boot)
        state = ("sinfo", "-hN", "-n", node, "-o", "%t")  # `idle*` does not answer
        until(f"node {node}", lambda: self.command(*state).strip() in ("idle", "mix", "alloc"))

    def kill_daemon(self, node: str) -> None:
        """SIGKILL a node's slurmd. The steps that it started run on, without it."""
        for process in self.processes(node, "slurmd"):
            os.kill(process, signal.SIGKILL)

    def kill_node(self, node: str) -> None:
        """SIGKILL a node's daemon and all else that runs there, at once."""
        self._nodes[node].kill()
        self._nodes[node].wait()

    def processes(self, node: str, name: str) -> list[int]:
        """The processes of this name that run on a node."""
        [init] = _children(self._nodes[node].pid)
        place = os.readlink(f"/proc/{init}/ns/uts")
        return [process for process, comm, uts in _processes() if (comm, uts) == (name, place)]

    def command(
        self, *argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """The output of one of Slurm's commands."""
        given = {
            "env": {**(os.environ if env is None else env), **self.environment},
            "cwd": cwd,
            "text": True,
        }
        done = subprocess.run(list(map(str, argv)), capture_output=True, timeout=300, **given)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def jobs(self, job: str) -> list[Job]:
        """A job; of an array, its tasks."""
        lines = self.command("scontrol", "show", "job", "-o", job).splitlines()
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    def has_ended(self, job: str) -> bool:
        """Whether the job, or all tasks of the array, have ended for good."""
        return all(one["JobState"] in ENDED for one in self.jobs(job))

    def stop(self) -> None:
        """End the nodes with all that runs on them, then the rest."""
        self._daemons.close()

    def _daemon(self, name: str, *argv: str) -> subprocess.Popen:
        log = self._daemons.enter_context((self.folder / "log" / f"{name}.txt").open("a"))
        environment = {**os.environ, **self.environment}
        process = subprocess.Popen(
            [*_WITH_US, *argv], stdout=log, stderr=log, env=environment, cwd=self.folder
        )
        self._daemons.callback(process.wait)
        self._daemons.callback(process.kill)
        return process


def until(
    what: str,
    holds: Callable[[], object],
    timeout: float = 300,
) -> None:
    """Wait until something holds; RuntimeError if it takes too long."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {timeout:g} s for {what}")
        time.sleep(0.2)


def _processes() -> Iterator[tuple[int, str, str]]:
    """Each process with its name and UTS namespace."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            yield (
                int(folder.name),
                (folder / "comm").read_text().strip(),
                os.readlink(folder / "ns/uts"),
            )


def _children(process: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]
