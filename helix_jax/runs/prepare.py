"""Checks of a config before any work: complete, in range, its paths expanded."""

import contextlib
import dataclasses
import math
import os
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from helix_jax.errors import PathError, RunError
from helix_jax.near_names import did_you_mean
from helix_jax.paths import expand_path, is_url, local_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
STORAGE = ("gs", "s3", "file", "memory", "http", "https")  # where stores can be
BUCKETS = ("gs", "s3")  # and work directories
NO_STORES = "none"  # instead of a place, for programs whose config is `storeless`
IMPORTED = "embeddings:"  # precedes a file of embeddings given instead of a model


def prepare_config(config: Config, *, tiny: Mapping[str, Any] | None = None) -> Config:
    """Check a config against the declarations of its fields, see `option`.

    Args:
      config: a frozen dataclass of `option` fields.
      tiny: values under --tiny of fields that still have their defaults.

    Returns:
      The config with embedded models for missing ones under --tiny, and `~` expanded;
      preparing it again changes nothing.

    Raises:
      RunError: values are missing (all are named), of the wrong type, out of range, not
        among the choices, given twice in a list, or not a path.
    """
    fields = dataclasses.fields(config)
    if getattr(config, "tiny", False):
        config = _with_stand_ins(config)
        config = shrink(config, **(tiny or {}))
    missing = [
        field
        for field in fields
        if field.metadata.get("required") and not _given(getattr(config, field.name))
    ]
    if missing:
        said = " and ".join(f"--{one.name} ({one.metadata['help']})" for one in missing)
        hint = "" if getattr(config, "tiny", True) else "; or give --tiny alone"
        raise RunError(f"missing: {said}{hint}.")
    hints = typing.get_type_hints(type(config))
    if getattr(config, "stores", "") == NO_STORES and not hasattr(config, "storeless"):
        raise RunError(
            f"--stores={NO_STORES}: this program reads rows of states more than once, "
            "so it needs a store of them; experiments.fit does not."
        )
    changed = {}
    for field in fields:
        value = getattr(config, field.name)
        value = list_as_tuple(value)
        _require_type(field.name, value, hints[field.name])
        for item in value if isinstance(value, tuple) else (value,):
            _require_value(field, item)
        _require_different(field, value)
        with _naming(field.name):
            changed[field.name] = _expanded(field, value)
    return dataclasses.replace(config, **changed)


def shrink(config: Config, **values: Any) -> Config:
    """The config with other values in fields that still have their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    held = {k: v for k, v in values.items() if getattr(config, k) == defaults[k]}
    return dataclasses.replace(config, **held)


def list_as_tuple(value: Any) -> Any:
    """A list as the tuple that configs hold; anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def in_a_bucket(flag: str, url: str) -> str:
    """The checked URL of a folder that is used through a local copy.

    Raises:
      RunError: its scheme is not among BUCKETS.
    """
    scheme, _, place = url.partition("://")
    if scheme not in BUCKETS or not place.strip("/"):
        raise RunError(
            f"--{flag}={url}: expected a local folder, or gs://BUCKET/PATH or "
            "s3://BUCKET/PATH."
        )
    return url.rstrip("/")


def _with_stand_ins(config: Config) -> Config:
    """The config with embedded models and texts for those that are not given.

    An optional field is filled only if no field of its kind is given: not --target if
    --source is given.
    """
    own = [f for f in dataclasses.fields(config) if f.metadata.get("tiny") is not None]
    none_given = not any(_given(getattr(config, field.name)) for field in own)
    return dataclasses.replace(
        config,
        **{
            field.name: field.metadata["tiny"]
            for field in own
            if not _given(getattr(config, field.name))
            and (none_given or field.metadata["required"])
        },
    )


