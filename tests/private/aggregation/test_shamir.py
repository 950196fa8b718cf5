"""Sharing: the secret from any t shares, nothing from fewer."""

import itertools
import os

import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation.shamir import PRIME, combine, split
from tests.private.aggregation.stage import seeded


def interpolate(points: dict[int, int], at: int) -> int:
    """Independent twin: Newton's divided differences modulo the prime."""
    places = list(points)
    table = [points[z] for z in places]
    for level in range(1, len(places)):
        for i in range(len(places) - 1, level - 1, -1):
            gap = pow(places[i] - places[i - level], PRIME - 2, PRIME)
            table[i] = (table[i] - table[i - 1]) * gap % PRIME
    value = 0
    for place, coefficient in zip(reversed(places), reversed(table)):
        value = (value * (at - place) + coefficient) % PRIME
    return value


def is_prime(n: int) -> bool:
    """Miller-Rabin to the first forty primes."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    bases = [p for p in range(2, 180) if all(p % q for q in range(2, p))]
    if any(n % p == 0 for p in bases):
        return False
    for base in bases:
        value = pow(base, odd, n)
        if value not in (1, n - 1) and not any(
            (value := value * value % n) == n - 1 for _ in range(twos - 1)
        ):
            return False
    return True


def test_prime_is_the_smallest_above_all_secrets():
    assert is_prime(PRIME)
    assert not any(is_prime(n) for n in range(2**256, PRIME))


@pytest.mark.parametrize(("parties", "threshold"), [(3, 3), (5, 3), (6, 4), (4, 1)])
def test_any_threshold_shares_give_the_secret(parties, threshold):
    for secret in (bytes(32), b"\xff" * 32, os.urandom(32)):
        shares = split(
            secret, range(1, parties + 1), threshold=threshold, random=os.urandom
        )
        for chosen in itertools.combinations(shares, threshold):
            some = {k: shares[k] for k in chosen}
            points = {k: int.from_bytes(v, "little") for k, v in some.items()}
            assert combine(some, threshold=threshold) == secret
            assert interpolate(points, 0) == int.from_bytes(secret, "little")
        assert combine(shares, threshold=threshold) == secret


def test_shares_lie_on_one_polynomial_of_the_right_degree():
    shares = split(os.urandom(32), range(1, 8), threshold=4, random=os.urandom)
    points = {k: int.from_bytes(v, "little") for k, v in shares.items()}
    first = {k: points[k] for k in (1, 2, 3, 4)}
    assert all(interpolate(first, k) == points[k] for k in points)
    three = {k: points[k] for k in (1, 2, 3)}
    assert interpolate(three, 4) != points[4]


def test_one_share_fewer_agrees_with_every_secret():
    shares = split(os.urandom(32), range(1, 6), threshold=4, random=os.urandom)
    points = {k: int.from_bytes(shares[k], "little") for k in (1, 3, 5)}
    for other in (0, 1, 2**255, int.from_bytes(os.urandom(32))):
        fourth = interpolate({0: other, **points}, 2)
        polynomial = {**points, 2: fourth}
        assert interpolate(polynomial, 0) == other
        as_shares = {k: v.to_bytes(33, "little") for k, v in polynomial.items()}
        assert combine(as_shares, threshold=4) == other.to_bytes(32, "little")


def test_randomness_is_used_once_for_each_coefficient():
    drawn = []

    def count(size):
        drawn.append(size)
        return seeded(0)(size)

    split(bytes(32), range(1, 6), threshold=4, random=count)
    assert drawn == [49, 49, 49]


def test_what_cannot_be_combined_is_refused():
    shares = split(bytes(32), range(1, 6), threshold=4, random=os.urandom)
    with pytest.raises(ProtocolError, match="needs 4 shares, got 3"):
        combine({k: shares[k] for k in (1, 2, 3)}, threshold=4)
    with pytest.raises(ProtocolError, match="below the prime"):
        combine(shares | {1: PRIME.to_bytes(33, "little")}, threshold=4)
    with pytest.raises(ProtocolError, match="33 bytes"):
        combine(shares | {1: shares[1][:-1]}, threshold=4)
    # A polynomial whose value at zero is 2^256, which no secret is.
    points = {0: 2**256, 1: 1, 2: 2, 3: 3}
    points[4] = interpolate(points, 4)
    wrong = {k: points[k].to_bytes(33, "little") for k in (1, 2, 3, 4)}
    with pytest.raises(ProtocolError, match="not shares of one secret"):
        combine(wrong, threshold=4)


@pytest.mark.parametrize(
    ("secret", "parties", "threshold", "message"),
    [
        (bytes(31), (1, 2, 3), 2, "32 bytes, got 31"),
        (bytes(32), (0, 1, 2), 2, "positive"),
        (bytes(32), (1, 1, 2), 2, "distinct"),
        (bytes(32), (1, 2), 3, "as many parties, got 2"),
        (bytes(32), (1, 2), 0, "threshold of 0"),
    ],
)
def test_what_cannot_be_split_is_refused(secret, parties, threshold, message):
    with pytest.raises(ValueError, match=message):
        split(secret, parties, threshold=threshold, random=os.urandom)
