"""The configuration of the tests' Slurm: no cgroups and no database, every pause as short as may
be.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

GPUS = "Name=gpu File=/dev/null,/dev/zero\n"
"""gres.conf: any devices will do, for there is nothing on them, but jobs are given them"""
_CPUS = 16  # more than there are: the ranks take turns


def configuration(folder: Path, nodes: list[str]) -> str:
    """slurm.conf, of nodes that all are this machine."""
    host, user = socket.gethostname().split(".")[0], Path("/proc/self").owner()
    ports = list(_free_ports(1 + len(nodes)))
    lines = {
        "ClusterName": "tests",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        # a requeued job waits that long; else 120 s
        "AuthInfo": f"socket={folder}/munge.sock,cred_expire=5",
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": f"{folder}/spool.%n",
        "TmpFS": f"{folder}/tmp.%n",  # one folder for the PMIx of two nodes would not do
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": f"{folder}/slurmd.%n.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",  # nodes of more cores than the machine has
        "MpiDefault": "none",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=2,bf_interval=2",
        "GresTypes": "gpu",
        "ReturnToService": 2,
        "SlurmdTimeout": 60,  # then a node that is silent is down, and its jobs start elsewhere
        "InactiveLimit": 0,
        "KillWait": 120,  # longer than ranks take to end by themselves
        "MinJobAge": 3600,
    }
    rows = [f"{key}={value}" for key, value in lines.items()]
    node = (
        f"NodeName={{}} NodeHostname={host} NodeAddr=127.0.0.1 Port={{}} CPUs={_CPUS} "
        "RealMemory=64000 Gres=gpu:2"
    )
    rows += map(node.format, nodes, ports[1:])
    rows.append(f"PartitionName=main Nodes={','.join(nodes)} Default=YES State=UP")
    return "\n".join(rows) + "\n"


def _free_ports(count: int) -> Iterator[int]:
    with ExitStack() as held:
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            yield listener.getsockname()[1]
