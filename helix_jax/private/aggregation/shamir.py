"""Shamir's secret sharing over the integers modulo a prime above 2^256.

A secret s is the value at zero of a polynomial of degree t - 1 whose other
coefficients are uniform; party k holds its value at k:

    f(z) = s + a_1 z + ... + a_{t-1} z^{t-1} mod p
    s    = sum_k f(k) prod_{j != k} j / (j - k)          over any t parties

Any t shares give the secret; any t - 1 of them are uniform, whatever the secret is.

Reference: Shamir 1979, "How to share a secret", Communications of the ACM 22(11).
"""

from collections.abc import Callable, Iterable, Mapping

from helix_jax.errors import ProtocolError

PRIME = 2**256 + 297
"""The smallest prime above 2^256, so that any 32 bytes are a secret."""

SECRET_BYTES = 32
SHARE_BYTES = 33


def split(
    secret: bytes,
    parties: Iterable[int],
    *,
    threshold: int,
    random: Callable[[int], bytes],
) -> dict[int, bytes]:
    """Share a secret among parties.

    Args:
      secret: 32 bytes.
      parties: distinct positive numbers, at least `threshold` of them.
      threshold: number of shares that give the secret.
      random: n -> n random bytes, such as os.urandom.

    Returns:
      33 bytes for each party.

    Raises:
      ValueError: the secret has another length, or the parties are too few, repeated
        or not positive.
    """
    parties = list(parties)
    if len(secret) != SECRET_BYTES:
        raise ValueError(
            f"split: a secret needs {SECRET_BYTES} bytes, got {len(secret)}."
        )
    if len(set(parties)) < len(parties) or any(not 0 < k < PRIME for k in parties):
        raise ValueError(
            f"split: parties need distinct positive numbers, got {parties}."
        )
    if not 1 <= threshold <= len(parties):
        raise ValueError(
            f"split: a threshold of {threshold} needs at least as many parties, got "
            f"{len(parties)}. Lower the threshold."
        )
    # 49 bytes: the remainder is within 2^-135 of uniform.
    polynomial = [int.from_bytes(secret, "little")]
    polynomial += [_integer(random(49)) % PRIME for _ in range(threshold - 1)]
    return {k: _value(polynomial, k).to_bytes(SHARE_BYTES, "little") for k in parties}


def combine(shares: Mapping[int, bytes], *, threshold: int) -> bytes:
    """The secret, from the `threshold` shares with the smallest numbers.

    Args:
      shares: 33 bytes for each of `threshold` or more parties.
      threshold: the same as in `split`. A smaller one gives an unrelated number.

    Raises:
      ProtocolError: there are too few shares, a share is not below the prime, or the
        shares are not of one secret.
    """
    if len(shares) < threshold:
        raise ProtocolError(
            f"combine: the secret needs {threshold} shares, got {len(shares)}. "
            "Ask more silos for theirs."
        )
    values = {k: _integer(shares[k]) for k in sorted(shares)[:threshold]}
    if any(len(shares[k]) != SHARE_BYTES or v >= PRIME for k, v in values.items()):
        raise ProtocolError(
            f"combine: a share needs {SHARE_BYTES} bytes below the prime 2^256 + 297."
        )
    secret = 0
    for k, value in values.items():
        above = below = 1
        for j in values:
            if j != k:
                above, below = above * j % PRIME, below * (j - k) % PRIME
        secret = (secret + value * above * pow(below, -1, PRIME)) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise ProtocolError(
            "combine: these are not shares of one secret. A silo has sent a wrong one."
        )
    return secret.to_bytes(SECRET_BYTES, "little")


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _value(polynomial: list[int], at: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * at + coefficient) % PRIME
    return value
