"""What sets one method apart from others, in few words: for legends and tables."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

Options = dict[str, Any]
"""a config with one dotted key an option: {"local.lr": 0.1, ...}"""

_LOSS = "local.loss"
_PLAIN = ("ce", "plain", "constant")
"""names that go without saying in a label"""


def label(method: Options, methods: Sequence[Options]) -> str:
    """What sets `method` apart from the other `methods`, in words; "" where it has nothing of its
    own.

    An option of a named part counts where methods with a part of the same name differ in it: mu of
    fedprox goes without saying beside fedavg, not beside fedprox with another mu.

    >>> feddyn = {"algorithm.name": "feddyn", "algorithm.alpha": 0.1, "local.lr": 0.1}
    >>> label(feddyn, [feddyn, {"algorithm.name": "fedavg", "local.lr": 0.1}])
    'feddyn'
    >>> label(feddyn, [feddyn, feddyn | {"algorithm.alpha": 0.01}])
    'alpha=0.1'
    >>> label(feddyn | {"local.loss": "ce"}, [feddyn | {"local.loss": "man"}, {"algorithm.name": "fedavg"}])
    'feddyn, lr=0.1'

    Of a loss, options in which all agree are left out:

    >>> losses = ["ce(a=0)", "ce(a=0) + man(zeta=1, b=2)", "ce(a=0) + man(zeta=2, b=2)"]
    >>> [label({"local.loss": loss}, [{"local.loss": loss} for loss in losses]) for loss in losses]
    ['ce', 'ce + man(zeta=1)', 'ce + man(zeta=2)']
    """
    method, methods = _short(method, methods), [_short(other, methods) for other in methods]
    telling = _without_plain([key for key in method if _tells(key, method, methods)], method)
    leaves = [key.rpartition(".")[2] for key in telling]
    return ", ".join(
        _text(leaf if leaves.count(leaf) == 1 else key, leaf, method[key])
        for key, leaf in zip(telling, leaves, strict=True)
    )


def _tells(key: str, method: Options, methods: Sequence[Options]) -> bool:
    parts = key.split(".")
    above = len(parts) - 1 - (parts[-1] in ("name", "kind"))
    names = [".".join([*parts[:i], name]) for i in range(1, above + 1) for name in ("name", "kind")]
    peers = [
        other for other in methods if all(other.get(name) == method.get(name) for name in names)
    ]
    return any(repr(other.get(key)) != repr(method[key]) for other in peers)


def _without_plain(keys: list[str], method: Options) -> list[str]:
    """The keys without those that say "as usual", unless nothing else is left."""
    rest = [
        key
        for key in keys
        if method[key] not in _PLAIN or key.rpartition(".")[2] not in ("name", "loss")
    ]
    return rest or keys


def _text(key: str, leaf: str, value: Any) -> str:
    if leaf in ("name", "kind", "loss"):
        return str(value)
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key}={'+'.join(map(str, value)) if isinstance(value, tuple) else value}"


def _short(method: Options, methods: Sequence[Options]) -> Options:
    """With the loss's text without the options in which all `methods` that have the term agree."""
    if not isinstance(method.get(_LOSS), str):
        return method
    known: dict[tuple[str, str], set[str]] = {}
    for other in methods:
        for call in _calls(_tree(other.get(_LOSS, ""))):
            for option in call.keywords:
                known.setdefault((ast.unparse(call.func), str(option.arg)), set()).add(
                    ast.unparse(option.value)
                )
    tree = _tree(method[_LOSS])
    for call in _calls(tree):
        call.keywords = [
            o for o in call.keywords if len(known.get((ast.unparse(call.func), str(o.arg)), ())) > 1
        ]
    return method | {_LOSS: ast.unparse(tree).replace("()", "")}


def _tree(loss: Any) -> ast.AST:
    """The syntax of a loss; its text as it is where that is none."""
    try:
        return ast.parse(str(loss), mode="eval")
    except SyntaxError:
        return ast.Constant(loss)


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def distinct(labels: list[str], names: list[str]) -> list[str]:
    """Labels, with the config's name where a label is empty or not the only one, and a number where
    that is not.
    """
    labels = [
        text if text and labels.count(text) == 1 else name
        for text, name in zip(labels, names, strict=True)
    ]
    return [
        text if labels.count(text) == 1 else f"{text} ({labels[: i + 1].count(text)})"
        for i, text in enumerate(labels)
    ]
