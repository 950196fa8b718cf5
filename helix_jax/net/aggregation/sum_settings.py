"""The settings of a service of sums: those of any service, and its providers.

    name = "sums.example"
    state = "state"
    certificate = "server.pem"
    private_key = "server.key"

    [sums.trec.north]
    url = "https://north.example:8443"
    head = "trec"
    token_file = "north.token"
    authority = "north-authority.pem"

    [sums.trec.south]
    ...

Paths are relative to the file. Unknown settings are refused by name.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helix_jax.errors import RunError
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.settings_file import make_settings, read_settings

_PATHS = ("token_file", "authority")


@dataclasses.dataclass(frozen=True)
class SummandSettings:
    """One provider of a sum.

    Attributes:
      url: of its service.
      head: that it serves.
      token_file: of the token by which it knows this service, not its clients.
      authority: PEM file of who signed its certificate; empty: the system's.
      pin: of its key, sha256/...; empty for none.
      plain_http: without TLS, on this machine alone.
    """

    url: str
    head: str
    token_file: str = ""
    authority: str = ""
    pin: str = ""
    plain_http: bool = False


@dataclasses.dataclass(frozen=True)
class SumSettings:
    """All of the service.

    Attributes:
      service: where it listens, its state and limits; it serves nothing of its own.
      sums: name -> provider's name -> where it is.
    """

    service: ServiceSettings
    sums: Mapping[str, Mapping[str, SummandSettings]]


def read_sum_settings(path: str | os.PathLike) -> SumSettings:
    """Read a TOML file.

    Raises:
      RunError: says what is wrong in it.
    """
    values = dict(read_settings(path))
    sums = values.pop("sums", None)
    if not isinstance(sums, Mapping) or not sums:
        raise RunError(f"{path} names no sum: write tables [sums.NAME.PROVIDER].")
    service = make_settings(values)
    if service.heads or service.rows or service.indexes:
        raise RunError(f"{path}: a service of sums cannot have heads, rows or indexes.")
    folder = Path(path).absolute().parent
    made = {
        name: {
            provider: _summand(f"sums.{name}.{provider}", own, folder)
            for provider, own in _table(f"sums.{name}", providers).items()
        }
        for name, providers in sums.items()
    }
    for name, providers in made.items():
        asked = {(one.url.rstrip("/"), one.head) for one in providers.values()}
        if len(asked) < len(providers):
            raise RunError(
                f"sums.{name}: the same head of one service is listed twice."
            )
    return SumSettings(service, made)


def _summand(place: str, values: Any, folder: Path) -> SummandSettings:
    given = dict(_table(place, values))
    fields = {field.name: field for field in dataclasses.fields(SummandSettings)}
    for name, value in given.items():
        if name not in fields:
            raise RunError(
                f"{place}.{name}: there is no such setting; there are "
                f"{', '.join(fields)}."
            )
        kind = fields[name].type
        if isinstance(kind, type) and type(value) is not kind:
            raise RunError(f"{place}.{name}: expected {kind.__name__}, got {value!r}.")
        if name in _PATHS and value:
            given[name] = str(folder / Path(value).expanduser())
    missing = [name for name in ("url", "head") if not given.get(name)]
    if missing:
        raise RunError(f"{place}: missing {' and '.join(missing)}.")
    return SummandSettings(**given)


def _table(place: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise RunError(f"{place}: expected a table, got {values!r}.")
    return values
