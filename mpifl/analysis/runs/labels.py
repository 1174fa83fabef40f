"""Labels for legends and tables: what sets one method apart from others, in a few words."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

Options = dict[str, Any]
"""options by dotted key: {"local.lr": 0.1, ...}"""

_LOSS = "local.loss"
_PLAIN = ("ce", "plain", "constant")
"""names that are left out of a label"""


def label(method: Options, methods: Sequence[Options]) -> str:
    """What sets `method` apart from the other `methods`; "" where nothing does.

    An option of a named part counts only where methods with a part of the same name differ in it:
    mu of fedprox is left out beside fedavg, but not beside fedprox with another mu.

    >>> feddyn = {"algorithm.name": "feddyn", "algorithm.alpha": 0.1, "local.lr": 0.1}
    >>> label(feddyn, [feddyn, {"algorithm.name": "fedavg", "local.lr": 0.1}])
    'feddyn'
    >>> label(feddyn, [feddyn, feddyn | {"algorithm.alpha": 0.01}])
    'alpha=0.1'
    >>> others = [feddyn | {"local.loss": "man"}, {"algorithm.name": "fedavg"}]
    >>> label(feddyn | {"local.loss": "ce"}, others)
    'feddyn, lr=0.1'

    Of a loss, options in which all agree are left out:

    >>> losses = ["ce(a=0)", "ce(a=0) + man(zeta=1, b=2)", "ce(a=0) + man(zeta=2, b=2)"]
    >>> [label({"local.loss": loss}, [{"local.loss": loss} for loss in losses]) for loss in losses]
    ['ce', 'ce + man(zeta=1)', 'ce + man(zeta=2)']
    """
    others = [_with_short_loss(other, methods) for other in methods]
    method = _with_short_loss(method, methods)
    keys = _without_plain([key for key in method if _tells_apart(key, method, others)], method)
    leaves = [key.rpartition(".")[2] for key in keys]
    words = []
    for key, leaf in zip(keys, leaves, strict=True):
        is_unique = leaves.count(leaf) == 1
        words.append(_text(leaf if is_unique else key, leaf, method[key]))
    return ", ".join(words)


def _tells_apart(key: str, method: Options, others: Sequence[Options]) -> bool:
    """Whether methods that have the same parts around this option differ in it."""
    names = _names_around(key)
    for other in others:
        same_parts = all(other.get(name) == method.get(name) for name in names)
        if same_parts and repr(other.get(key)) != repr(method[key]):
            return True
    return False


def _names_around(key: str) -> list[str]:
    """The keys that may name the parts in which an option lies.

    >>> _names_around("local.gradient.rho")
    ['local.name', 'local.kind', 'local.gradient.name', 'local.gradient.kind']
    """
    *parts, last = key.split(".")
    if last in ("name", "kind"):  # a part's name lies in the part above
        parts = parts[:-1]
    names = []
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        names += [f"{part}.name", f"{part}.kind"]
    return names


def _without_plain(keys: list[str], method: Options) -> list[str]:
    """The keys without names such as `plain`, unless nothing else is left."""
    rest = []
    for key in keys:
        is_name = key.rpartition(".")[2] in ("name", "loss")
        if not (is_name and method[key] in _PLAIN):
            rest.append(key)
    return rest or keys


def _text(key: str, leaf: str, value: Any) -> str:
    if leaf in ("name", "kind", "loss"):
        return str(value)
    if isinstance(value, bool):
        return key if value else f"no {key}"
    if isinstance(value, tuple):
        value = "+".join(str(part) for part in value)
    return f"{key}={value}"


def _with_short_loss(method: Options, methods: Sequence[Options]) -> Options:
    """The method, its loss without the options in which all `methods` with that term agree."""
    if not isinstance(method.get(_LOSS), str):
        return method
    known: dict[tuple[str, str], set[str]] = {}
    for other in methods:
        for call in _calls(_tree(other.get(_LOSS, ""))):
            for option in call.keywords:
                values = known.setdefault(_option_name(call, option), set())
                values.add(ast.unparse(option.value))
    tree = _tree(method[_LOSS])
    for call in _calls(tree):
        call.keywords = [o for o in call.keywords if len(known.get(_option_name(call, o), ())) > 1]
    return method | {_LOSS: ast.unparse(tree).replace("()", "")}


def _option_name(call: ast.Call, option: ast.keyword) -> tuple[str, str]:
    """The term of a loss, and its option."""
    return ast.unparse(call.func), str(option.arg)


def _tree(loss: Any) -> ast.AST:
    """The syntax tree of a loss; a constant where it has no syntax."""
    try:
        return ast.parse(str(loss), mode="eval")
    except SyntaxError:
        return ast.Constant(loss)


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def distinct(labels: list[str], names: list[str]) -> list[str]:
    """Labels that differ.

    The config's name replaces an empty or repeated label; a number is added where names repeat too.

    >>> distinct(["feddyn", "", "", ""], ["a", "b", "c", "c"])
    ['feddyn', 'b', 'c (1)', 'c (2)']
    """
    chosen = []
    for text, name in zip(labels, names, strict=True):
        chosen.append(text if text and labels.count(text) == 1 else name)
    numbered = []
    for place, text in enumerate(chosen):
        number = chosen[: place + 1].count(text)
        numbered.append(text if chosen.count(text) == 1 else f"{text} ({number})")
    return numbered
