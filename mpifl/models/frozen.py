"""Which weights of a network train: `model.trainable` and `model.lora`.

The others are frozen: they are in no flat vector, so in no message and no Hessian. A norm whose
scale and shift are frozen keeps its running statistics too, and uses them in training.
"""

from __future__ import annotations

from torch import nn

from mpifl.models.base import Architecture
from mpifl.models.lora import LowRank
from mpifl.models.network import Network
from mpifl.models.patterns import matches, refuse_unmatched
from mpifl.options import BadInput


def freeze(network: Network, model: Architecture) -> None:
    """Freeze the weights of `network` that do not train, by `requires_grad`.

    Raises BadInput where the options fit no weights.
    """
    _check(network, model)
    for name, parameter in network.named_parameters():
        if not is_trained(name, network, model):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BadInput(
            f"model: expected a network with weights that train; got {model.name} without"
        )
    fixed = []
    for name, module in network.named_modules():
        if module is not network and _is_fixed(name, module, network, model):
            fixed.append(name)
    network.fixed = tuple(fixed)
    network.train(network.training)


def is_trained(name: str, network: Network, model: Architecture) -> bool:
    """Whether the options want the parameter or buffer `name` to train."""
    if model.lora.rank:
        return model.lora.is_trained(name, network)
    if model.trainable == "all":
        return True
    if model.trainable == "head":
        return name.startswith(f"{network.classifier}.")
    return matches(name, model.trainable)


def _is_fixed(name: str, module: nn.Module, network: Network, model: Architecture) -> bool:
    """Whether a module has running statistics, and they are to stay as they are."""
    statistics = []
    for leaf, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point() and leaf not in module._non_persistent_buffers_set:
            statistics.append(f"{name}.{leaf}")
    if not statistics:
        return False
    own = list(module.parameters(recurse=False))
    if own:
        return not any(parameter.requires_grad for parameter in own)
    return not any(is_trained(buffer, network, model) for buffer in statistics)


def _check(network: Network, model: Architecture) -> None:
    names = [name for name, _ in network.named_parameters()]
    if model.lora.rank:
        if model.trainable != "all":
            raise BadInput(
                "model.trainable: expected all with model.lora, which says itself what trains; got "
                f"{model.trainable!r}; model.lora.head = true trains the classifier too"
            )
        if not any(isinstance(module, LowRank) for module in network.modules()):
            raise BadInput(
                f"model.lora: expected a network with linear layers beside its classifier; got "
                f"{model.name} without"
            )
    elif model.trainable == "head":
        head = f"{network.classifier}."
        if not network.classifier or not any(name.startswith(head) for name in names):
            raise BadInput(
                f"model.trainable: expected for head a network whose logits a linear layer makes; "
                f"got {model.name} without; name its weights by patterns"
            )
    elif model.trainable != "all":
        refuse_unmatched("model.trainable", model.trainable, names)
