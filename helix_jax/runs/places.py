"""Bucket URLs in flags, replaced by the local folders that programs work on."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from helix_jax.paths import is_url
from helix_jax.processes import current
from helix_jax.runs.prepare import Config, in_a_bucket


@contextlib.contextmanager
def local_places(config: Config) -> Iterator[Config]:
    """The config with local folders instead of URLs, for the duration of the block.

    Process 0 uploads the work directory as it changes; every other process has its own
    copy. Folders to read are fetched once.

    Args:
      config: a config of `option` fields; without URLs it is returned unchanged.

    Raises:
      StoreError: a bucket cannot be read or written.
    """
    with contextlib.ExitStack() as places:
        local: dict[str, Any] = {}
        for field in dataclasses.fields(config):
            names, value = field.metadata.get("names"), getattr(config, field.name)
            if names == "folder":
                values = value if isinstance(value, tuple) else (value,)
                found = tuple(_read_here(field.name, one, places) for one in values)
                local[field.name] = found if isinstance(value, tuple) else found[0]
            elif names == "workdir" and _is_url(value):
                url = in_a_bucket(field.name, value)
                local[field.name] = places.enter_context(_kept(url))
        yield dataclasses.replace(config, **local) if local else config


def _read_here(flag: str, value: str, places: contextlib.ExitStack) -> str:
    if not _is_url(value):
        return value
    from helix_jax.mirror import fetched  # slow, and seldom needed

    return str(places.enter_context(fetched(in_a_bucket(flag, value))))


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and is_url(value)  # other types are refused later


@contextlib.contextmanager
def _kept(url: str) -> Iterator[str]:
    from helix_jax.mirror import mirrored

    first = current().index == 0
    with contextlib.ExitStack() as stack:
        if first:
            root = stack.enter_context(mirrored(url))
        current().wait("the work directory in a bucket")
        if not first:
            root = stack.enter_context(mirrored(url, write=False))
        yield str(root)
