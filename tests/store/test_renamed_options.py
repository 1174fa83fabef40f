"""A run that was begun before an option was renamed goes on under the option's new name."""

import numpy as np
import pytest

from mpifl.config import of_run
from mpifl.options import BadInput
from mpifl.store import Run, Store, checkpoint, compatibility

OLD = """
rounds = 2

[algorithm]
name = "fedavg"

[algorithm.server_step]
name = "sgd"
lr = 1.0
momentum = 0.5
"""
NEW = OLD.replace("server_step", "server_optimizer")

DIGEST_BEFORE = "0e03638c4e1aff7d7e07ade7b5626bbf60a89cd492f4c2ddc4f6613fd1cddad2"
"""of OLD, made by version 0.1.0, which stores it with each checkpoint"""


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old name", "new name"])
def test_the_digest_is_that_of_the_version_before(text):
    assert compatibility.digest(text) == DIGEST_BEFORE


@pytest.mark.parametrize("old", [OLD, NEW], ids=["old name", "new name"])
@pytest.mark.parametrize("new", [OLD, NEW], ids=["old name", "new name"])
def test_a_text_with_the_old_name_is_the_same_as_one_with_the_new(old, new):
    compatibility.check_same("run", old, new)
    changed = new.replace("momentum = 0.5", "momentum = 0.9")
    assert compatibility.digest(changed) != DIGEST_BEFORE
    with pytest.raises(BadInput, match="algorithm.server_optimizer.momentum: expected 0.5"):
        compatibility.check_same("run", old, changed)


BEFORE_MOON = 'local.loss = "ce(smoothing=0.0) + moon(mu=1.0, tau=0.5)"'
MOON_DIGEST_BEFORE = "79160af7d478ecdced174efef766748843f685e4e8af1d345465214991d84e3a"
"""of BEFORE_MOON, made before `moon` had the option `first`"""


def moon(first):
    return BEFORE_MOON.replace("0.5)", f"0.5, first='{first}')")


def test_moon_of_before_is_the_moon_that_has_no_model_at_first():
    compatibility.check_same("run", BEFORE_MOON, moon("none"))
    for text in (BEFORE_MOON, moon("none")):
        assert compatibility.digest(text) == MOON_DIGEST_BEFORE
    assert of_run(BEFORE_MOON, "run") == of_run(moon("none"), "run")


def test_moon_of_before_is_not_resumed_with_the_initial_model():
    assert compatibility.digest(moon("initial")) != MOON_DIGEST_BEFORE
    assert of_run(moon("initial"), "run") != of_run(BEFORE_MOON, "run")
    with pytest.raises(BadInput, match=r"local.loss: expected .*tau=0.5\)'.*first='initial'"):
        compatibility.check_same("run", BEFORE_MOON, moon("initial"))


def drawn(clients, draw=""):
    text = f'clients = {clients}\n[participation]\nkind = "fixed"\nfraction = 0.1\n'
    return text + f'draw = "{draw}"\n' if draw else text


def test_a_run_of_many_clients_keeps_the_draw_of_cohorts_of_before():
    few = drawn(10_000)
    assert of_run(few, "run")["participation"]["draw"] == "sample"
    compatibility.check_same("run", few, drawn(10_000, "sample"))
    assert compatibility.digest(few) == compatibility.digest(drawn(10_000, "sample"))
    many = drawn(10_001)
    assert of_run(many, "run")["participation"]["draw"] == "permutation"
    compatibility.check_same("run", many, drawn(10_001, "permutation"))
    assert compatibility.digest(many) == compatibility.digest(drawn(10_001, "permutation"))
    with pytest.raises(BadInput, match="participation.draw: expected 'permutation'.*got 'sample'"):
        compatibility.check_same("run", many, drawn(10_001, "sample"))


def test_a_run_begun_with_the_old_name_is_resumed_twice_with_the_new(tmp_path, create, add_round):
    store = create(tmp_path / "run", config=OLD)
    for round in (1, 2):
        add_round(store, round)
        part = checkpoint.write_part(store.folder, round, 0, {}, store.owner.check)
        store.checkpoint(round, {"w": np.zeros(10, "f4")}, [part])
        store.close("stopped")
        run = Run.open(store.folder)
        store = Store.resume(
            store.folder,
            config=NEW,
            layout=run.layout,
            partition=(run.indices, run.offsets, run.label_counts),
            round=round,
            provenance={"ranks": 1},
        )
    store.close()
    assert Run.open(store.folder).config == NEW
