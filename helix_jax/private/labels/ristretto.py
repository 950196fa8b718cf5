"""The prime-order group ristretto255 in Python integers, with a hash into it.

Points are on the twisted Edwards curve -x^2 + y^2 = 1 + d x^2 y^2 modulo 2^255 - 19, in
extended coordinates (X, Y, Z, T), x = X / Z, y = Y / Z, T = X Y / Z. Points that differ
by a point of small order are the same element and have the same encoding. A
multiplication takes about half a millisecond; its time depends on the scalar.

Reference: de Valence et al. 2023, RFC 9496, section 4; addition: Hisil et al. 2008,
  eprint 2008/522, section 3.1.
"""

import functools
import secrets

from helix_jax.errors import ProtocolError

BYTES = 32
UNIFORM_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int, int, int]

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
IDENTITY: Point = (0, 1, 1, 0)


def _is_odd(value: int) -> int:
    """Whether a field element is "negative"."""
    return value % _P & 1


def _absolute(value: int) -> int:
    return -value % _P if _is_odd(value) else value % _P


def _root_of_ratio(u: int, v: int) -> tuple[bool, int]:
    """Whether u / v is a square, and the even root of u / v, else of u / v sqrt(-1)."""
    cube = v * v * v % _P
    root = u * cube * pow(u * cube * cube * v % _P, (_P - 5) // 8, _P) % _P
    check = v * root * root % _P
    right, turned = check == u % _P, check == -u % _P
    if turned or check == -u * _ROOT % _P:
        root = root * _ROOT % _P
    return right or turned, _absolute(root)


_ROOT_AD_1 = -_root_of_ratio(-_D - 1, 1)[1] % _P
_ROOT_A_D = _root_of_ratio(1, -1 - _D)[1]


def add(one: Point, other: Point) -> Point:
    """The sum of two elements."""
    (x, y, z, t), (u, v, w, s) = one, other
    a, b = (y - x) * (v - u) % _P, (y + x) * (v + u) % _P
    c, d = 2 * _D * t * s % _P, 2 * z * w % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(one: Point) -> Point:
    x, y, z, _ = one
    a, b = x * x % _P, y * y % _P
    h, g = a + b, a - b
    e, f = h - (x + y) ** 2, 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def negate(one: Point) -> Point:
    """The inverse of an element."""
    x, y, z, t = one
    return -x % _P, y, z, -t % _P


def multiply(scalar: int, one: Point) -> Point:
    """A multiple of an element; the scalar is from 0 to 2^256 - 1."""
    table = [IDENTITY]
    for _ in range(15):
        table.append(add(table[-1], one))
    total = IDENTITY
    for shift in range(252, -1, -4):
        for _ in range(4):
            total = _double(total)
        total = add(total, table[scalar >> shift & 15])
    return total


def multiply_base(scalar: int) -> Point:
    """A multiple of the generator."""
    total = IDENTITY
    for row, shift in zip(_base_table(), range(0, 256, 4)):
        total = add(total, row[scalar >> shift & 15])
    return total


def random_scalar() -> int:
    """A uniform integer from 1 to the order minus 1."""
    return 1 + secrets.randbelow(ORDER - 1)


def encode(one: Point) -> bytes:
    """The 32 bytes of an element."""
    x, y, z, t = one
    u, v = (z + y) * (z - y) % _P, x * y % _P
    inverse = _root_of_ratio(1, u * v * v)[1]
    first, second = inverse * u % _P, inverse * v % _P
    z_inverse = first * second * t % _P
    if _is_odd(t * z_inverse):
        x, y, scale = y * _ROOT % _P, x * _ROOT % _P, first * _ROOT_A_D
    else:
        scale = second
    if _is_odd(x * z_inverse):
        y = -y
    return _absolute(scale * (z - y)).to_bytes(BYTES, "little")


def decode(data: bytes) -> Point:
    """The element that 32 bytes encode.

    Raises:
      ProtocolError: they do not encode an element.
    """
    s = int.from_bytes(data, "little")
    square = s * s % _P
    u, v = 1 - square, 1 + square
    w = -(_D * u * u) - v * v
    is_square, inverse = _root_of_ratio(1, w * v * v % _P)
    x = _absolute(2 * s * inverse * v)
    y = u * inverse * inverse * v * w % _P
    t = x * y % _P
    if len(data) != BYTES or s >= _P or s & 1 or not is_square or t & 1 or y == 0:
        raise ProtocolError(f"{bytes(data).hex()} is no element of ristretto255.")
    return x, y, 1, t


def from_uniform(data: bytes) -> Point:
    """A uniform element, whose logarithm nobody knows, from 64 uniform bytes."""
    return add(_mapped(data[:BYTES]), _mapped(data[BYTES:UNIFORM_BYTES]))


def _mapped(data: bytes) -> Point:
    t = int.from_bytes(data, "little") % 2**255
    r = _ROOT * t * t % _P
    u, v = (r + 1) * (1 - _D * _D) % _P, (-1 - r * _D) * (r + _D) % _P
    is_square, s = _root_of_ratio(u, v)
    c = -1 if is_square else r
    if not is_square:
        s = -_absolute(s * t)
    n = c * (r - 1) * (_D - 1) ** 2 - v
    e, f = 2 * s * v, n * _ROOT_AD_1
    g, h = 1 - s * s, 1 + s * s
    return e * h % _P, g * f % _P, f * h % _P, e * g % _P


_Y = 4 * pow(5, -1, _P) % _P
_X = _root_of_ratio(_Y * _Y - 1, _D * _Y * _Y + 1)[1]
GENERATOR: Point = (_X, _Y, 1, _X * _Y % _P)


@functools.cache
def _base_table() -> list[list[Point]]:
    """Row i: 0 to 15 times 16^i times the generator."""
    rows, start = [], GENERATOR
    for _ in range(64):
        row = [IDENTITY]
        for _ in range(15):
            row.append(add(row[-1], start))
        rows.append(row)
        start = add(row[-1], start)
    return rows
