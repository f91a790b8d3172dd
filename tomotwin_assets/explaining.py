"""What the launchpad says beside each setting: what it does, its unit, its range and its default."""

from __future__ import annotations

import json
import typing
from typing import Any, TypeVar

import dagster as dg
from pydantic.fields import FieldInfo

C = TypeVar("C", bound=dg.Config)

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def unit(name: str) -> dict[str, Any]:
    """For ``Field(json_schema_extra=…)``: the unit of a number, ``none`` for one that has no unit."""
    return {"unit": name}


def explained(config: type[C]) -> type[C]:
    """Class decorator: each description ends with the unit, the range and the default of its setting.

    So they cannot differ from what is checked. Doing it again, after a change of defaults, does it anew.

    Raises
    ------
    TypeError
        If a setting has no description, or a number no unit.
    """
    for name, field in config.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        text = str(extra.get("text") or field.description or "")
        if not text:
            raise TypeError(f"{config.__name__}.{name} has no description")
        if is_number(field) and "unit" not in extra:
            raise TypeError(f"{config.__name__}.{name} has no unit")
        field.json_schema_extra = {**extra, "text": text}
        field.description = f"{text} [{'; '.join(_facts(field, str(extra.get('unit', 'none'))))}]"
    config.model_rebuild(force=True)
    return config


def is_number(field: FieldInfo) -> bool:
    """Whether a setting is a number, or a list of numbers, or may be one."""
    kinds, todo = set(), [field.annotation]
    while todo:
        kind = todo.pop()
        kinds.add(kind)
        if typing.get_origin(kind) is not typing.Literal:
            todo += typing.get_args(kind)
    return bool({int, float} & kinds)


def _facts(field: FieldInfo, unit: str) -> list[str]:
    facts = [] if unit == "none" else [unit]
    facts += [
        f"{words} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    if typing.get_origin(field.annotation) is typing.Literal:
        facts.append(f"one of {', '.join(typing.get_args(field.annotation))}")
    return [*facts, f"default {_shown(field.default)}"]


def _shown(default: Any) -> str:
    if default in (None, "", []):
        return "empty"
    if isinstance(default, list):
        return ", ".join(map(str, default))
    return default if isinstance(default, str) else json.dumps(default)
