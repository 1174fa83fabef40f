"""Runs of networks from elsewhere: trained, and never built only because a run says so."""

import sys
from importlib.util import find_spec

import pytest
import torch

import mpifl
from mpifl.analysis.models.reload import reload_run
from mpifl.config import merge
from mpifl.curvature import Curvature, Objective
from mpifl.models import module
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner import schema
from tests.tiny import RUN, alone, batch, digests

MINE = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("imported").touch()

def build(classes, channels, size):
    features = 4 * size[0] * size[1]
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=None), nn.ReLU(),
        nn.Dropout(0.3), nn.Flatten(), nn.Linear(features, 8), nn.GELU(), nn.Linear(8, classes),
    )
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The name of a module of the user's, which nobody has named yet."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)
    module._ALLOWED.discard(name)


def test_a_factorys_network_trains_and_a_reader_must_name_it(mine, tmp_path, monkeypatch):
    raw = {"model": {"name": "module", "factory": f"{mine}:build"}}
    run = mpifl.run(merge(RUN, raw), out=tmp_path / "run", quiet=True)
    forget(mine)
    (tmp_path / "imported").unlink()
    source = tmp_path / f"{mine}.py"
    source.write_text(source.read_text() + "# edited since\n")
    with pytest.raises(BadInput, match=f"which only a run names; .* set MPIFL_FACTORIES={mine}"):
        reload_run(run)
    with pytest.raises(BadInput, match="expected a module that you have named, since a run may"):
        mpifl.run(tmp_path / "run", out=tmp_path / "again", quiet=True)
    assert not (tmp_path / "imported").exists() and mine not in sys.modules
    monkeypatch.setenv("MPIFL_FACTORIES", mine)
    reloaded = reload_run(run)
    net = reloaded.load(*run.weights())
    assert (tmp_path / "imported").exists() and net.module.hidden_layers.count == 2


def forget(name):
    """As in a new process."""
    sys.modules.pop(name, None)
    module._ALLOWED.clear()


def test_a_reader_calls_a_factory_whose_text_the_user_has_trained_with(mine, tmp_path):
    raw = {"model": {"name": "module", "factory": f"{mine}:build"}}
    run = mpifl.run(merge(RUN, raw), out=tmp_path / "run", quiet=True)
    forget(mine)
    assert reload_run(run).net.module.hidden_layers.count == 2
    forget(mine)
    assert mpifl.run(tmp_path / "run", out=tmp_path / "again", quiet=True).status == "complete"


@pytest.mark.parametrize("of_command_line", [False, True])
def test_a_config_on_disk_or_the_command_line_names_a_factory(mine, tmp_path, of_command_line):
    text = "" if of_command_line else f'model = {{ name = "module", factory = "{mine}:build" }}'
    (tmp_path / "c.toml").write_text(text)
    words = ["model=module", f"model.factory={mine}:build"] if of_command_line else []
    config = schema.resolve(schema.raw(str(tmp_path / "c.toml"), words))
    assert config.model.build((1, 8, 8), 3).hidden_layers.count == 2


TINY_VIT = {"depth": 1, "embed_dim": 12, "num_heads": 2, "patch_size": 8}
NETWORKS = {
    "torchvision": {"name": "torchvision", "arch": "resnet18", "options": {"width_per_group": 64}},
    "timm": {"name": "timm", "options": TINY_VIT},
}


def needs(package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def raw_of(package, **sections):
    shape = [3, 32, 32] if package == "torchvision" else [3, 16, 16]
    data = {"options": {"shape": shape, "classes": 3, "train": 9, "test": 4}}
    local = {"steps": 1, "batch": 3, "lr": 1e-3, "loss": "ce + man", "gradient": "sam"}
    return {
        "model": NETWORKS[package],
        "data": data,
        "rounds": 1,
        "local": local,
        "algorithm": "feddyn",
        **sections,
    }


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted(NETWORKS))
def test_a_librarys_network_trains_with_man_sam_and_feddyn_and_has_a_hessian(package, tmp_path):
    needs(package)
    run = mpifl.run(merge(RUN, raw_of(package)), out=tmp_path / "run", quiet=True)
    reloaded = reload_run(run)
    net = Net(reloaded.load(*run.weights()).module.double())
    x, y = batch(2, reloaded.dataset.shape)
    objective = Objective(net, [(x, y % 3)])
    operator = Curvature(objective, net.weights)
    direction = torch.randn(
        2, len(net.weights), generator=torch.Generator().manual_seed(0)
    ).double()
    products = operator.block(direction)
    assert products.isfinite().all() and products.any()
    torch.testing.assert_close(products[0] @ direction[1], products[1] @ direction[0])
    step = 1e-6 / direction[0].norm()
    ahead = objective.gradient(net.weights + step * direction[0])[1]
    behind = objective.gradient(net.weights - step * direction[0])[1]
    slope = (ahead - behind) / (2 * step)
    assert (slope - products[0]).norm() < 1e-3 * products[0].norm()


@pytest.mark.parametrize("term, gradient", [("man", "plain"), ("man(site='pre')", "sam")])
def test_a_term_of_strength_0_changes_no_bit_of_a_network_with_dropout(mine, term, gradient):
    module.allow({"model": {"factory": mine}})
    raw = {"model": {"name": "module", "factory": f"{mine}:build"}, "local": {"gradient": gradient}}
    plain = digests(raw, alone())
    none = term.replace("man", "man(zeta=0)") if "(" not in term else term.replace(")", ", zeta=0)")
    raw["local"]["loss"] = f"ce + {none}"
    assert digests(raw, alone()) == plain
    raw["local"]["loss"] = f"ce + {term}"
    assert digests(raw, alone()) != plain


def test_what_a_network_has_not_is_refused_by_name(mine):
    raw = {"name": "module", "factory": f"{mine}:build"}
    for loss in ("fedalign", "man(layers='stages')", "moon"):
        with pytest.raises(BadInput, match="local.loss: .* needs a model with .*; got module"):
            schema.resolve(merge(RUN, {"model": raw, "local": {"loss": f"ce + {loss}"}}))
