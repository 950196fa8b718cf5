"""What kind of thing an argument has to be, and how to get it from what came instead.

    @takes(map=MAP, x=ARRAY)
    def apply_map(map, x): ...

    apply_map(selection, x)
    TypeError: apply_map: map needs a map of states, got a Selection: use
    selection.fit.map.

Kinds are told by type, never by value, so that decorated functions stay jit-able; a
call costs some microseconds.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Kind(NamedTuple):
    """A kind of argument.

    Attributes:
      noun: what is wanted, with its article.
      fits: whether a value is of this kind.
      source: how one gets it at all.
      instead: name of another type -> how to get it from a value of that type, where
        "{}" stands for the argument.
    """

    noun: str
    fits: Callable[[Any], bool]
    source: str
    instead: Mapping[str, str] = {}


def takes(**kinds: Kind) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function to refuse arguments of another kind with one clear line.

    Args:
      **kinds: parameter -> Kind. A default of None may also be given as None.

    Returns:
      The decorator. What is decorated raises TypeError: an argument is missing, of
      another kind, or in another's place.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)
        for name in kinds.keys() - signature.parameters.keys():
            raise TypeError(f"{function.__name__} has no parameter {name}.")

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                given = signature.bind_partial(*args, **kwargs).arguments
            except TypeError:  # too many, or unknown ones: Python says which
                return function(*args, **kwargs)
            _require(function.__name__, signature, kinds, given)
            return function(*args, **kwargs)

        return run

    return decorate


def _require(
    who: str,
    signature: inspect.Signature,
    kinds: Mapping[str, Kind],
    given: Mapping[str, Any],
) -> None:
    for name, kind in kinds.items():
        if name not in given or kind.fits(value := given[name]):
            continue
        if value is None and signature.parameters[name].default is None:
            continue
        for other, wanted in kinds.items():
            if other in given and wanted.fits(value) and kind.fits(given[other]):
                raise TypeError(
                    f"{who}: {name} and {other} are in each other's place; it is "
                    f"{who}{_order(signature)}."
                )
        raise TypeError(
            f"{who}: {name} needs {kind.noun}, got {described(value)}: "
            f"{_remedy(kind, name, value)}."
        )
    for name, kind in kinds.items():
        required = signature.parameters[name].default is inspect.Parameter.empty
        if required and name not in given:
            raise TypeError(
                f"{who}: {name} is missing, {kind.noun}: use {kind.source}. It is "
                f"{who}{_order(signature)}."
            )


def _order(signature: inspect.Signature) -> str:
    """The parameters in their places, without types and defaults."""
    empty = inspect.Parameter.empty
    plain = [
        one.replace(annotation=empty, default=empty)
        for one in signature.parameters.values()
        if one.kind is not one.KEYWORD_ONLY and one.kind is not one.VAR_KEYWORD
    ]
    return str(inspect.Signature(plain))


def _remedy(kind: Kind, name: str, value: Any) -> str:
    for ancestor in type(value).__mro__:
        if ancestor.__name__ in kind.instead:
            return "use " + kind.instead[ancestor.__name__].replace("{}", name)
    return array_remedy(name, value) or f"use {kind.source}"


def is_array(value: Any) -> bool:
    """Whether a value is a numpy or JAX array, or as good as one.

    Masked, sparse and labelled arrays are not: what they hold beside their numbers
    would be lost.
    """
    if _library(value) in _REMEDIES or isinstance(value, np.ma.MaskedArray):
        return False
    try:
        return hasattr(value, "shape") and jnp.dtype(value.dtype) is not None
    except (AttributeError, TypeError):  # no dtype, or not one of numpy
        return False


_REMEDIES = {
    "torch": "{}.detach().float().cpu().numpy()",
    "tensorflow": "{}.numpy()",
    "pandas": "{}.to_numpy()",
    "polars": "{}.to_numpy()",
    "scipy": "{}.toarray()",
}


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def array_remedy(name: str, value: Any) -> str | None:
    """How to make an array of a value of another library, or of numbers in a list."""
    if isinstance(value, np.ma.MaskedArray):
        return f"use {name}.filled(), or leave the masked rows out"
    if _library(value) in _REMEDIES:
        return "use " + _REMEDIES[_library(value)].replace("{}", name)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return f"use np.asarray({name}, 'float32')"
    return None


def described(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, np.generic):
        return described(value.item())
    if is_array(value):
        return f"an array {list(value.shape)} of {value.dtype}"
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"
    noun = f"{'' if _library(value) == 'builtins' else _library(value) + '.'}"
    noun = noun if _library(value) in _REMEDIES else ""
    name = noun + type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def require_array(who: str, name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a numpy or JAX array."""
    if not is_array(value):
        remedy = array_remedy(name, value) or f"use np.asarray({name}, 'float32')"
        raise TypeError(
            f"{who}: {name} needs a numpy or JAX array, got {described(value)}: "
            f"{remedy}."
        )


def of_types(*types: type) -> Callable[[Any], bool]:
    """The `fits` of records: whether a value is of one of these types."""
    return lambda value: isinstance(value, types)


def _is_key(value: Any) -> bool:
    if not isinstance(value, jax.Array):
        return False
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return typed or (value.dtype == jnp.uint32 and value.ndim >= 1)


ARRAY = Kind(
    "a numpy or JAX array", is_array, "np.asarray({}, 'float32')",
    {"Moments": "the rows themselves", "Store": "{}.read()", "Pair": "{}.read()"},
)  # fmt: skip

KEY = Kind(
    "a jax.random key", _is_key, "jax.random.key(0)",
    {"int": "jax.random.key({})", "Generator": "jax.random.key(seed)"},
)  # fmt: skip
