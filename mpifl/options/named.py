"""Named: an option that is one of several groups of options, chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache, partial
from typing import Any, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from mpifl.options.bad_input import suggestion
from mpifl.options.fields import adapter, description, option_names, pydantic_fields
from mpifl.options.mistakes import mistake


@dataclass(frozen=True, eq=False)
class Named:
    """Annotation for an option that is one of several groups of options, chosen by name.

    `model: Annotated[Model, Named(MODELS, "cnn")] = Cnn()` takes

    - a table with a name: `{"name": "cnn", "projection": 8}`;
    - a table without: its options are those of `default`;
    - a name alone: `"cnn"`;
    - an instance: `Cnn(projection=8)`.

    The table is read whenever a value is checked, so names may be added to it at any time.
    """

    table: Mapping[str, type]
    default: str

    def name_of(self, value: object) -> str:
        """The name of the class of `value`, which must be in the table."""
        return next(name for name, kind in self.table.items() if type(value) is kind)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """How pydantic checks and serialises the option; `source` is its type."""
        expected = get_origin(source) or source
        return core_schema.no_info_plain_validator_function(
            partial(self._validate, expected),
            serialization=core_schema.plain_serializer_function_ser_schema(self._serialize),
        )

    def _validate(self, expected: type, given: Any) -> Any:
        if isinstance(given, expected) and not isinstance(given, type):
            return given
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, dict):
            allowed = ", ".join(self.table)
            raise mistake(
                f"expected a name, or a table with a name; got {given!r}; allowed: {allowed}", given
            )
        values = {"name": self.default, **given}
        name = values.pop("name")
        if not isinstance(name, str) or name not in self.table:
            raise mistake(f"unknown name {name!r}{suggestion(name, self.table)}", name, "name")
        self._refuse_options_of_others(name, values)
        return adapter(self.table[name]).validate_python(values)

    def _refuse_options_of_others(self, name: str, values: Mapping[str, Any]) -> None:
        """Refuse an option that only other classes of the table have."""
        own = option_names(self.table[name])
        for key in values:
            if key in own:
                continue
            owners = [other for other, kind in self.table.items() if key in option_names(kind)]
            if owners:
                raise mistake(
                    f"expected an option of {name}; got one of {', '.join(owners)}; allowed: "
                    f"{', '.join(own) or 'none'}",
                    values,
                    key,
                )

    def _serialize(self, value: Any) -> dict[str, Any]:
        return {"name": self.name_of(value), **adapter(type(value)).dump_python(value)}

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The JSON Schema of the option: a name, or a table of any of the classes."""
        choices = [self._choice(name, kind, handler) for name, kind in self.table.items()]
        return {
            "oneOf": [{"enum": list(self.table)}, *choices],
            "discriminator": {"propertyName": "name"},
        }

    def _choice(self, name: str, kind: type, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema of a table with this name."""
        of_kind = handler.resolve_ref_schema(handler(adapter(kind).core_schema))
        properties = {"name": {"const": name}}
        for option, known in of_kind["properties"].items():
            properties[option] = {**known, "description": description(kind, option)}
        choice = {**of_kind, "properties": properties}
        required = list(of_kind.get("required", []))
        if name != self.default:
            required.insert(0, "name")
        if required:
            choice["required"] = required
        return choice


@cache
def nested_names(kind: type) -> tuple[str, ...]:
    """The dotted names of all options of a group and of the groups in it, with any names."""
    found: dict[str, None] = {}
    for name, option in pydantic_fields(kind).items():
        found[name] = None
        for group in _groups_of(option):
            for inner in nested_names(group):
                found[f"{name}.{inner}"] = None
    return tuple(found)


def tables(kind: type, prefix: str = "") -> dict[str, Mapping[str, type]]:
    """The table of every `Named` option of a group and of the groups in it, by dotted name."""
    found: dict[str, Mapping[str, type]] = {}
    for name, option in pydantic_fields(kind).items():
        path = f"{prefix}{name}"
        for mark in option.metadata:
            if isinstance(mark, Named):
                found[path] = mark.table
        for group in _groups_of(option):
            found.update(tables(group, f"{path}."))
    return found


def _groups_of(option: FieldInfo) -> list[Any]:
    """The groups that an option may be: one; all of a table; or none, if it is a plain value."""
    for mark in option.metadata:
        if isinstance(mark, Named):
            return list(mark.table.values())
    return [option.annotation] if is_dataclass(option.annotation) else []
