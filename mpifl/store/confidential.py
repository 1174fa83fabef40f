"""What a run's files may say of the environment in which the run was made.

A job's environment holds secrets, such as SLURM_JWT, a login token; so may a command line. They are
not stored. Files of version 0.1.0 may hold them: readers leave them out, and `pack` writes files
without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SLURM_VARIABLES = frozenset(
    f"SLURM_{name}"
    for name in (
        "ARRAY_JOB_ID", "ARRAY_TASK_ID", "CLUSTER_NAME", "CPUS_ON_NODE", "CPUS_PER_TASK",
        "DISTRIBUTION", "GPUS", "GPUS_ON_NODE", "GPUS_PER_NODE", "GPUS_PER_TASK", "HET_SIZE",
        "JOB_CPUS_PER_NODE", "JOB_GPUS", "JOB_ID", "JOB_NAME", "JOB_NODELIST", "JOB_NUM_NODES",
        "JOB_PARTITION", "MEM_PER_CPU", "MEM_PER_GPU", "MEM_PER_NODE", "MPI_TYPE", "NTASKS",
        "NTASKS_PER_NODE", "RESTART_COUNT", "STEP_ID", "STEP_NODELIST", "STEP_NUM_NODES",
        "STEP_NUM_TASKS", "STEP_TASKS_PER_NODE", "TASKS_PER_NODE",
    )
)  # fmt: skip
"""the variables that are stored; all others are left out"""

REMOVED = "***"
"""stands in stored text where a secret was"""

_SECRET_NAME = (
    r"[\w.-]*(?:token|secret|passw|passphrase|credential|jwt|api[_-]?key|access[_-]?key)\w*"
)
_IS_SECRET_NAME = re.compile(_SECRET_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""({_SECRET_NAME}["']?\s*[=:]\s*|--?{_SECRET_NAME}\s+)("[^"]*"|'[^']*'|[^\s,"'}}\]]+)""",
    re.IGNORECASE,
)
"""NAME=VALUE, NAME: VALUE or --NAME VALUE"""
_LOGIN_IN_ADDRESS = re.compile(r"(\w+://)[^/\s@]+@")
_WEB_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_SHORTEST_SECRET = 8  # characters; a shorter value is found in much that is no secret


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` with `***` for what looks like a secret, and for the values `secrets`.

    >>> redacted("mpifl run a.toml --api-key=1234 --token abc https://me:pw@host/x rounds=3")
    'mpifl run a.toml --api-key=*** --token *** https://***@host/x rounds=3'
    """
    for secret in secrets:
        text = text.replace(secret, REMOVED)
    text = _WEB_TOKEN.sub(REMOVED, text)
    text = _LOGIN_IN_ADDRESS.sub(rf"\g<1>{REMOVED}@", text)
    return _ASSIGNED.sub(rf"\g<1>{REMOVED}", text)


def redacted_words(words: Sequence[str], secrets: Sequence[str] = ()) -> list[str]:
    """The words of a command line, as `redacted`. A word may hold spaces.

    >>> redacted_words(["run", "--password", "two words", "--token=two words", "rounds=3"])
    ['run', '--password', '***', '--token=***', 'rounds=3']
    """
    kept = []
    follows_secret_name = False
    for word in words:
        name, sign, _ = word.partition("=")
        is_secret_name = _IS_SECRET_NAME.fullmatch(name) is not None
        if follows_secret_name and not word.startswith("-"):
            kept.append(REMOVED)
        elif sign and is_secret_name:
            kept.append(f"{name}={REMOVED}")
        else:
            kept.append(redacted(word, secrets))
        follows_secret_name = is_secret_name and name.startswith("-") and not sign
    return kept


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """The values of the environment's variables whose names say that they hold a secret."""
    values = []
    for name, value in environment.items():
        if _IS_SECRET_NAME.fullmatch(name) and len(value) >= _SHORTEST_SECRET:
            values.append(value)
    return values


def publishable(facts: Mapping[str, Any], secrets: Sequence[str] = ()) -> dict[str, Any]:
    """Facts of a run's provenance without variables that are not listed, and without secrets."""
    kept = {}
    for name, value in facts.items():
        if name.startswith("SLURM_") and name not in SLURM_VARIABLES:
            continue
        kept[name] = redacted(value, secrets) if isinstance(value, str) else value
    return kept
