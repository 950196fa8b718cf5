"""absl flags from frozen config dataclasses: one field, one flag."""

import dataclasses
import sys
import typing
from typing import Any

from absl import flags

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


class _IntegersParser(flags.ListParser):
    """Whole numbers separated by commas."""

    def parse(self, argument: Any) -> list[int]:
        parts = super().parse(argument)
        try:
            return [int(part) for part in parts]
        except ValueError:
            raise ValueError(
                f"expected whole numbers separated by commas, got {argument!r}"
            ) from None


def option(default: Any, help_text: str) -> Any:
    """A dataclass field with the help text of its flag."""
    return dataclasses.field(default=default, metadata={"help": help_text})


def define_flags(config_class: type) -> None:
    """One flag for each field of a config dataclass; fields without default required.

    Args:
      config_class: frozen dataclass with fields of type bool, int, float, str,
        tuple[str, ...] or tuple[int, ...] (comma-separated lists).

    Raises:
      TypeError: a field of another type.
    """
    hints = typing.get_type_hints(config_class)
    place = {"module_name": sys.argv[0]}  # the program's own, so that --help lists them
    for field in dataclasses.fields(config_class):
        required = field.default is dataclasses.MISSING
        default = None if required else field.default
        help_text = field.metadata.get("help", field.name)
        if hints[field.name] == tuple[str, ...]:
            flags.DEFINE_list(field.name, list(default or ()), help_text, **place)
        elif hints[field.name] == tuple[int, ...]:
            flags.DEFINE(
                _IntegersParser(), field.name, list(default or ()), help_text,
                serializer=flags.ListSerializer(","), **place,
            )  # fmt: skip
        elif hints[field.name] in _DEFINE:
            _DEFINE[hints[field.name]](field.name, default, help_text, **place)
        else:
            raise TypeError(
                f"{config_class.__name__}.{field.name} has type {hints[field.name]}, "
                "expected bool, int, float, str, tuple[str, ...] or tuple[int, ...]."
            )
        if required:
            flags.mark_flag_as_required(field.name)


def config_from_flags(config_class: type) -> Any:
    """The config that the parsed flags describe."""
    values = {}
    for field in dataclasses.fields(config_class):
        value = flags.FLAGS[field.name].value
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return config_class(**values)
