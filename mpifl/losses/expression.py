"""A config's loss text -> one loss: terms add, wrappers wrap, as in `mixup(ce, gamma=0.1) + man(zeta=0.15)`."""

from __future__ import annotations

import ast
from typing import Any

from torch import Tensor

from mpifl.config import build, suggestion
from mpifl.losses.step import Step
from mpifl.settings import BadInput

WHERE = "local.loss"


class Sum:
    """The sum of several terms."""

    def __init__(self, terms: list) -> None:
        self.terms = terms
        self.needs = frozenset().union(*(term.needs for term in terms))

    def __call__(self, step: Step) -> Tensor:
        total = self.terms[0](step)
        for term in self.terms[1:]:
            total = total + term(step)
        return total


def parse(text: str, table: dict[str, type]) -> Any:
    """The loss that `text` describes; raises BadInput for anything but names, calls with options, and `+`."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _mistake(f"got {text!r}") from None
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
    return build(table[name], _arguments(call), {}, f"{WHERE}: {name}")


def _arguments(call: ast.Call) -> dict:
    if call.args:
        raise _mistake(f"got {ast.unparse(call)!r}, whose options lack names")
    try:
        return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        raise _mistake(f"got {ast.unparse(call)!r}, whose options are not plain values") from None


def _mistake(got: str) -> BadInput:
    return BadInput(f"{WHERE}: expected terms such as 'ce' or 'ce(smoothing=0.1)', joined by +; {got}")
