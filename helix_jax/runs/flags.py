"""absl flags from frozen config dataclasses: one field, one flag."""

import csv
import dataclasses
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from absl import flags

_DEFINE: dict[type, Callable[..., object]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


class Section(TypedDict):
    """Where a flag is defined: its registry, and the section of --help."""

    flag_values: flags.FlagValues
    module_name: str


class _NamesParser(flags.BaseListParser):
    """Names separated by commas; a name with a comma is written in double quotes."""

    def __init__(self) -> None:
        super().__init__(",", "comma")

    def parse(self, argument: Any) -> list[str]:
        if not isinstance(argument, str):
            return list(argument)
        if not argument.strip():
            return []
        try:
            (parts,) = csv.reader([argument], strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            raise ValueError(
                "expected names separated by commas, a name with a comma or a "
                f"quote in double quotes, got {argument!r}"
            ) from None
        if not all(part.strip() for part in parts):
            raise ValueError(f"an item is empty, got {argument!r}; write A,B without")
        return [part.strip() for part in parts]


class _TextsParser(_NamesParser):
    """Texts separated by commas, white space kept as it is."""

    def parse(self, argument: Any) -> list[str]:
        if not isinstance(argument, str):
            return list(argument)
        parts = argument.split(",") if argument else []
        if not all(parts):
            raise ValueError(f"an item is empty, got {argument!r}; write A,B without")
        return parts


class _ChoicesParser(_NamesParser):
    """Names separated by commas, each from a list of choices."""

    def __init__(self, choices: Sequence[str]) -> None:
        super().__init__()
        self._choices = choices

    def parse(self, argument: Any) -> list[str]:
        parts = super().parse(argument)
        for part in parts:
            if part not in self._choices:
                raise ValueError(
                    f"expected some of {', '.join(self._choices)}, got {part!r}"
                )
        return parts


class _IntegersParser(flags.BaseListParser):
    """Whole numbers separated by commas, none of them below a bound."""

    def __init__(self, least: int | None = None) -> None:
        super().__init__(",", "comma")
        self._least = least

    def parse(  # type: ignore[override]  # absl's lists are of words
        self, argument: Any
    ) -> list[int]:
        if not isinstance(argument, str):
            return list(argument)
        try:
            found = [int(part) for part in argument.split(",") if argument.strip()]
        except ValueError:
            raise ValueError(
                f"expected whole numbers separated by commas, got {argument!r}"
            ) from None
        if self._least is not None and found and min(found) < self._least:
            raise ValueError(f"expected numbers of {self._least} or more")
        return found


def integers_flag(name: str, default: Sequence[int], help_text: str) -> Any:
    """Define a flag of the started program: positive whole numbers, such as 1,16."""
    return flags.DEFINE(
        _IntegersParser(1),
        name,
        list(default),
        help_text,
        serializer=flags.ListSerializer(","),
        module_name=sys.argv[0],
    )


def choices_flag(
    name: str, default: Sequence[str], help_text: str, choices: Sequence[str]
) -> Any:
    """Define a flag of the started program: some of the choices, such as a,b."""
    return flags.DEFINE(
        _ChoicesParser(choices),
        name,
        list(default),
        f"{help_text}: {', '.join(choices)}",
        serializer=flags.ListSerializer(","),
        module_name=sys.argv[0],
    )


def option(
    default: Any,
    help_text: str,
    *,
    choices: Sequence[str] = (),
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    names: str = "",
    required: bool = False,
    tiny: Any = None,
    verbatim: bool = False,
    alias: str = "",
) -> Any:
    """A dataclass field with its flag's allowed values; checked by `prepare_config`.

    Args:
      default: default value of the flag.
      help_text: help of the flag.
      choices: the allowed values, for each item of a list.
      least, most: inclusive bounds of a number, for each item of a list.
      above: an exclusive lower bound.
      names: what the value names: "workdir" and "folder" (to write to, and to read;
        local or in a bucket), "path" (local), "place" (of stores; local or a URL),
        "model", "side" (a model or embeddings:FILE), "tokenizer" or "corpora"; a
        leading `~` is expanded in all of them.
      required: whether an empty value is refused.
      tiny: replaces an empty value under --tiny.
      verbatim: the items of a list keep their white space.
      alias: another name of the flag, such as a keyword of Python, which cannot name a
        field.
    """
    what = {
        "choices": tuple(choices),
        "least": least,
        "above": above,
        "most": most,
        "names": names,
        "required": required,
        "tiny": tiny,
        "verbatim": verbatim,
        "alias": alias,
    }
    if choices:
        help_text = f"{help_text}: {', '.join(one or repr(one) for one in choices)}"
    return dataclasses.field(default=default, metadata={"help": help_text, **what})


def define_flags(
    config_class: type, known: flags.FlagValues, *, program: str = ""
) -> None:
    """Define one flag for each field of a config dataclass.

    Args:
      config_class: frozen dataclass with fields of type bool, int, float, str,
        tuple[str, ...] or tuple[int, ...] (comma-separated lists).
      known: the registry in which to define them.
      program: the section of --help that lists them; required ones are in
        `required_section(program)`.

    Raises:
      TypeError: a field of another type.
    """
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        needed = field.metadata.get("required") and not field.default
        section = required_section(program) if needed else program
        place = Section(flag_values=known, module_name=section)
        default = None if field.default is dataclasses.MISSING else field.default
        help_text = field.metadata.get("help", field.name)
        if hints[field.name] in (tuple[str, ...], tuple[int, ...]):
            numbers = hints[field.name] == tuple[int, ...]
            texts = _TextsParser if field.metadata.get("verbatim") else _NamesParser
            parser: flags.ArgumentParser = _IntegersParser() if numbers else texts()
            flags.DEFINE(
                parser,
                field.name,
                list(default or ()),
                help_text,
                serializer=flags.ListSerializer(","),
                **place,
            )
        elif hints[field.name] in _DEFINE:
            _DEFINE[hints[field.name]](field.name, default, help_text, **place)
        else:
            raise TypeError(
                f"{config_class.__name__}.{field.name} has type {hints[field.name]}, "
                "expected bool, int, float, str, tuple[str, ...] or tuple[int, ...]."
            )
        if alias := field.metadata.get("alias"):
            flags.DEFINE_alias(
                alias, field.name, flag_values=known, module_name=program
            )


def required_section(program: str) -> str:
    """The first section of a program's help."""
    return f"{program}, required"


def config_from_flags(config_class: type, known: flags.FlagValues) -> Any:
    """The config given by parsed flags."""
    values = {}
    for field in dataclasses.fields(config_class):
        value = known[field.name].value
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return config_class(**values)
