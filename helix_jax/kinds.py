"""The kinds of arguments of public functions, and conversions between them.

Records are recognised by the names of their types, so this file imports none of them.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.arguments import Kind, is_array


def _named(*names: str) -> Callable[[Any], bool]:
    wanted = frozenset(names)
    return lambda value: (
        not wanted.isdisjoint(ancestor.__name__ for ancestor in type(value).__mro__)
    )


def _is_key(value: Any) -> bool:
    if not isinstance(value, jax.Array):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value.ndim == 0
    return value.dtype == jnp.uint32 and value.ndim == 1


def _is_map(value: Any) -> bool:
    return callable(value) and hasattr(value, "widths") and not isinstance(value, type)


def _is_stream(value: Any) -> bool:
    if is_array(value) or isinstance(value, (str, dict)) or hasattr(value, "_fields"):
        return False
    pair = isinstance(value, tuple) and any(map(is_array, value))
    return hasattr(value, "__iter__") and not pair


_ROWS = {
    "Store": "{}.read()",
    "Pair": "{}.read()",
    "Moments": "the rows themselves, which moments do not have",
}
ARRAY = Kind("a numpy or JAX array", is_array, "np.asarray({}, 'float32')", _ROWS)

KEY = Kind(
    "a jax.random key",
    _is_key,
    "jax.random.key(seed)",
    {"int": "jax.random.key({})", "Generator": "jax.random.key(seed)"},
)

MAP = Kind(
    "a map of states, such as an AffineMap",
    _is_map,
    "AffineMap(kernel, bias)",
    {
        "AffineMap": "an AffineMap of arrays: np.asarray(kernel), np.asarray(bias)",
        "Selection": "{}.fit.map",
        "FitResult": "{}.map",
        "UnpairedFit": "{}.map",
        "GradientFit": "{}.map",
        "Fitted": "{}.selection.fit.map",
        "RidgePath": "select_penalty({}, moments).fit.map",
        "MapPath": "select_map({}, moments).fit.map",
        "Moments": "select_penalty(fit_ridge({}), select).fit.map",
        "Probe": "predict_logits, which applies probes",
        "tuple": "{}[0]: load_map gives a map and its fingerprints",
        "dict": "{}[name].selection.fit.map",
        "str": "load_map({})[0]",
        "PurePath": "load_map({})[0]",
    },
)
AFFINE = Kind(
    "an AffineMap",
    _named("AffineMap"),
    MAP.source,
    {
        **MAP.instead,
        "LowRankMap": "to_affine({})",
        "ResidualMap": "to_affine({})",
        "MlpMap": "score_rows, which takes any map",
    },
)

MOMENTS = Kind(
    "the Moments of paired rows",
    _named("Moments"),
    "from_batch(x, y), or accumulate(batches)",
    {
        "NormMoments": "{}.moments",
        "Pair": "accumulate({}.rows())",
        "Store": "accumulate(join(store_x, store_y).rows())",
        "tuple": "from_batch(*{})",
        "generator": "accumulate({})",
    },
)
NORM_MOMENTS = Kind(
    "the NormMoments of paired rows",
    _named("NormMoments"),
    "norms_from_batch(x, y), or accumulate_norms(batches)",
    {
        "Moments": "norms_from_batch(x, y), with the rows of {}",
        "Pair": "accumulate_norms({}.rows())",
        "tuple": "norms_from_batch(*{})",
        "generator": "accumulate_norms({})",
    },
)
STREAM = Kind(
    "pairs (x, y) of row batches, one after the other",
    _is_stream,
    "[(x, y)]",
    {
        "tuple": "[{}]",
        "Pair": "{}.rows()",
        "Store": "join(store_x, store_y).rows()",
        "Moments": "{} itself, which holds moments already",
        "dict": "{}.values()",
    },
)

_RIDGE = {"Moments": "fit_ridge({})", "MapPath": "select_map, for paths of any method"}
RIDGE_PATH = Kind("a RidgePath", _named("RidgePath"), "fit_ridge(moments)", _RIDGE)
MAP_PATH = Kind(
    "a MapPath",
    _named("MapPath"),
    "fit_reduced_rank(moments), or another fit of many ranks",
    {"Moments": "fit_reduced_rank({})"},
)

PROBE = Kind(
    "a Probe",
    _named("Probe"),
    "select_probe(fit_probes(x, labels, num_classes=C), x_select, labels_select).probe",
    {
        "ProbeSelection": "{}.probe",
        "ProbePath": "select_probe({}, x_select, labels_select).probe",
        "AffineMap": "apply_map, which applies maps",
        "tuple": "{}[0]: load_probe gives a probe and its config",
        "str": "load_probe({})[0]",
        "PurePath": "load_probe({})[0]",
    },
)
PROBE_PATH = Kind(
    "a ProbePath",
    _named("ProbePath"),
    "fit_probes(x, labels, num_classes=C)",
    {"Probe": "a path of several; one probe has nothing to choose"},
)


def record(name: str, source: str, **instead: str) -> Kind:
    """The kind of one record, recognised by its type's name."""
    article = "an" if name[0] in "AEIOU" else "a"
    return Kind(f"{article} {name}", _named(name), source, instead)


