"""Frequencies of rotary position embeddings, from a config; applied by `rope`."""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from helix_jax.errors import CheckpointError, UnsupportedError
from helix_jax.models.config import is_number
from helix_jax.models.spec import RopeSpec

_POSITIVE = (math.ulp(0.0), sys.float_info.max)
# Values of rope_parameters that determine frequencies, and their ranges.
_RANGES = dict.fromkeys(
    """
    rope_theta factor low_freq_factor high_freq_factor beta_fast beta_slow
    attention_factor original_max_position_embeddings short_factor long_factor
    """.split(),
    _POSITIVE,
) | {
    "partial_rotary_factor": (0, 1),
    "mscale": (0, _POSITIVE[1]),
    "mscale_all_dim": (0, _POSITIVE[1]),
}
_LISTS = frozenset(("short_factor", "long_factor"))


def rope_from_hf(
    parameters: Mapping[str, Any], *, head_width: int, max_tokens: int
) -> RopeSpec:
    """Frequencies for the `rope_parameters` of a Hugging Face config.

    Args:
      parameters: rope_type, rope_theta and what the type needs.
      head_width: features of one head.
      max_tokens: the config's context length.

    Returns:
      The rotary part of a spec, computed in float32 as transformers does.

    Raises:
      CheckpointError: a type other than default, linear, dynamic, llama3, yarn,
        longrope, a key that the type does not honour, or a value out of its range.

    Reference: Su et al. 2021, arXiv 2104.09864; llama3: Dubey et al. 2024, arXiv
      2407.21783; yarn: Peng et al. 2023, arXiv 2309.00071, section 3.4; longrope:
      Ding et al. 2024, arXiv 2402.13753.
    """
    given = {key: value for key, value in parameters.items() if value is not None}
    kind = given.pop("rope_type", given.pop("type", "default"))
    given.pop("type", None)
    _check_ranges(given, kind)
    theta = float(given.pop("rope_theta", 10000.0))
    dim = int(head_width * given.pop("partial_rotary_factor", 1.0))
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    powers = np.power(np.float32(theta), exponents, dtype=np.float32)
    plain = (np.float32(1.0) / powers).astype(np.float32)
    try:
        if kind == "default":
            spec = RopeSpec(_floats(plain))
        elif kind == "linear":
            spec = RopeSpec(_floats(plain / np.float32(given.pop("factor"))))
        elif kind == "dynamic" and dim > 2:
            dynamic = (theta, float(given.pop("factor")))
            spec = RopeSpec(_floats(plain), long_after=max_tokens, dynamic=dynamic)
        elif kind == "llama3":
            spec = RopeSpec(_floats(_llama3(plain, given)))
        elif kind == "yarn":
            spec = _yarn(powers, theta, dim, max_tokens, given)
        elif kind == "longrope":
            spec = _longrope(powers, max_tokens, given)
        else:
            raise UnsupportedError(
                f"rope_type {kind!r} is not supported; expected default, linear, "
                "dynamic, llama3, yarn or longrope."
            )
    except KeyError as error:
        raise CheckpointError(
            f"rope_parameters of type {kind!r} lack {error}, got {sorted(parameters)}."
        ) from error
    except (ArithmeticError, ValueError) as error:  # in range, but not in combination
        raise CheckpointError(
            f"rope_parameters of type {kind!r} cannot be used for heads of "
            f"{head_width} features and {max_tokens} positions ({error}), got "
            f"{dict(parameters)}; download config.json from the model's page again."
        ) from error
    given.pop("original_max_position_embeddings", None)
    if given:
        raise UnsupportedError(
            f"rope_parameters of type {kind!r} hold {sorted(given)}, which this type "
            "does not honour."
        )
    return spec


def _check_ranges(given: Mapping[str, Any], kind: str) -> None:
    """Refuse values that are not numbers, or cannot give a frequency."""
    for name in sorted(given.keys() & _RANGES.keys()):
        value, (least, most) = given[name], _RANGES[name]
        listed = name in _LISTS
        numbers = value if listed and isinstance(value, list) else [value]
        if listed != isinstance(value, list) or not all(
            is_number(one) and least <= one <= most for one in numbers
        ):
            raise CheckpointError(
                f"rope_parameters of type {kind!r} have {name} {value!r}; expected "
                f"{'a list of numbers' if listed else 'a number'} from {least:g} to "
                f"{most:g}."
            )


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _llama3(plain: np.ndarray, given: dict[str, Any]) -> np.ndarray:
    factor = given.pop("factor")
    low, high = given.pop("low_freq_factor"), given.pop("high_freq_factor")
    original = given["original_max_position_embeddings"]
    wavelength = 2 * math.pi / plain
    smooth = (original / wavelength - low) / (high - low)
    blended = (1 - smooth) * plain / factor + smooth * plain
    scaled = np.where(wavelength > original / low, plain / factor, plain)
    medium = (wavelength <= original / low) & (wavelength >= original / high)
    return np.where(medium, blended, scaled).astype(np.float32)


def _yarn(
    powers: np.ndarray, theta: float, dim: int, max_tokens: int, given: dict[str, Any]
) -> RopeSpec:
    original = given["original_max_position_embeddings"]
    factor = given.pop("factor", None) or max_tokens / original
    fast, slow = given.pop("beta_fast", None) or 32, given.pop("beta_slow", None) or 1
    mscale, all_dim = given.pop("mscale", None), given.pop("mscale_all_dim", None)
    scale = given.pop("attention_factor", None)

    def magnitude(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    if scale is None:
        both = mscale and all_dim
        scale = magnitude(mscale) / magnitude(all_dim) if both else magnitude(1.0)

    def boundary(rotations: float) -> float:
        turns = math.log(original / (rotations * 2 * math.pi))
        return dim * turns / (2 * math.log(theta))

    low, high = boundary(fast), boundary(slow)
    if given.pop("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    span = (high - low) or 0.001
    ramp = np.clip((np.arange(dim // 2, dtype=np.float32) - low) / span, 0, 1)
    frequencies = ramp / (factor * powers) + (1 - ramp) / powers
    return RopeSpec(_floats(frequencies.astype(np.float32)), float(scale))


def _longrope(powers: np.ndarray, max_tokens: int, given: dict[str, Any]) -> RopeSpec:
    original = given["original_max_position_embeddings"]
    factor = given.pop("factor", None) or max_tokens / original
    scale = given.pop("attention_factor", None)
    if scale is None:
        grown = 1 + math.log(factor) / math.log(original) if factor > 1 else 1.0
        scale = math.sqrt(grown)
    short = np.asarray(given.pop("short_factor"), np.float32)
    long = np.asarray(given.pop("long_factor"), np.float32)
    return RopeSpec(
        _floats(1 / (short * powers)),
        float(scale),
        _floats(1 / (long * powers)),
        int(original),
    )
