"""Secrets of a job's environment and of command lines: stored nowhere, and published by no pack."""

from __future__ import annotations

from pathlib import Path

import pytest
from hdf5_editing import edited

from mpifl.store import Run, Store, pack
from mpifl.store.confidential import publishable, redacted, redacted_words, secret_values

TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.dG9rZW4"
OLD = {
    "SLURM_JWT": TOKEN,
    "SLURM_JOB_ID": "7",
    "SLURM_SUBMIT_DIR": "/home/somebody",
    "command": f"run.py --password hunter22 --token={TOKEN} rounds=3",
}
SECRETS = [TOKEN, "hunter22", "/home/somebody"]
KEPT = {"SLURM_JOB_ID": "7", "command": "run.py --password *** --token=*** rounds=3"}


def holding(path: Path) -> list[str]:
    """The secrets in the bytes of a file."""
    content = path.read_bytes()
    return [secret for secret in SECRETS if secret.encode() in content]


@pytest.fixture
def old(tmp_path, run) -> Path:
    """A run as version 0.1.0 stored it in a job, at its start and at a resume."""
    with edited(run / "results.h5") as file:
        file["provenance"].attrs.update(OLD)
        file["provenance"].create_group("resume_0001").attrs.update({**OLD, "round": 2})
    assert holding(run / "results.h5") == SECRETS
    return run


def test_an_old_run_opens_without_the_secrets_that_it_holds(old):
    opened = Run.open(old)
    assert {name: opened.provenance[name] for name in KEPT} == KEPT
    assert opened.provenance.keys() & OLD.keys() == KEPT.keys()
    assert list(opened.resumes) == [{**KEPT, "round": 2}]


def test_a_pack_of_an_old_run_has_its_weights_and_no_byte_of_a_secret(old, tmp_path):
    pack(old, tmp_path / "one.h5")
    assert holding(tmp_path / "one.h5") == []
    packed = Run.open(tmp_path / "one.h5")
    assert packed.provenance == Run.open(old).provenance
    assert packed.saved_rounds == [2, 4]
    assert packed.client_weights(4)[1].tolist() == Run.open(old).client_weights(4)[1].tolist()


def test_a_pack_of_an_old_pack_has_its_weights_and_no_byte_of_a_secret(old, tmp_path):
    pack(old, tmp_path / "clean.h5")
    with edited(tmp_path / "clean.h5") as file:
        file["provenance"].attrs.update(OLD)
    assert holding(tmp_path / "clean.h5") == SECRETS
    pack(tmp_path / "clean.h5", tmp_path / "again.h5")
    assert holding(tmp_path / "again.h5") == []
    again = Run.open(tmp_path / "again.h5")
    assert again.provenance == Run.open(old).provenance
    for round in (2, 4):
        for mine, theirs in zip(again.weights(round), Run.open(old).weights(round), strict=True):
            assert mine.tolist() == theirs.tolist()


def test_a_resume_removes_the_secrets_of_an_old_run(old):
    run = Run.open(old)
    given = {"config": run.config, "layout": run.layout, "round": 0, "provenance": {}}
    partition = (run.indices, run.offsets, run.label_counts)
    Store.resume(old, partition=partition, **given).close()
    assert holding(old / "results.h5") == []


def test_only_listed_variables_of_slurm_are_publishable():
    facts = {"SLURM_JWT": TOKEN, "SLURM_SPANK_KEY": "x", "SLURM_NTASKS": "4", "ranks": 4}
    assert publishable(facts) == {"SLURM_NTASKS": "4", "ranks": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--api-key abc x=1", "--api-key *** x=1"),
        ("API_KEY=abc, x=1", "API_KEY=***, x=1"),
        ("data.options={ token = 'a b', n = 1 }", "data.options={ token = ***, n = 1 }"),
        (f"login {TOKEN} now", "login *** now"),
        ("https://me:pw@host/data.h5", "https://***@host/data.h5"),
        ("my secret is MINE-42", "my secret is ***"),
        ("local.loss=ce + man(zeta=0.15)", "local.loss=ce + man(zeta=0.15)"),
        ("/data/tokens/train.h5 seed=1", "/data/tokens/train.h5 seed=1"),
        ("git@host:me/data.git", "git@host:me/data.git"),
    ],
)
def test_a_text_is_stored_without_what_looks_like_a_secret(text, expected):
    assert redacted(text, ["MINE-42"]) == expected
    assert redacted(expected, ["MINE-42"]) == expected


def test_secrets_in_words_with_spaces_are_removed_whole():
    words = ["run.py", "--password", "two words", "--token=two words", "--token", "--rounds=3"]
    kept = ["run.py", "--password", "***", "--token=***", "--token", "--rounds=3"]
    assert redacted_words(words) == kept


def test_values_of_variables_that_are_named_like_secrets_are_secrets_if_not_short():
    environment = {"WANDB_API_KEY": "0123456789", "TOKEN": "1", "HOME": "/home/somebody"}
    assert secret_values(environment) == ["0123456789"]
