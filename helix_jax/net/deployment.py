"""The heads, rows and indexes that a worker serves, opened from the settings."""

import functools
import glob
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.activations import open_store
from helix_jax.array_files import read_npz
from helix_jax.errors import RunError
from helix_jax.generation.encrypted import head_weights
from helix_jax.models import load_model
from helix_jax.net.row_sources import NpzRows, StoreRows
from helix_jax.net.settings import HeadSettings, RowsSettings, ServiceSettings
from helix_jax.private import PreparedRows, prepare_rows
from helix_jax.probes import load_probe

_LM_HEAD = "lm_head:"
_ROOM = 2.0  # of the largest norm of public rows, for those of others


class Head(NamedTuple):
    """A linear layer in the clear.

    Attributes:
      kernel: [d, k] float.
      bias: [k] float, or None.
      about: JSON-able, for clients: classes, or vocabulary and softcap; fingerprints.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    about: dict[str, Any]


class Rows(NamedTuple):
    """Rows of public texts, where they lie.

    Attributes:
      source: [n, d] float, of which blocks are read.
      ids: [n] names, or None.
      about: JSON-able, for clients: fingerprints.
    """

    source: StoreRows | NpzRows
    ids: list[str] | None
    about: dict[str, Any]


class ServedRows(NamedTuple):
    """Rows as all fits of them share them.

    Attributes:
      prepared: in files of the state's folder.
      about: JSON-able, for clients: fingerprints.
    """

    prepared: PreparedRows
    about: dict[str, Any]


def open_head(name: str, settings: HeadSettings) -> Head:
    """Read a head.

    Raises:
      RunError: the path is not of a kind that `HeadSettings` names.
      HelixError: it is damaged.
    """
    path, about = settings.path, dict[str, Any]()
    if path.startswith(_LM_HEAD):
        weights, offer = head_weights(load_model(path.removeprefix(_LM_HEAD)))
        about = {
            "kind": "lm_head",
            "vocabulary": offer.vocabulary,
            "softcap": offer.softcap,
        }
        return Head(weights.kernel, weights.bias, about)
    if path.endswith(".npz"):
        arrays = _arrays(path, ("kernel", "bias"), optional=("classes",))
        classes = [str(one) for one in arrays.get("classes", ())]
        about = {"kind": "linear", "classes": classes or None}
        return Head(arrays["kernel"], arrays["bias"], about)
    if not Path(path).is_dir():
        raise RunError(
            f"heads.{name}.path: expected a probe's folder, an .npz file or "
            f"{_LM_HEAD}MODEL, got {path!r}."
        )
    probe, record = load_probe(path)
    about = {"kind": "probe", **record}
    return Head(np.asarray(probe.kernel), np.asarray(probe.bias), about)


def open_rows(name: str, settings: RowsSettings) -> Rows:
    """Open rows; errors as `open_head`."""
    path = _only(f"rows.{name}.path", settings.path)
    if path.endswith(".npz"):
        ids = _ids(path)
        return Rows(NpzRows(path, "y"), ids, {})
    if not Path(path).is_dir():
        raise RunError(
            f"rows.{name}.path: expected a store of activations or an .npz file, got "
            f"{path!r}."
        )
    store = open_store(path)
    if len(store.layers) != 1:
        raise RunError(
            f"rows.{name}.path: expected a store of one layer, got the layers "
            f"{list(store.layers)} in {path}; extract the one to serve."
        )
    source = StoreRows(store, store.layers[0])
    return Rows(source, store.ids, {"fingerprint": dict(store.fingerprint)})


def _ids(path: str) -> list[str] | None:
    """The names in a file of rows; None if it has none."""
    _read(path, ())  # that it is such a file
    with zipfile.ZipFile(path) as file:
        found = {one.removesuffix(".npy") for one in file.namelist()}
    _require_names(path, found, ("y",), optional=("ids",))
    if "ids" not in found:
        return None
    return [str(one) for one in _read(path, ("ids",))["ids"]]


def _only(where: str, pattern: str) -> str:
    """The one path that matches a pattern with *; programs end names with hashes."""
    if "*" not in pattern:
        return pattern
    found = sorted(glob.glob(pattern))
    if len(found) != 1:
        raise RunError(
            f"{where}: {pattern!r} must match one path, and matches {len(found)}: "
            f"{', '.join(found) or 'none'}."
        )
    return found[0]


class Deployment:
    """The served objects, each opened on first use."""

    def __init__(self, settings: ServiceSettings):
        self.settings = settings
        # Of this object alone, so that they end with it.
        self.head = functools.cache(self.head)  # type: ignore[method-assign]
        self.rows = functools.cache(self.rows)  # type: ignore[method-assign]
        self.input_norm = functools.cache(self.input_norm)  # type: ignore[method-assign]

    def head(self, name: str) -> Head:
        """A head by its name."""
        return open_head(name, self.settings.heads[name])

    def rows(self, name: str) -> ServedRows:
        """Rows by their name; prepared if they are not yet, which takes a while."""
        opened = open_rows(name, self.settings.rows[name])
        place = urllib.parse.quote(name, safe="")
        prepared = prepare_rows(
            opened.source,
            ids=opened.ids,
            folder=Path(self.settings.state, "rows", place),
            source_name=opened.source.name,
        )
        return ServedRows(prepared, opened.about)

    def input_norm(self, name: str) -> float:
        """The largest norm of a query to a head.

        Raises:
          RunError: nothing tells it.
        """
        given = self.settings.heads[name].input_norm
        if given is not None:
            return given
        width = self.head(name).kernel.shape[0]
        prepared = [self.rows(other).prepared for other in self.settings.rows]
        norms = [one.longest for one in prepared if one.rows.shape[1] == width]
        if not norms:
            raise RunError(
                f"heads.{name}.input_norm: give the largest norm of a query; no rows "
                f"of width {width} are served to derive it from."
            )
        return _ROOM * max(norms)


def _arrays(
    path: str, names: tuple[str, ...], *, optional: tuple[str, ...]
) -> dict[str, np.ndarray]:
    found = _read(path)
    _require_names(path, set(found), names, optional=optional)
    return found


def _read(path: str, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    remedy = "write it again with numpy.savez"
    return read_npz(path, names=names, remedy=remedy, raises=RunError)


def _require_names(
    path: str, found: set[str], names: tuple[str, ...], *, optional: tuple[str, ...]
) -> None:
    missing, extra = set(names) - found, found - {*names, *optional}
    if missing or extra:
        raise RunError(
            f"{path} needs the arrays {', '.join(names)} (and may have "
            f"{', '.join(optional)}), got {', '.join(sorted(found))}."
        )
