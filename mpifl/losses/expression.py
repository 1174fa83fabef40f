"""A config's loss text <-> one loss: terms add, wrappers wrap, as in `mixup(ce, gamma=0.1) +
man(zeta=0.15)`.

Options are plain values, `true` and `false` among them, or a schedule:
`man(schedule=cosine(warmup=20))`.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import fields
from typing import Any

from mpifl.losses.loss import Loss, Sum, Wrapper
from mpifl.options import BadInput, suggestion, validated
from mpifl.schedules import SCHEDULES, Schedule

WHERE = "local.loss"
_LONGEST = 1000


def parse(text: str, table: dict[str, type]) -> Any:
    """The loss that `text` describes: names, calls with options, and `+`; raises BadInput for
    anything else.

    And for a sum of regularisers only, for nothing would be learnt.
    """
    if len(text) > _LONGEST:
        raise _mistake(f"got {len(text):,} signs, and {_LONGEST:,} are allowed")
    try:
        loss = _whole(_tree(text), table)
    except (SyntaxError, RecursionError, MemoryError):
        raise _mistake(f"got {text!r}") from None
    if loss.regulariser:
        terms = {name: kind for name, kind in table.items() if not issubclass(kind, Wrapper)}
        able = ", ".join(name for name, kind in terms.items() if not kind().regulariser)
        raise BadInput(
            f"{WHERE}: expected a term that looks at the labels, one of {able}; got {text!r}"
        )
    return loss


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's, of what is refused anyway
            return ast.parse(text.strip(), mode="eval").body
    except ValueError:  # as for a NUL
        raise SyntaxError from None


def render(loss: Loss | Sum, table: dict[str, type]) -> str:
    """The text that gives `loss` again, every option in it."""
    if isinstance(loss, Sum):
        return " + ".join(render(term, table) for term in loss.terms)
    return _call(loss, table, [render(loss.loss, table)] if isinstance(loss, Wrapper) else [])


def _call(part: Any, table: dict[str, type], inner: list[str]) -> str:
    name = next(name for name, kind in table.items() if type(part) is kind)
    options = {field.name: getattr(part, field.name) for field in fields(part)}
    if isinstance(part, Wrapper):
        del options["loss"]
    arguments = ", ".join(
        [*inner, *(f"{name}={_literal(value)}" for name, value in options.items())]
    )
    return f"{name}({arguments})" if arguments else name


def _literal(value: Any) -> str:
    if isinstance(value, Schedule):
        return _call(value, SCHEDULES, [])
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _whole(tree: ast.expr, table: dict[str, type]) -> Any:
    terms = [_term(node, table) for node in _terms(tree)]
    return terms[0] if len(terms) == 1 else Sum(terms=tuple(terms))


def _terms(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_terms(node.left), *_terms(node.right)]
    return [node]


def _term(node: ast.expr, table: dict[str, type]) -> Any:
    call = _as_call(node)
    if not isinstance(call.func, ast.Name):
        raise _mistake(f"got {ast.unparse(node)!r}")
    name = call.func.id
    if name not in table:
        raise BadInput(f"{WHERE}: unknown loss {name!r}{suggestion(name, table)}")
    where = f"{WHERE}: {name}"
    options = _options(call, where)
    if issubclass(table[name], Wrapper):
        if len(call.args) != 1:
            raise _mistake(f"got {ast.unparse(node)!r}, but {name} wraps one loss: {name}(ce)")
        options["loss"] = _whole(call.args[0], table)
    elif call.args:
        raise _mistake(f"got {ast.unparse(node)!r}, whose options lack names")
    return validated(table[name], options, where)


def _as_call(node: ast.expr) -> ast.Call:
    return node if isinstance(node, ast.Call) else ast.Call(node, [], [])


def _options(call: ast.Call, where: str) -> dict[str, Any]:
    try:
        options = {
            keyword.arg: _value(keyword.value, f"{where}.{keyword.arg}")
            for keyword in call.keywords
        }
    except (ValueError, TypeError) as error:
        if isinstance(error, BadInput):
            raise
        what = f"plain values, nor schedules ({', '.join(SCHEDULES)})"
        raise _mistake(f"got {ast.unparse(call)!r}, whose options are not {what}") from None
    if len(options) < len(call.keywords):
        raise _mistake(f"got {ast.unparse(call)!r}, which gives an option twice")
    return options


def _value(node: ast.expr, where: str) -> Any:
    call = _as_call(node)
    name = call.func.id if isinstance(call.func, ast.Name) else None
    if name in SCHEDULES:
        if call.args:
            raise _mistake(f"got {ast.unparse(call)!r}, whose options lack names")
        return validated(SCHEDULES[name], _options(call, where), where)
    if name in ("true", "false") and node is call.func:
        return name == "true"
    value = ast.literal_eval(node)
    return tuple(value) if isinstance(value, list) else value


def _mistake(got: str) -> BadInput:
    return BadInput(
        f"{WHERE}: expected terms such as 'ce' or 'ce(smoothing=0.1)', joined by +; {got}"
    )
