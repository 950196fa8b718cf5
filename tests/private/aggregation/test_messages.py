"""Every message, damaged in every way, is refused by name and changes nothing."""

import copy
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private.aggregation import bodies, messages, primitives, shamir
from helix_jax.private.aggregation.messages import Kind
from helix_jax.private.aggregation.silo import STEPS
from helix_jax.private.turns import Turns
from tests.conftest import WIDE
from tests.private.aggregation.stage import Stage

VECTORS = [[k, -k, 2**90 * k] for k in range(5)]
LEAVES = {5: "mask"}
HEADER = struct.Struct("<4sHHHH32sQ")  # twin of the format
FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FROM_SILO = (Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.CONFIRM, Kind.REVEAL)


def another(role):
    """A copy of a role, which it does not give itself."""
    state = {name: value for name, value in vars(role).items() if name != "_turns"}
    copied = object.__new__(type(role))
    vars(copied).update(copy.deepcopy(state), _turns=Turns("a copy"))
    return copied


class Paused:
    """A session stopped where one role is about to take one message.

    Attributes:
      role: an Aggregator or a Silo.
      take: name of the method of the role.
      message: what it waits for.
      key: the signing key of the sender.
    """

    def __init__(self, kind):
        step = STEPS[FROM_SILO.index(kind)] if kind in FROM_SILO else None
        before = STEPS[(kind - 2) // 2] if step is None else None
        following = step or STEPS[STEPS.index(before) + 1]
        self.stage = Stage(VECTORS).play(until=following, leaves=LEAVES)
        if step:
            sent = self.stage.act(step, without=(5,) if step == "mask" else ())
            self.role, self.take = self.stage.aggregator, "receive"
            self.message, self.key = sent[2], self.stage.signing_keys[2]
        else:
            self.role, self.take = self.stage.silos[2], following
            self.message = self.stage.answers[before][2]
            self.key = self.stage.signing_keys[0]

    def give(self, data):
        """Hand data to a copy of the role."""
        return getattr(another(self.role), self.take)(data)

    def refuses(self, data):
        """The role itself refuses, and would still take the true message."""
        with pytest.raises((ProtocolError, KeyRoleError)):
            getattr(self.role, self.take)(data)
        self.give(self.message)

    def signed(self, **changes):
        """The message with other header fields or body, signed by its true sender."""
        fields = list(HEADER.unpack_from(self.message))
        body = changes.pop("body", self.message[HEADER.size : -64])
        names = ("magic", "version", "kind", "sender", "recipient", "session", "size")
        fields[6] = len(body)
        for name, value in changes.items():
            fields[names.index(name)] = value
        content = HEADER.pack(*fields) + body
        return content + messages.sign(self.key, messages._digest(content))


@pytest.fixture(params=list(Kind), ids=lambda kind: kind.name, scope="module")
def paused(request):
    return Paused(request.param)


def test_the_true_message_is_taken(paused):
    assert paused.signed() == paused.message
    paused.give(paused.message)


def test_every_length_but_the_true_one_is_refused(paused):
    size = len(paused.message)
    for short in {0, 1, 4, 51, 52, 115, 116, 117, size // 2, size - 64, size - 1}:
        if short < size:
            paused.refuses(paused.message[:short])
    for more in (b"\0", bytes(64), paused.message):
        paused.refuses(paused.message + more)


@FUZZ
@given(data=st.data())
def test_bit_flips_are_refused(paused, data):
    message = bytearray(paused.message)
    for place in data.draw(
        st.lists(
            st.integers(0, 8 * len(message) - 1), min_size=1, max_size=4, unique=True
        )
    ):
        message[place // 8] ^= 1 << (place % 8)
    paused.refuses(bytes(message))


@FUZZ
@given(data=st.data())
def test_cut_and_spliced_messages_are_refused(paused, data):
    message = paused.message
    a, b = sorted(data.draw(st.integers(0, len(message))) for _ in range(2))
    filling = data.draw(st.binary(max_size=200))
    spliced = message[:a] + filling + message[b:]
    if spliced != message:
        paused.refuses(spliced)


@FUZZ
@given(noise=st.binary(max_size=600))
def test_noise_is_refused(paused, noise):
    paused.refuses(noise)
    paused.refuses(paused.message[: HEADER.size] + noise)


@FUZZ
@given(data=st.data())
@pytest.mark.slow
def test_any_body_signed_by_its_sender_is_taken_or_refused_by_name(paused, data):
    """A member may sign what it likes: never another exception than the two."""
    body = paused.message[HEADER.size : -64]
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(
            st.integers(0, 255)
        )
    cut = data.draw(st.integers(0, len(body)))
    noise = data.draw(st.binary(max_size=100))
    for one in (changed, changed[:cut], changed + noise, noise, changed[:cut] + noise):
        try:
            paused.give(paused.signed(body=bytes(one)))
        except (ProtocolError, KeyRoleError) as error:
            assert len(str(error)) > 20  # noqa: PT017 - both outcomes are allowed


def hostile_bodies(session):
    """Bodies in the form of one: sets and tables of entries of some right size."""
    sizes = [messages.KEYS_BYTES, messages.SEALED_BYTES, shamir.SHARE_BYTES]
    sizes += [messages.confirm_bytes(session), primitives.KEY_BYTES, 1, 0]
    silos = st.integers(0, 2 ** (len(session.members) + 1) - 1).map(
        lambda bits: bits.to_bytes(1)
    )
    entry = st.builds(
        lambda size, fill: bytes([fill]) * size,
        st.sampled_from(sizes),
        st.integers(0, 255),
    )
    table = st.builds(
        lambda one, entry, count: one + entry * count, silos, entry, st.integers(0, 6)
    )
    return st.lists(silos | table, max_size=4).map(b"".join)


@settings(FUZZ, max_examples=500 if WIDE else 25)
@given(data=st.data())
def test_fields_that_are_wrong_together_are_refused_by_name(paused, data):
    """Header and body at once, signed by their sender; what is read is in its place."""
    session = paused.stage.session
    own = HEADER.unpack_from(paused.message)
    edges = {
        "kind": st.sampled_from([0, *map(int, Kind), 10, 2**16 - 1]),
        "sender": st.sampled_from([0, 1, 2, 5, 6, 2**16 - 1]),
        "recipient": st.sampled_from([0, 1, 2, 5, 6, 2**16 - 1]),
        "session": st.sampled_from([own[5], bytes(32), session.content[:32].ljust(32)]),
        "body": hostile_bodies(session),
        "size": st.sampled_from([0, 1, own[6], 2**32, 2**64 - 1]),
    }
    names = data.draw(st.sets(st.sampled_from(sorted(edges)), min_size=1))
    changes = {name: data.draw(edges[name], name) for name in sorted(names)}
    try:
        paused.give(paused.signed(**changes))
    except (ProtocolError, KeyRoleError) as error:
        assert len(str(error)) > 20  # noqa: PT017 - both outcomes are allowed
        return
    fields = "magic", "version", "kind", "sender", "recipient", "session"
    for name, value in zip(fields, own):
        assert changes.get(name, value) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": b"HXAH"}, "got b'HXAH' version 2"),
        ({"version": 3}, "version 3. Both sides need the same helix_jax"),
        ({"session": bytes(32)}, "of session 0000000000000000, this is"),
        ({"recipient": 3}, "the message is for 3, this is"),
        ({"sender": 60000}, "60000 does not send"),
        ({"sender": 4}, "is not signed by 4|4 does not send"),
        ({"size": 2**63}, "the header says 9223372036854775808 bytes of body"),
        ({"size": 0}, "the header says 0 bytes of body"),
        ({"kind": 77}, "waiting for [A-Z_]+, got kind 77"),
    ],
)
def test_each_field_of_the_header_is_checked(paused, change, message):
    with pytest.raises(ProtocolError, match=message):
        paused.give(paused.signed(**change))
    paused.refuses(paused.signed(**change))


def test_messages_of_other_rounds_are_refused(paused):
    kind = HEADER.unpack_from(paused.message)[2]
    for other in Kind:
        if other != kind:
            with pytest.raises(ProtocolError, match=f"got kind {other.name}"):
                paused.give(paused.signed(kind=int(other)))


def test_messages_of_another_session_are_refused(paused):
    kind = Kind(HEADER.unpack_from(paused.message)[2])
    with pytest.raises(ProtocolError, match="is of session"):
        paused.give(Paused(kind).message)


def test_absurd_sizes_are_refused_before_anything_is_made(paused):
    """A signed header that promises much, with the bytes to match, up to 16 MB."""
    session = paused.stage.session
    kind = Kind(HEADER.unpack_from(paused.message)[2])
    _, most = messages._body_bytes(session, kind)
    for size in (most + 1, 1 << 24):
        with pytest.raises(ProtocolError, match="bytes of body in this session"):
            paused.give(paused.signed(body=bytes(size)))


def test_sets_name_only_members(paused):
    session = paused.stage.session
    kind = Kind(HEADER.unpack_from(paused.message)[2])
    if kind not in (Kind.KEYS, Kind.MASKED):
        body = bytearray(paused.message[HEADER.size : -64])
        body[0] |= 1 << len(session.members)
        with pytest.raises(ProtocolError, match="names silos beyond 5"):
            paused.give(paused.signed(body=bytes(body)))


def test_a_message_taken_twice_is_refused(paused):
    role = another(paused.role)
    getattr(role, paused.take)(paused.message)
    with pytest.raises((ProtocolError, KeyRoleError), match=r"already|out of turn"):
        getattr(role, paused.take)(paused.message)


def test_sets_and_tables_come_back():
    session = Stage([[1]] * 11).session
    for silos in (set(), {1}, {8, 9}, set(range(1, 12))):
        packed = memoryview(bodies.pack_set(session, silos) + b"rest")
        got, rest = bodies.take_set(session, packed)
        assert (got, bytes(rest)) == (silos, b"rest")
        table = {k: bytes([k] * 5) for k in silos}
        packed = memoryview(bodies.pack_table(session, table) + b"rest")
        got, rest = bodies.take_table(session, packed, 5)
        assert (got, bytes(rest)) == (table, b"rest")
    with pytest.raises(ProtocolError, match="4 bytes too many"):
        bodies.take_all(rest)
    with pytest.raises(ProtocolError, match="needs 2 bytes, 1 are left"):
        bodies.take_set(session, memoryview(b"1"))
    with pytest.raises(ProtocolError, match="needs 15 bytes, 4 are left"):
        bodies.take_table(session, memoryview(b"\x07\0rest"), 5)
