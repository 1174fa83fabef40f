"""The text of a loss <-> the loss, as in `mixup(ce, gamma=0.1) + man(zeta=0.15)`.

Terms add and wrappers wrap.

Options are plain values, among them `true` and `false`, or schedules:
`man(schedule=cosine(warmup=20))`. The text is parsed as a Python expression and never run.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mpifl.losses.loss import Loss, Sum, Wrapper
from mpifl.options import BadInput, option_names, suggestion, validated
from mpifl.schedules import SCHEDULES, Schedule

Table = Mapping[str, type[Loss]]
"""name in the text -> class"""

WHERE = "local.loss"
_LONGEST = 1000


def parse(text: str, table: Table) -> Loss:
    """The loss that `text` describes by names, calls with options, and `+`.

    Raises BadInput for anything else, and for a loss with no term that looks at the labels, from
    which nothing could be learnt.
    """
    if len(text) > _LONGEST:
        raise _mistake(f"got {len(text):,} characters, and {_LONGEST:,} are allowed")
    try:
        loss = _sum(_tree(text), table)
    except (SyntaxError, RecursionError, MemoryError):
        raise _mistake(f"got {text!r}") from None
    if loss.regulariser:
        able = ", ".join(name for name, kind in table.items() if _looks_at_labels(kind))
        raise BadInput(
            f"{WHERE}: expected a term that looks at the labels, one of {able}; got {text!r}"
        )
    return loss


def _looks_at_labels(kind: type[Loss]) -> bool:
    return not issubclass(kind, Wrapper) and not kind().regulariser


def render(loss: Loss, table: Table) -> str:
    """The text that `parse` reads as `loss`, with every option in it."""
    if isinstance(loss, Sum):
        return " + ".join(render(term, table) for term in loss.terms)
    inner = [render(loss.loss, table)] if isinstance(loss, Wrapper) else []
    return _call(loss, table, inner)


def shortened(text: str, table: Table) -> str:
    """The text; without the options that have their defaults, if `render` has written it."""
    loss = parse(text, table)
    return _brief(loss, table) if text == render(loss, table) else text


def _brief(loss: Loss, table: Table) -> str:
    if isinstance(loss, Sum):
        return " + ".join(_brief(term, table) for term in loss.terms)
    inner = [_brief(loss.loss, table)] if isinstance(loss, Wrapper) else []
    return _call(loss, table, inner, with_defaults=False)


def _call(
    part: Loss | Schedule, table: Mapping[str, type], inner: list[str], with_defaults: bool = True
) -> str:
    """`name(inner, option=value)`."""
    name = next(name for name, kind in table.items() if type(part) is kind)
    arguments = list(inner)
    for option in option_names(type(part)):
        is_inner = isinstance(part, Wrapper) and option == "loss"
        if not is_inner and (with_defaults or not _has_default(part, option)):
            arguments.append(f"{option}={_literal(getattr(part, option))}")
    return f"{name}({', '.join(arguments)})" if arguments else name


def _has_default(part: Loss | Schedule, option: str) -> bool:
    [field] = [field for field in fields(part) if field.name == option]
    return bool(getattr(part, option) == field.default)


def _literal(value: Any) -> str:
    if isinstance(value, Schedule):
        return _call(value, SCHEDULES, [])
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _tree(text: str) -> ast.expr:
    """The syntax tree of a text. Raises SyntaxError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about texts that are refused anyway
            return ast.parse(text.strip(), mode="eval").body
    except ValueError:  # a NUL character
        raise SyntaxError from None


def _sum(tree: ast.expr, table: Table) -> Loss:
    terms = tuple(_term(node, table) for node in _summands(tree))
    return terms[0] if len(terms) == 1 else Sum(terms=terms)


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return [node]


def _term(node: ast.expr, table: Table) -> Loss:
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
        options["loss"] = _sum(call.args[0], table)
    elif call.args:
        raise _mistake(f"got {ast.unparse(node)!r}, whose options lack names")
    return validated(table[name], options, where)


def _as_call(node: ast.expr) -> ast.Call:
    """`ce` as `ce()`."""
    return node if isinstance(node, ast.Call) else ast.Call(node, [], [])


def _options(call: ast.Call, where: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in options:
            problem = "unpacks options" if keyword.arg is None else "gives an option twice"
            raise _mistake(f"got {ast.unparse(call)!r}, which {problem}")
        try:
            options[keyword.arg] = _value(keyword.value, f"{where}.{keyword.arg}")
        except BadInput:
            raise
        except (ValueError, TypeError):  # of literal_eval
            raise _mistake(
                f"got {ast.unparse(call)!r}, whose options are not plain values, nor schedules "
                f"({', '.join(SCHEDULES)})"
            ) from None
    return options


def _value(node: ast.expr, where: str) -> Any:
    call = _as_call(node)
    if isinstance(call.func, ast.Name):
        name = call.func.id
        if name in SCHEDULES:
            return _schedule(name, call, where)
        if name in ("true", "false") and node is call.func:
            return name == "true"
    return ast.literal_eval(node)


def _schedule(name: str, call: ast.Call, where: str) -> Schedule:
    if call.args:
        raise _mistake(f"got {ast.unparse(call)!r}, whose options lack names")
    return validated(SCHEDULES[name], _options(call, where), where)


def _mistake(got: str) -> BadInput:
    return BadInput(
        f"{WHERE}: expected terms such as 'ce' or 'ce(smoothing=0.1)', joined by +; {got}"
    )
