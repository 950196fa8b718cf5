"""The group ristretto255: published vectors, and the laws of a group."""

import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.labels import ristretto

# RFC 9496, appendix A.1: multiples of the generator by 0 to 15.
MULTIPLES = """
0000000000000000000000000000000000000000000000000000000000000000
e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76
6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919
94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259
da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57
e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e
f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403
44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d
903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c
02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031
20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f
bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42
e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460
aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f
46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e
e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e
""".split()

# Appendix A.2: not below the prime, odd, no square, negative x y, y = 0.
BAD = """
00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
0100000000000000000000000000000000000000000000000000000000000000
ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20
26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371
4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f
3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e
a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
""".split()

# Appendix A.3: from 64 uniform bytes.
HASHED = """
5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1
4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6
3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46
f116b34b8f17ceb56e8732a60d913dd10cce47a6d53bee9204be8b44f6678b27
0102a56902e2488c46120e9276cfe54638286b9e4b3cdb470b542d46c2068d38
f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b
8422e1bbdaab52938b81fd602effb6f89110e1e57208ad12d9ad767e2e25510c
27140775f9337088b982d83d7fcf0b2fa1edffe51952cbe7365e95c86eaf325c
006ccd2a9e6867e6a2c5cea83d3302cc9de128dd2a9a57dd8ee7b9d7ffe02826
""".split()


def test_multiples_of_the_generator():
    for scalar, encoded in enumerate(MULTIPLES):
        for point in (
            ristretto.multiply(scalar, ristretto.GENERATOR),
            ristretto.multiply_base(scalar),
            ristretto.multiply_base(scalar + ristretto.ORDER),
            ristretto.decode(bytes.fromhex(encoded)),
        ):
            assert ristretto.encode(point).hex() == encoded


@pytest.mark.parametrize("encoded", [*BAD, MULTIPLES[1] + "00", ""])
def test_what_is_no_element(encoded):
    with pytest.raises(ProtocolError, match="no element of ristretto255"):
        ristretto.decode(bytes.fromhex(encoded))


def test_hashes():
    for first, second, encoded in zip(*[iter(HASHED)] * 3):
        point = ristretto.from_uniform(bytes.fromhex(first + second))
        assert ristretto.encode(point).hex() == encoded


def test_a_published_product():
    """libsodium's, of a point and a scalar of 253 bits."""
    scalar, point, product = (
        bytes.fromhex(text)
        for text in (
            "40a47d219ac550a3dcd7993356cfe639ff0e0cebbce2c82dd8010597db7d305d",
            "9015dc069ae1fde7a640c8df344ae3753e691305a8e05199485c515f34d9bf13",
            "082e3359857311730af327cea83026d3b1947c3a79c31aa85469c68681f14043",
        )
    )
    scalar = int.from_bytes(scalar, "little")
    found = ristretto.multiply(scalar, ristretto.decode(point))
    assert ristretto.encode(found) == product


def test_sums_are_those_of_scalars():
    a, b = ristretto.random_scalar(), ristretto.random_scalar()
    total = ristretto.add(ristretto.multiply_base(a), ristretto.multiply_base(b))
    expected = ristretto.multiply_base((a + b) % ristretto.ORDER)
    assert ristretto.encode(total) == ristretto.encode(expected)
    none = ristretto.add(total, ristretto.negate(expected))
    assert ristretto.encode(none) == bytes(32)