def _given(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else bool(value)


def _require_type(name: str, value: Any, wanted: Any) -> None:
    item = typing.get_args(wanted)[0] if typing.get_args(wanted) else wanted
    if (item is not wanted) != isinstance(value, tuple):
        raise RunError(f"--{name} must be {_said(wanted)}, got {value!r}.")
    for one in value if isinstance(value, tuple) else (value,):
        right = isinstance(one, (int, float) if item is float else item)
        if not right or (isinstance(one, bool) and item is not bool):
            raise RunError(f"--{name} must be {_said(wanted)}, got {value!r}.")


def _said(wanted: Any) -> str:
    words = {
        bool: "True or False",
        int: "a whole number",
        float: "a number",
        str: "a string",
        tuple[str, ...]: "a tuple of strings",
        tuple[int, ...]: "a tuple of whole numbers",
    }
    return words[wanted]


def _require_value(field: dataclasses.Field, value: Any) -> None:
    name, what = field.name, field.metadata
    blank = isinstance(value, str) and value and not value.strip()
    if blank and not what.get("verbatim"):
        raise RunError(f"--{name} is blank; leave it out, or give it a value.")
    if what.get("choices") and value not in what["choices"]:
        raise RunError(f"--{name}{must_be_among(value, what['choices'])}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RunError(f"--{name} must be a finite number, got {value}.")
    least, above, most = (what.get(bound) for bound in ("least", "above", "most"))
    if least is not None and value < least:
        raise RunError(f"--{name} must be {least} or more, got {value}.")
    if above is not None and value <= above:
        raise RunError(f"--{name} must be above {above}, got {value}.")
    if most is not None and value > most:
        raise RunError(f"--{name} must be {most} or less, got {value}.")


def _require_different(field: dataclasses.Field, value: Any) -> None:
    """Raise if a list holds an item twice; two names may mean the same folder."""
    if not isinstance(value, tuple) or field.metadata.get("names") == "folder":
        return
    for place, item in enumerate(value):
        if item in value[:place]:
            kind = "names" if isinstance(item, str) else "numbers"
            raise RunError(
                f"--{field.name} must have different {kind}, got {item!r} twice."
            )


def must_be_among(value: Any, choices: typing.Iterable[str]) -> str:
    """The end of a message on a value that is not among the choices."""
    choices = [one for one in choices if one]
    hint = did_you_mean(str(value), choices, alike=0.5)
    return f" must be {' or '.join(_listed(choices))}, got {value!r}{hint}"


def _listed(choices: list[str]) -> Iterator[str]:
    """ "a, b" and "c", to be joined by "or"."""
    if len(choices) > 1:
        yield ", ".join(choices[:-1])
    yield choices[-1]


def _storage(flag: str, place: str) -> str:
    """A place where stores can be; whether it is writable is checked later."""
    scheme = place.partition("://")[0]
    if is_url(place) and scheme not in STORAGE:
        known = " or ".join(f"{one}://" for one in STORAGE[:2])
        raise RunError(
            f"--{flag}={place}: stores cannot be at {scheme}://; give a local "
            f"folder, or {known}BUCKET/PATH."
        )
    if not is_url(place):
        made = next(p for p in (Path(place), *Path(place).parents) if p.exists())
        if not made.is_dir():
            raise RunError(f"--{flag}={place}: {made} is a file, expected a folder.")
    return place


@contextlib.contextmanager
def _naming(flag: str) -> Iterator[None]:
    """Put the name of its flag before errors about a path."""
    try:
        yield
    except PathError as error:
        if str(error).startswith(f"--{flag}"):
            raise
        raise PathError(f"--{flag}: {error}") from error


def _expanded(field: dataclasses.Field, value: Any) -> Any:
    """A value with its paths expanded."""
    if isinstance(value, tuple):
        return tuple(_expanded(field, one) for one in value)
    names = field.metadata.get("names")
    if not names or not value:
        return value
    if names in ("workdir", "folder") and is_url(value):
        return in_a_bucket(field.name, value)
    if names in ("workdir", "folder", "path"):
        return str(local_path(value, f"--{field.name}"))
    if names == "place" and value == NO_STORES:
        return value
    if names == "place":
        return _storage(field.name, expand_path(value))
    if names == "corpora" and not os.path.exists(os.path.expanduser(value)):
        return ",".join(one and expand_path(one) for one in value.split(","))
    start = IMPORTED if names == "side" and value.startswith(IMPORTED) else ""
    return start + expand_path(value.removeprefix(start))
