"""A provider's settings, from flags and a TOML file.

    name = "provider.example"
    state = "state"
    certificate = "certificates/server.pem"
    private_key = "certificates/server.key"

    [heads.trec]
    path = "runs/trec/target_probe"
    policy = "rounded:12"
    budget = 1e7

    [rows.trec]
    path = "runs/trec/target"

    [clients.alice]
    policies = {trec = "label"}
    budgets = {trec = 1e6}

Paths are relative to the file. Unknown settings are refused by name.
"""

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helix_jax.errors import RunError
from helix_jax.net.settings import (
    ClientSettings,
    HeadSettings,
    IndexSettings,
    Limits,
    RowsSettings,
    ServiceSettings,
)
from helix_jax.paths import os_errors

_FIELDS_OF_PATHS = {"state", "certificate", "private_key", "client_authority", "path"}


def read_settings(path: str | os.PathLike) -> dict[str, Any]:
    """The settings of a TOML file, with absolute paths; checked by `make_settings`.

    Raises:
      RunError: the file cannot be read, or is not TOML.
    """
    with os_errors(path, "be read", RunError):
        text = Path(path).read_text(encoding="utf-8")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunError(f"{path} is not TOML: {error}.") from error
    return _with_paths(found, Path(path).absolute().parent)


def make_settings(values: Mapping[str, Any]) -> ServiceSettings:
    """Settings from nested mappings, as read from TOML or JSON.

    Raises:
      RunError: a field is unknown or has the wrong type; says which.
    """
    return _make(ServiceSettings, values, "")


def as_values(settings: ServiceSettings) -> dict[str, Any]:
    """The nested mappings that `make_settings` reads."""
    return dataclasses.asdict(settings)


def _with_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def absolute(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return _with_paths(value, folder)
        if name in _FIELDS_OF_PATHS and isinstance(value, str) and value:
            return value if ":" in value else str(folder / Path(value).expanduser())
        return value

    return {name: absolute(name, value) for name, value in values.items()}


_TABLES = {
    "heads": HeadSettings,
    "rows": RowsSettings,
    "indexes": IndexSettings,
    "clients": ClientSettings,
}


def _make(kind: type, values: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise RunError(f"{where or 'the file'}: expected a table, got {values!r}.")
    made = {}
    for name, value in values.items():
        place = f"{where}{name}"
        if name not in hints:
            raise RunError(
                f"{place}: there is no such setting; there are "
                f"{', '.join(sorted(hints))}."
            )
        if kind is ServiceSettings and name in _TABLES:
            if not isinstance(value, Mapping):
                raise RunError(f"{place}: expected tables [{name}.NAME].")
            made[name] = {
                one: _make(_TABLES[name], own, f"{place}.{one}.")
                for one, own in value.items()
            }
        elif name == "limits" and kind is ServiceSettings:
            made[name] = _make(Limits, value, f"{place}.")
        else:
            made[name] = _checked(place, hints[name], value)
    try:
        return kind(**made)
    except TypeError as error:
        raise RunError(f"{where.rstrip('.') or 'the settings'}: {error}.") from error


def _checked(place: str, hint: Any, value: Any) -> Any:
    """A value of a plain type, a mapping, or None where that is allowed."""
    if typing.get_origin(hint) is types.UnionType:
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is not None:
        if not isinstance(value, Mapping):
            raise RunError(f"{place}: expected a table, got {value!r}.")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise RunError(f"{place}: expected {hint.__name__}, got {value!r}.")
    return value