def _is_list(value: Any) -> bool:
    plain = hasattr(value, "__iter__") and not is_array(value)
    return plain and not hasattr(value, "_fields") and not isinstance(value, str)


SEVERAL_MOMENTS = Kind(
    "Moments, one after the other", _is_list, "[{}]", {"Pair": "accumulate({}.rows())"}
)
SEVERAL_ROWS = Kind(
    "representations of the same rows, [N, d] arrays",
    _is_list,
    "(x, y)",
    {"Pair": "{}.read()", "Moments": "the rows, which moments do not have"},
)
GRAM_SUMS = record(
    "GramSums",
    "gram_sums((x, y))",
    Moments="linear_cka({}), which takes moments",
    NormMoments="unbiased_linear_cka({}), which takes moments",
)
NEIGHBOURS = record("Neighbours", "nearest_neighbours(x)")
DIRECTIONS = record(
    "CanonicalDirections", "canonical_directions(moments)", Moments="mean_cca(fit, {})"
)

STORE = record(
    "Store",
    "open_store(path), or load_embeddings(path)",
    Pair="{}.x or {}.y; a Pair is joined already",
    str="open_store({})",
    PurePath="open_store({})",
)
MODEL = Kind(
    "a Model",
    lambda value: hasattr(value, "params") and hasattr(value, "spec"),
    "load_model(name)",
    {"str": "load_model({})", "PurePath": "load_model({})"},
)
TEXTS = Kind(
    "texts one after the other, each with its id",
    lambda value: hasattr(value, "__iter__") and not isinstance(value, (str, dict)),
    "[Text(id, text)]",
    {"Corpus": "{}.read(split)", "str": "[Text('name', {})]"},
)
STITCH = record("Stitch", "stitch(source, target, map)", Model="native({})")
LAYER = record(
    "Layer",
    "client.read_layer(offer)",
    bytes="client.read_layer({})",
    Provider="client.read_layer({}.layer.to_bytes())",
)
KERNEL = Kind(
    "weights [d, k]",
    lambda value: hasattr(value, "shape") or isinstance(value, list),
    "an array",
    {"AffineMap": "{}.kernel, {}.bias", "Probe": "{}.kernel, {}.bias"},
)

PATH = Kind(
    "a path",
    lambda value: isinstance(value, (str, os.PathLike)),
    "the name of the file or folder",
    {"Store": "{} itself, which is open", "Model": "{} itself, which is loaded"},
)
COUNT = Kind(
    "a whole number",
    lambda value: isinstance(value, (int, np.integer)) and not isinstance(value, bool),
    "int({})",
)
FUNCTION = Kind("a function", callable, "a function")
TWO_SIDES = Kind(
    "a pair (x, y) of arrays",
    lambda value: isinstance(value, (tuple, list)) and len(value) == 2,
    "({}, y)",
    {"Pair": "{}.read()", "Moments": "the rows, which moments do not have"},
)
METHODS = Kind("a list of methods", _is_list, "[{}]")
CLIENT = record("Client", "Client()")
