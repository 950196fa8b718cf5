"""The public description of an index: made by the provider, read by the client.

A dictionary for JSON; arrays are base64 of little-endian integers. Everything is
checked before anything is allocated: first the sizes, then the length of the data.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private.layer import Layer
from helix_jax.private.packing import MAX_CLASSES
from helix_jax.private.profiles import Profile
from helix_jax.private.search.layout import Layout
from helix_jax.private.search.limits import (
    MAX_BLOCKS,
    MAX_DECOYS,
    MAX_LISTED,
    MAX_PROBES,
    MAX_ROWS,
)
from helix_jax.private.search.records import MAX_RECORD_BYTES

FORMAT, METRIC = 1, "cosine"
_LAYER_BASE64 = 1024  # most characters of a layer's description


class About(NamedTuple):
    """The public description of an index.

    Attributes:
      name: 16 bytes, a hash of its content.
      model: the model that made its vectors.
      rows: N.
      vectors: the layer of scores, or of one cluster or block of centroids.
      texts: the layer of a block of texts.
      record_bytes: size of a record.
      decoys: number that the provider proposes.
      layout: where the rows are; the description does not contain its order.
    """

    name: bytes
    model: Mapping[str, Any]
    rows: int
    vectors: Layer
    texts: Layer
    record_bytes: int
    decoys: int
    layout: Layout

    @property
    def clustered(self) -> bool:
        """Whether a query requests clusters, not all rows."""
        return self.layout.centroids is not None or self.layout.sets is not None

    @property
    def centroid_blocks(self) -> int:
        """Number of blocks of centroids."""
        return -(-len(self.layout.sizes) // self.layout.block_rows)


def write_about(about: About) -> dict[str, Any]:
    """A description as a dictionary for JSON."""
    layout = about.layout
    found = {
        "format": FORMAT,
        "metric": METRIC,
        "name": about.name.hex(),
        "model": dict(about.model),
        "profile": about.vectors.profile.name,
        "rows": about.rows,
        "width": about.vectors.plan.width,
        "blocks": len(layout.sizes),
        "block_rows": layout.block_rows,
        "record_bytes": about.record_bytes,
        "decoys": about.decoys,
        "sizes": _write(layout.sizes),
        "vectors": base64.b64encode(about.vectors.to_bytes()).decode(),
        "texts": base64.b64encode(about.texts.to_bytes()).decode(),
    }
    if layout.sets is not None:
        sets, weights = layout.choices()
        found["sets"], found["probes"] = sets.shape
        found["members"], found["weights"] = _write(sets), _write(weights)
    return found


def read_about(data: Mapping[str, Any], profile: Profile) -> About:
    """Read and check a description.

    Raises:
      ProtocolError: it is malformed, out of bounds, or of another profile.
    """
    if not isinstance(data, Mapping):
        raise ProtocolError(f"index: expected a dictionary, got {type(data).__name__}.")
    for name, wanted in (
        ("format", FORMAT),
        ("metric", METRIC),
        ("profile", profile.name),
    ):
        if data.get(name) != wanted:
            raise ProtocolError(
                f"index: expected {name} {wanted!r}, got {data.get(name)!r}."
            )
    rows = _count(data, "rows", 1, MAX_ROWS)
    blocks = _count(data, "blocks", 1, MAX_BLOCKS)
    block_rows = _count(data, "block_rows", 1, MAX_ROWS)
    size = _count(data, "record_bytes", 15, MAX_RECORD_BYTES)
    sizes = _array(data, "sizes", (blocks,), block_rows + 1)
    if sizes.sum() != rows:
        raise ProtocolError(
            f"index: {blocks} blocks hold {sizes.sum()} of {rows} rows."
        )
    sets = weights = None
    if "sets" in data:
        shape = (
            _count(data, "sets", 1, MAX_LISTED),
            _count(data, "probes", 1, min(MAX_PROBES, blocks)),
        )
        sets = _array(data, "members", shape, blocks)
        weights = _array(data, "weights", shape[:1], 2**31)
        in_order = np.sort(sets, axis=1)
        if (in_order[:, 1:] == in_order[:, :-1]).any() or not weights.all():
            raise ProtocolError(
                "index: sets need different clusters and positive weights."
            )
    elif rows > MAX_CLASSES or (sizes[:-1] != block_rows).any():
        raise ProtocolError(f"index: {rows} rows need clusters, or whole blocks.")
    vectors, texts = (_layer(data, name, profile) for name in ("vectors", "texts"))
    width = _count(data, "width", 1, 2**31)
    for name, layer, expected in (
        ("vectors", vectors, (width, rows if sets is None else block_rows)),
        ("texts", texts, (block_rows, size // 3 * 2)),
    ):
        plan = layer.plan
        if (plan.width, plan.classes) != expected or layer.policy.name == "label":
            raise ProtocolError(
                f"index: the layer of {name} has {plan.width} x {plan.classes} numbers "
                f"and policy {layer.policy}, expected {expected[0]} x {expected[1]}."
            )
        if not 1 <= layer.input_norm <= 2:
            raise ProtocolError(
                f"index: the layer of {name} takes norms up to {layer.input_norm}, "
                "expected 1 to 2."
            )
    digits, model = data.get("name"), data.get("model")
    if not (
        isinstance(digits, str) and len(digits) == 32 and isinstance(model, Mapping)
    ):
        raise ProtocolError("index: expected a name of 32 hex digits, and a model.")
    try:
        own = bytes.fromhex(digits)
    except ValueError as wrong:
        raise ProtocolError("index: its name is not hexadecimal.") from wrong
    return About(
        own,
        dict(model),
        rows,
        vectors,
        texts,
        size,
        _count(data, "decoys", 0, MAX_DECOYS),
        Layout(np.empty(0, np.int64), block_rows, sizes, None, sets, weights),
    )


def _count(data: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = data.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(
            f"index: {name} must be a whole number from {least} to {most}, got "
            f"{str(value)[:40]}."
        )
    return value


def _array(
    data: Mapping[str, Any], name: str, shape: tuple[int, ...], below: int
) -> np.ndarray:
    count = math.prod(shape)
    raw = _decode(data, name, 4 * count)
    if len(raw) != 4 * count:
        raise ProtocolError(f"index: {name} needs {4 * count} bytes, got {len(raw)}.")
    found = np.frombuffer(raw, "<u4").astype(np.int64).reshape(shape)
    if found.max(initial=0) >= below:
        raise ProtocolError(f"index: {name} must be below {below}, got {found.max()}.")
    return found


def _layer(data: Mapping[str, Any], name: str, profile: Profile) -> Layer:
    return Layer.from_bytes(_decode(data, name, _LAYER_BASE64 * 3 // 4), profile)


def _decode(data: Mapping[str, Any], name: str, most: int) -> bytes:
    """The bytes of a base64 text, at most `most` of them."""
    text = data.get(name)
    if not isinstance(text, str) or len(text) > -(-most // 3) * 4:
        raise ProtocolError(f"index: {name} must be base64 of at most {most} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise ProtocolError(f"index: {name} is not base64 ({wrong}).") from wrong


def _write(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<u4").tobytes()).decode()
