"""Maps from source to target states: definition, application, composition.

    AffineMap     y_hat = x kernel + bias
    LowRankMap    y_hat = x left right + bias
    MlpMap        y_hat = gelu(x first + inner) second + bias
    ResidualMap   y_hat = base(x) + delta(x)
    ShiftMap      y_hat = x + shift

A map is a pytree of its parameters that is called with states and has `widths`
(dx, dy); `apply_map` takes any. `map_files.py` writes and reads them.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from helix_jax import checks, kinds, numeric
from helix_jax.arguments import takes
from helix_jax.linalg import product, wide
from helix_jax.types import Array


class StateMap(Protocol):
    """The interface of every map, which is also a pytree."""

    @property
    def widths(self) -> tuple[int, int]: ...

    def __call__(self, x: Array) -> Array: ...


@struct.dataclass
class AffineMap:
    """An affine map, y_hat = x @ kernel + bias.

    Attributes:
      kernel: [dx, dy].
      bias: [dy].
    """

    kernel: Array
    bias: Array

    @property
    def widths(self) -> tuple[int, int]:
        if len(self.kernel.shape) != 2 or self.bias.shape != self.kernel.shape[1:]:
            raise ValueError(
                "AffineMap: kernel needs shape [dx, dy] and bias [dy], got "
                f"{list(self.kernel.shape)} and {list(self.bias.shape)}."
            )
        return self.kernel.shape

    def __call__(self, x: Array) -> Array:
        return product(x, self.kernel) + self.bias


@struct.dataclass
class LowRankMap:
    """An affine map whose kernel is a product, y_hat = x @ left @ right + bias.

    Attributes:
      left: [dx, r].
      right: [r, dy].
      bias: [dy].
    """

    left: Array
    right: Array
    bias: Array

    @property
    def widths(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    def __call__(self, x: Array) -> Array:
        return product(product(x, self.left), self.right) + self.bias


@struct.dataclass
class MlpMap:
    """One hidden layer, y_hat = gelu(x @ first + inner) @ second + bias.

    Attributes:
      first: [dx, h].
      inner: [h].
      second: [h, dy].
      bias: [dy].
    """

    first: Array
    inner: Array
    second: Array
    bias: Array

    @property
    def widths(self) -> tuple[int, int]:
        return self.first.shape[0], self.second.shape[1]

    def __call__(self, x: Array) -> Array:
        hidden = jax.nn.gelu(product(x, self.first) + self.inner)
        return product(hidden, self.second) + self.bias


@struct.dataclass
class ResidualMap:
    """A map and a correction, y_hat = base(x) + delta(x).

    Attributes:
      base: any map; training leaves it as it is.
      delta: any map of the same widths.
    """

    base: StateMap
    delta: StateMap

    @property
    def widths(self) -> tuple[int, int]:
        return self.base.widths

    def __call__(self, x: Array) -> Array:
        return self.base(x) + self.delta(x)


@struct.dataclass
class ShiftMap:
    """The same vector added to every state, y_hat = x + shift.

    Attributes:
      shift: [D].
    """

    shift: Array

    @property
    def widths(self) -> tuple[int, int]:
        return self.shift.shape[0], self.shift.shape[0]

    def __call__(self, x: Array) -> Array:
        return x + self.shift


@takes(map=kinds.MAP, x=kinds.ARRAY)
@wide
def apply_map(map: StateMap, x: Array) -> Array:
    """Map source states to target states.

    Args:
      map: any of the above, from dx to dy.
      x: [..., dx] float, source states.

    Returns:
      [..., dy] in the dtype of x, or float32 where that is narrower.

    Raises:
      ValueError: the last axis of x is not dx.
    """
    dx, dy = map.widths
    if not x.shape:
        raise ValueError("apply_map: x needs shape [..., dx], got one number.")
    checks.require_width("apply_map", "x", x.shape[-1], dx, shape=x.shape, target=dy)
    x = jnp.asarray(numeric.numbers("apply_map", "x", x))
    cast = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(x.dtype), map)
    return cast(x)


@takes(first=kinds.AFFINE, second=kinds.AFFINE)
@wide
def compose_map(first: AffineMap, second: AffineMap) -> AffineMap:
    """The map that applies `first` and then `second`.

    Raises:
      ValueError: the target width of `first` is not the source width of `second`.
    """
    checks.require_width(
        "compose_map", "second", second.kernel.shape[0], first.kernel.shape[1]
    )
    return AffineMap(
        kernel=product(first.kernel, second.kernel),
        bias=product(first.bias, second.kernel) + second.bias,
    )


@takes(map=kinds.MAP)
@wide
def to_affine(map: StateMap) -> AffineMap:
    """The same map as one AffineMap.

    Raises:
      TypeError: it is not affine.
    """
    if isinstance(map, AffineMap):
        return map
    if isinstance(map, LowRankMap):
        return AffineMap(product(map.left, map.right), map.bias)
    if isinstance(map, ShiftMap):
        shift = jnp.asarray(map.shift)
        return AffineMap(jnp.eye(shift.shape[0], dtype=shift.dtype), shift)
    if isinstance(map, ResidualMap):
        base, delta = to_affine(map.base), to_affine(map.delta)
        return AffineMap(base.kernel + delta.kernel, base.bias + delta.bias)
    raise TypeError(f"to_affine: a {type(map).__name__} is not affine.")
