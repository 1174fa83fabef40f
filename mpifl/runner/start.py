"""Where a run starts: `init` names the weights of another run, or of a file.

A tensor goes to the one of the same name. A network with LoRA takes weights without, and keeps its
own A and B. Files may call all names "module.NAME", and may have the weights under "state_dict".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpifl import vision
from mpifl.config import expanded
from mpifl.models.lora import LowRank
from mpifl.models.torchvision_networks import Torchvision
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.runner.schema import Config
from mpifl.store import Run

_TORCHVISION = "torchvision:"
_ORIGINAL = re.compile(r"\.parametrizations(\.\w+)\.original$")
"""the end of a weight's name, where LoRA is added to it"""
_PREFIX = "module."
_NESTED = ("state_dict", "model_state_dict", "model")
_SHOWN = 5


def load_start(config: Config, net: Net) -> None:
    """Copy the weights that `config.init` names into `net`. Raises BadInput where they do not fit.

    With `init_head = "fresh"` the classifier keeps its own.
    """
    if not config.init:
        return
    _copy(_found(config), net, config)


def _found(config: Config) -> dict[str, Tensor]:
    """The tensors that `init` names, by name."""
    if config.init.startswith(_TORCHVISION):
        return _of_torchvision(config.init.removeprefix(_TORCHVISION), config)
    path = expanded(config.init, "init")
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return _of_torch(path)
    return _of_run(path)


# --- where weights come from --------------------------------------------------------------------


def _of_run(path: Path) -> dict[str, Tensor]:
    """Those of a run, after its last stored round, or after ROUND where the path is RUN@ROUND."""
    round = None
    text = str(path)
    if not path.exists():
        place, _, number = text.rpartition("@")
        if place and number.isdecimal():
            path = Path(place)
            round = int(number)
    if not path.exists():
        raise BadInput(
            f"init: expected a run, RUN@ROUND, or a file of weights (.safetensors, .pt); got "
            f"{text!r}, which is not there"
        )
    run = Run.open(path)
    weights, buffers = run.weights(round)
    vectors = {"parameter": weights, "buffer": buffers, "frozen": run.frozen()}
    found = {}
    for entry in run.layout:
        values = vectors[entry.kind][entry.offset : entry.offset + entry.size]
        found[entry.name] = torch.from_numpy(values.reshape(entry.shape).copy())
    return found


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BadInput(
            f"init: expected safetensors, which reads {path.name}; got: {error}; "
            "`pip install 'mpifl[weights]'`"
        ) from error
    return _read(path, lambda: load_file(path))


def _of_torch(path: Path) -> dict[str, Tensor]:
    """Only tensors are read: a file whose pickle would run code is refused."""
    return _read(path, lambda: torch.load(path, map_location="cpu", weights_only=True))


def _of_torchvision(name: str, config: Config) -> dict[str, Tensor]:
    if not isinstance(config.model, Torchvision):
        raise BadInput(
            f"init: expected weights of torchvision for a network of torchvision; got "
            f"{config.model.name}"
        )
    models = vision.torchvision().models
    known = models.get_model_weights(config.model.arch)
    if name not in known.__members__:
        raise BadInput(
            f"init: expected weights that torchvision has for {config.model.arch}; got {name!r}; "
            f"allowed: {', '.join(known.__members__)}"
        )
    url = known[name].url
    try:
        return known[name].get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:
        raise BadInput(
            f"init: expected a network that reaches {url}; got: {error}; fetch it elsewhere, and "
            'give its path: init = "FILE.pth"'
        ) from error


def _read(path: Path, load: Callable[[], Any]) -> dict[str, Tensor]:
    expected = f"init: expected tensors by name in {path}"
    try:
        content = load()
    except FileNotFoundError:
        raise BadInput(f"{expected}; got no such file") from None
    except Exception as error:  # a damaged file raises anything
        if type(error).__name__ == "UnpicklingError":
            raise BadInput(
                f"{expected}; got a pickle with other things, which could run code and was not "
                "loaded; torch.save(network.state_dict(), FILE) writes tensors alone"
            ) from None
        raise BadInput(f"{expected}; got {type(error).__name__}: {_first_line(error)}") from None
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(k, str) for k in content):
        raise BadInput(f"{expected}; got {type(content).__name__}")
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if found and all(name.startswith(_PREFIX) for name in found):  # saved by DataParallel
        found = {name.removeprefix(_PREFIX): value for name, value in found.items()}
    return found


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())


# --- where they go ------------------------------------------------------------------------------


def _copy(found: Mapping[str, Tensor], net: Net, config: Config) -> None:
    head = f"{net.module.classifier}."
    is_fresh = config.init_head == "fresh" and net.module.classifier
    missing = []
    used = set()
    for name, target in net.tensors().items():
        source = name if name in found else _ORIGINAL.sub(r"\1", name)
        is_of_head = bool(net.module.classifier) and name.startswith(head)
        if is_of_head and is_fresh:
            used.add(source)
            continue
        if source not in found:
            if not _is_of_lora(name, net):
                missing.append(name)
            continue
        used.add(source)
        _check_shape(name, target, found[source], is_of_head)
        target.copy_(found[source])
    left = []
    for name, value in found.items():
        is_of_fresh_head = bool(is_fresh) and name.startswith(head)
        if name not in used and value.is_floating_point() and not is_of_fresh_head:
            left.append(name)
    if missing or left:
        raise BadInput(
            f"init: expected the tensors of {config.model.name} in {config.init}; got a file "
            f"{_listed('without', missing)}{_listed('with', left)}"
        )


def _is_of_lora(name: str, net: Net) -> bool:
    owner, _, _ = name.rpartition(".")
    return isinstance(net.module.get_submodule(owner), LowRank)


def _check_shape(name: str, target: Tensor, source: Tensor, is_of_head: bool) -> None:
    if target.shape == source.shape:
        return
    hint = ""
    if is_of_head:
        hint = '; it is of the classifier: init_head = "fresh" draws a new one'
    raise BadInput(
        f"init: {name}: expected shape {list(target.shape)}; got {list(source.shape)}{hint}"
    )


def _listed(word: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{word} {', '.join(names[:_SHOWN])}{more} "
