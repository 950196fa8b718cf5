"""The kinds of arguments, and how to get the right one from what was given instead.

    @takes(map=MAP, x=ARRAY)
    def apply_map(map, x): ...

    apply_map(selection, x)
    TypeError: apply_map: map needs a map of states, such as an AffineMap, got a
    Selection: use map.fit.map.

Kinds are recognised by type, never by value, so that decorated functions stay jit-able;
a call costs some microseconds.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax.numpy as jnp
import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Kind(NamedTuple):
    """A kind of argument.

    Attributes:
      noun: what is expected, with its article.
      fits: whether a value is of this kind.
      source: how to obtain one.
      instead: name of another type -> how to get it from a value of that type, where
        "{}" stands for the argument.
    """

    noun: str
    fits: Callable[[Any], bool]
    source: str
    instead: Mapping[str, str] = {}

    def but(self, **instead: str) -> "Kind":
        """The same kind with more entries in `instead`, or different ones."""
        return self._replace(instead={**self.instead, **instead})

    def or_none(self) -> "Kind":
        """The same, or None."""
        return self._replace(fits=lambda value: value is None or self.fits(value))


def takes(**kinds: Kind) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function to refuse arguments of the wrong kind with one clear line.

    Args:
      **kinds: parameter -> Kind. A default of None may also be given as None.

    Returns:
      The decorator. The decorated function raises TypeError if an argument is missing,
      of the wrong kind, or in another's place.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)
        who = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
        parameters = signature.parameters.values()
        several = any(one.kind is one.VAR_POSITIONAL for one in parameters)
        # With too many arguments, look at the first ones: a third array suggests that
        # the second is not a record.
        places = None if several else sum(map(_has_place, parameters))
        for name in kinds.keys() - signature.parameters.keys():
            raise TypeError(f"{who} has no parameter {name}.")

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            positions: tuple[Any, ...] = tuple(map(native, args))
            names: dict[str, Any] = {k: native(value) for k, value in kwargs.items()}
            try:
                given = signature.bind_partial(*positions[:places], **names).arguments
            except TypeError:  # unknown or repeated ones: Python says which
                return function(*positions, **names)
            _require(who, signature, kinds, given)
            return function(*positions, **names)

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
            source = "" if "{}" in kind.source else f": use {kind.source}"
            raise TypeError(
                f"{who}: {name} is missing, {kind.noun}{source}. It is "
                f"{who}{_order(signature)}."
            )


def _order(signature: inspect.Signature) -> str:
    """The positional and the keyword-only parameters, without types."""
    empty = inspect.Parameter.empty
    plain = [
        one.replace(annotation=empty, default=empty)
        for one in signature.parameters.values()
        if (_has_place(one) and one.name != "self")
        or (one.kind is one.KEYWORD_ONLY and one.default is empty)
    ]
    return str(inspect.Signature(plain))


def _has_place(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (
        parameter.POSITIONAL_ONLY,
        parameter.POSITIONAL_OR_KEYWORD,
    )


def _remedy(kind: Kind, name: str, value: Any) -> str:
    for ancestor in type(value).__mro__:
        plain = ancestor.__module__ == "builtins" and ancestor is not type(value)
        if ancestor.__name__ in kind.instead and not plain:
            return "use " + kind.instead[ancestor.__name__].replace("{}", name)
    if kind.fits is is_array and (remedy := array_remedy(name, value)):
        return remedy
    return f"use {kind.source}".replace("{}", name)


def is_array(value: Any) -> bool:
    """Whether a value is a numpy or JAX array, or equivalent to one.

    Masked, sparse and labelled arrays are not: what they hold beside their numbers
    would be lost. Nor are arrays in another byte order, which a compiled function may
    misread.
    """
    if _library(value) in _REMEDIES or isinstance(value, np.ma.MaskedArray):
        return False
    if _is_swapped(value):
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


def native(value: Any) -> Any:
    """An array in this machine's byte order; anything else unchanged."""
    if _is_swapped(value):
        return value.astype(value.dtype.newbyteorder("="))
    return value


def _is_swapped(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.dtype.isnative


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def array_remedy(name: str, value: Any) -> str | None:
    """How to make an array of a value of another library, or of numbers in a list."""
    if isinstance(value, np.ma.MaskedArray):
        return f"use {name}.filled(), or leave the masked rows out"
    if _is_swapped(value):
        return f"use {name}.astype({name}.dtype.newbyteorder('='))"
    if _library(value) in _REMEDIES:
        return "use " + _REMEDIES[_library(value)].replace("{}", name)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return f"use np.asarray({name}, 'float32')"
    return None


def described(value: Any) -> str:
    """A short description of a value."""
    if isinstance(value, np.generic):
        return described(value.item())
    if is_array(value) or _is_swapped(value):
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
