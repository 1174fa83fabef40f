"""A config's loss text -> one loss: terms add, wrappers wrap, as in `mixup(ce, gamma=0.1) + man(zeta=0.15)`."""

from __future__ import annotations

import ast
from typing import Any

from mpifl.config import build, suggestion
from mpifl.losses.loss import Sum, Wrapper
from mpifl.settings import BadInput

WHERE = "local.loss"


def parse(text: str, table: dict[str, type]) -> Any:
    """The loss that `text` describes: names, calls with options, and `+`; raises BadInput for anything else.

    And for a sum of regularisers only, for nothing would be learnt.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _mistake(f"got {text!r}") from None
    loss = _whole(tree, table)
    if loss.regulariser:
        able = ", ".join(n for n, kind in table.items() if not issubclass(kind, Wrapper) and not kind.regulariser)
        raise BadInput(f"{WHERE}: expected a term that looks at the labels, one of {able}; got {text!r}")
    return loss


def _whole(tree: ast.expr, table: dict[str, type]) -> Any:
    terms = [_term(node, table) for node in _terms(tree)]
    return terms[0] if len(terms) == 1 else Sum(terms)


def _terms(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_terms(node.left), *_terms(node.right)]
    return [node]


def _term(node: ast.expr, table: dict[str, type]) -> Any:
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise _mistake(f"got {ast.unparse(node)!r}")
    name = call.func.id
    if name not in table:
        raise BadInput(f"{WHERE}: unknown loss {name!r}{suggestion(name, table)}")
    options = _arguments(call)
    if issubclass(table[name], Wrapper):
        if len(call.args) != 1:
            raise _mistake(f"got {ast.unparse(node)!r}, but {name} wraps one loss: {name}(ce)")
        options["loss"] = _whole(call.args[0], table)
    elif call.args:
        raise _mistake(f"got {ast.unparse(node)!r}, whose options lack names")
    return build(table[name], options, {}, f"{WHERE}: {name}")


def _arguments(call: ast.Call) -> dict:
    try:
        options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError):
        raise _mistake(f"got {ast.unparse(call)!r}, whose options are not plain values") from None
    if len(options) < len(call.keywords):
        raise _mistake(f"got {ast.unparse(call)!r}, which gives an option twice")
    return options


def _mistake(got: str) -> BadInput:
    return BadInput(f"{WHERE}: expected terms such as 'ce' or 'ce(smoothing=0.1)', joined by +; {got}")
