"""Where a run starts: from another run, from a file of weights, from a part of either."""

import os
from importlib.util import find_spec

import pytest
import torch

import mpifl
from mpifl.analysis.models.reload import reload_run
from mpifl.analysis.models.stored import select_rounds
from mpifl.config import merge
from mpifl.options import BadInput
from mpifl.store.packing import pack
from tests.tiny import RUN

VIT = {"name": "vit", "depth": 1, "dim": 8, "heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the run `first`, of two rounds, which are stored."""
    folder = tmp_path_factory.mktemp("runs")
    trained(folder / "first", results={"weights_every": 1})
    return folder


def trained(out, resume=False, **raw):
    return mpifl.run(merge(RUN, raw), out=out, resume=resume, quiet=True)


def tensors(path, round):
    reloaded = reload_run(mpifl.open(path))
    return reloaded.load(*reloaded.weights(round)).tensors()


def same(some, others):
    return some.keys() == others.keys() and all(torch.equal(t, others[n]) for n, t in some.items())


@pytest.mark.parametrize("suffix, round", [("", 2), ("@1", 1), ("/results.h5", 2)])
def test_round_0_is_the_other_runs_weights_to_the_bit(folder, tmp_path, suffix, round):
    run = trained(tmp_path / "run", init=f"{folder}/first{suffix}")
    expected = mpifl.open(folder / "first").weights(round)
    for vector, other in zip(run.weights(0), expected, strict=True):
        assert (vector == other).all()
    assert select_rounds(run, "best") != [0]


def save_torch(values, path):
    torch.save({"state_dict": {f"module.{n}": t.clone() for n, t in values.items()}}, path)


def save_safetensors(values, path):
    if find_spec("safetensors") is None:
        pytest.skip("safetensors is not installed")
    from safetensors.torch import save_file

    save_file({name: tensor.clone() for name, tensor in values.items()}, path)


@pytest.mark.parametrize(
    "save, name", [(save_torch, "w.pt"), (save_torch, "w.pth"), (save_safetensors, "w.safetensors")]
)
def test_round_0_is_a_files_weights_to_the_bit(folder, tmp_path, save, name):
    values = tensors(folder / "first", 2)
    save(values, tmp_path / name)
    trained(tmp_path / "run", init=f"{tmp_path}/{name}")
    assert same(tensors(tmp_path / "run", 0), values)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"head.classifier.weight": Harmful()}, tmp_path / "w.pt")
    with pytest.raises(BadInput, match="got a pickle with other things, which could run code"):
        trained(tmp_path / "run", init=f"{tmp_path}/w.pt")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "run").exists()


def test_a_head_of_another_size_is_refused_unless_it_is_fresh(folder, tmp_path):
    data = {"options": {"classes": 5}}
    with pytest.raises(BadInput, match=r"shape \[5, 192\]; got \[4, 192\].* init_head = \"fresh\""):
        trained(tmp_path / "run", init=f"{folder}/first", data=data)
    trained(tmp_path / "run", init=f"{folder}/first", data=data, init_head="fresh")
    trained(tmp_path / "drawn", data=data)
    found, drawn = tensors(tmp_path / "run", 0), tensors(tmp_path / "drawn", 0)
    for name, tensor in tensors(folder / "first", 2).items():
        is_head = name.startswith("head.classifier.")
        assert torch.equal(found[name], drawn[name] if is_head else tensor)


@pytest.mark.parametrize(
    "raw, message",
    [
        ({"init": "nowhere"}, "init: expected a run, RUN@ROUND, or a file of weights"),
        ({"init": "{}/first@9"}, r"expected one of the saved rounds \[1, 2\]; got 9"),
        ({"init": "{}/first", "model": "mlp"}, "init: "),
        ({"init": "{}/first", "model": {"norm": "group"}}, "got a file without convolutions.0.n"),
        ({"init": "no.pt"}, "init: expected tensors by name in no.pt; got no such file"),
        ({"init": "torchvision:X"}, "for a network of torchvision; got cnn"),
        ({"init_head": "fresh"}, "init_head: expected init with it"),
    ],
)
def test_what_cannot_be_a_start_is_refused_in_one_line(folder, tmp_path, raw, message):
    if "init" in raw:
        raw = {**raw, "init": raw["init"].replace("{}", str(folder))}
    with pytest.raises(BadInput, match=message) as error:
        trained(tmp_path / "run", **raw)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_torchvisions_weights_are_known_by_name(tmp_path):
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    raw = {"model": "torchvision", "data": {"options": {"shape": [3, 32, 32]}}}
    with pytest.raises(BadInput, match="allowed: IMAGENET1K_V1"):
        trained(tmp_path / "run", init="torchvision:IMAGENET21K", **raw)


@pytest.mark.slow
def test_lora_starts_from_weights_without_it(folder, tmp_path):
    trained(tmp_path / "base", model=VIT)
    trained(tmp_path / "run", model={**VIT, "lora": {"rank": 2}}, init=str(tmp_path / "base"))
    base, found = tensors(tmp_path / "base", 2), tensors(tmp_path / "run", 0)
    name = "encoders.0.up.weight"
    assert torch.equal(found["encoders.0.up.parametrizations.weight.original"], base[name])
    again = trained(
        tmp_path / "again", model={**VIT, "lora": {"rank": 2}}, init=str(tmp_path / "run")
    )
    assert (again.weights(0)[0] == mpifl.open(tmp_path / "run").weights(2)[0]).all()


def test_frozen_weights_are_stored_once_and_found_again_in_a_packed_file(folder, tmp_path):
    run = trained(tmp_path / "run", model={"trainable": "head"}, init=f"{folder}/first@1")
    assert run.saved_rounds == [0, 2] and len(run.frozen()) == 280_708 - 772
    first, last = tensors(tmp_path / "run", 0), tensors(tmp_path / "run", 2)
    assert same(first, tensors(folder / "first", 1))
    pack(tmp_path / "run", tmp_path / "packed.h5")
    packed = tensors(tmp_path / "packed.h5", 2)
    assert same(packed, last) and not same(first, last)
    name = "convolutions.0.layer.weight"
    assert torch.equal(first[name], last[name])


@pytest.mark.slow
def test_a_resume_takes_the_same_start_from_any_path_and_refuses_another(folder, tmp_path):
    frozen = {"model": {"trainable": ["head"]}}
    trained(tmp_path / "run", init=f"{folder}/first@1", **frozen)
    save_torch(tensors(folder / "first", 1), tmp_path / "w.pt")
    whole = trained(tmp_path / "whole", init=f"{folder}/first@1", rounds=3, **frozen)
    again = {"resume": True, "rounds": 3, **frozen}
    with pytest.raises(BadInput, match="init: expected the weights that the run was begun with"):
        trained(tmp_path / "run", init=f"{folder}/first@2", **again)
    with pytest.raises(BadInput, match="init: expected 'weights', as the run was begun; got ''"):
        trained(tmp_path / "run", **again)
    with pytest.raises(BadInput, match="init: expected '', as the run was begun; got 'weights'"):
        trained(folder / "first", init=f"{folder}/first", resume=True, rounds=3)
    run = trained(tmp_path / "run", init=f"{tmp_path}/w.pt", **again)
    assert run.saved_rounds == [0, 2, 3]
    assert (run.weights()[0] == whole.weights()[0]).all()
