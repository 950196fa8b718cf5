"""Labels by two rounds: right, once, and nothing else."""

import threading

import numpy as np
import pytest

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import LabelClient, Provider, sum_answers, wire
from helix_jax.private.internals import sign_anew
from helix_jax.private.labels.base_transfers import OFFER_BYTES
from tests.conftest import WIDE

WIDTH, CLASSES = 12, 5


@pytest.fixture(scope="module")
def sides(parties):
    """(client's side, provider, kernel, bias), agreed on transfers."""
    client, provider, layer, kernel, bias = parties(policy="label")
    side = LabelClient(client, layer)
    side.read_elements(provider.agree(side.agree()))
    return side, provider, kernel, bias


def take_transfers(sides, side, provider):
    """Those of the fixture, for another provider of the same client."""
    side._keys, side._agreed = sides[0]._keys, sides[0]._agreed
    desks = [one._accounts[side._client.key].desk for one in (sides[1], provider)]
    desks[1]._transfers = desks[0]._transfers


def ask(side, provider, x):
    return side.read(provider.label(side.choose(provider.answer(side.encrypt(x)))))


@pytest.mark.slow
def test_labels(sides):
    side, provider, kernel, bias = sides
    x = np.random.default_rng(0).standard_normal((18, WIDTH))
    logits = x @ kernel + bias
    found = np.concatenate([ask(side, provider, x[:9]), ask(side, provider, x[9:])])
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, logits.argmax(axis=1))
    one = ask(side, provider, x[3])
    assert one.shape == ()
    assert one == logits[3].argmax()


@pytest.mark.skipif(not WIDE, reason="compiles two more layers: HELIX_WIDE=1")
@pytest.mark.parametrize(("width", "classes", "tiles"), [(100, 30, 3), (2048, 150, 1)])
def test_labels_of_several_parts_and_groups(sides, client, width, classes, tiles):
    rng = np.random.default_rng(width)
    kernel = rng.standard_normal((width, classes)) / np.sqrt(width)
    bias, x = rng.standard_normal(classes), rng.standard_normal((11, width))
    provider = Provider(kernel, bias, input_norm=70.0, policy="label", tiles=tiles)
    own = client("guarded")
    provider.register(own.public_bundle())
    side = LabelClient(own, own.read_layer(provider.layer.to_bytes()))
    take_transfers(sides, side, provider)
    pieces = provider.answer_pieces(side.encrypt(x))
    found = side.read(provider.label(side.choose(pieces)))
    np.testing.assert_array_equal(found, (x @ kernel + bias).argmax(axis=1))


@pytest.mark.slow
def test_of_near_ties_either_is_given(sides, parties):
    """Two classes apart by less than the stated error, and by a little more."""
    client, _, _, kernel, bias = parties(policy="label")
    near = kernel.copy()
    near[:, 3] = near[:, 1]
    for gap, sure in ((0.0, False), (2.1, True)):
        own = bias + 0.0
        own[1] = own[3] = 9.0
        provider = Provider(near, own, input_norm=8.0, policy="label")
        own[3] += gap * provider.layer.error
        provider = Provider(near, own, input_norm=8.0, policy="label")
        provider.register(client.public_bundle())
        side = LabelClient(client, client.read_layer(provider.layer.to_bytes()))
        take_transfers(sides, side, provider)
        x = np.random.default_rng(1).standard_normal((40, WIDTH)) / 4
        found = ask(side, provider, x)
        assert set(found) == ({3} if sure else {1, 3})


@pytest.mark.slow
def test_the_answer_alone_is_uniform(sides):
    """What the client can decrypt: phases that fill (-q / 2, q / 2] evenly."""
    side, provider, _, _ = sides
    x = np.ones((200, WIDTH)) / 8
    answer = provider.answer(side.encrypt(x))
    opened = side._client.open_answer(answer, labels=True)
    parts = opened.phases.reshape(-1) / opened.layer.profile.modulus + 0.5
    counts = np.histogram(parts, 10, (0, 1))[0]
    expected = parts.size / 10
    assert ((counts - expected) ** 2 / expected).sum() < 33.7  # p = 1e-4
    assert abs(np.corrcoef(parts[:-5], parts[5:])[0, 1]) < 4 / np.sqrt(parts.size)


def test_a_circuit_is_given_once(sides):
    side, provider, _, _ = sides
    x = np.ones(WIDTH)
    answer = provider.answer(side.encrypt(x))
    choices = side.choose(answer)
    with pytest.raises(ProtocolError, match="was not made here, or its answer was"):
        side.choose(answer)
    garbled = provider.label(choices)
    with pytest.raises(ProtocolError, match="waits for its second round"):
        provider.label(choices)
    first = side.read(garbled)
    with pytest.raises(ProtocolError, match="are not awaited here"):
        side.read(garbled)
    assert first.shape == ()


def test_of_many_threads_one_gets_the_circuit(sides):
    side, provider, _, _ = sides
    choices = side.choose(provider.answer(side.encrypt(np.ones(WIDTH))))
    start, got = threading.Barrier(8), []

    def ask_once():
        start.wait()
        try:
            got.append(provider.label(choices))
        except ProtocolError as error:
            got.append("waits for its second round" in str(error))

    threads = [threading.Thread(target=ask_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(type, got), key=str) == [bool] * 7 + [bytes]
    assert all(one for one in got if isinstance(one, bool))


def test_other_choices_for_an_answer_are_refused(sides):
    """The same offsets with shares of one's choice would be a second label."""
    side, provider, _, _ = sides
    choices = side.choose(provider.answer(side.encrypt(np.ones(WIDTH))))
    number = wire.read(choices, "choices", side.layer.profile, binding=None).number
    provider.label(choices)
    other = side.choose(provider.answer(side.encrypt(np.zeros(WIDTH))))
    again = sign_anew(side._client, other[:24] + number + other[40:])
    with pytest.raises(ProtocolError, match="waits for its second round"):
        provider.label(again)
    provider.label(other)


def test_changed_messages(sides):
    side, provider, kernel, bias = sides
    x = np.ones(WIDTH) / 2
    choices = side.choose(provider.answer(side.encrypt(x)))
    for changed, message in (
        (choices + b"x", "bytes follow"),
        (choices[:60] + bytes(4) + choices[64:], "expected sizes"),
        (choices[:40] + bytes(16) + choices[56:], "discarded transfers"),
        (choices[:24] + bytes(16) + choices[40:], "waits for its second round"),
    ):
        with pytest.raises(ProtocolError, match=message):
            provider.label(sign_anew(side._client, changed))
        with pytest.raises((ProtocolError, KeyRoleError)):
            provider.label(changed)
    with pytest.raises(KeyRoleError, match="not registered"):
        provider.label(choices[:8] + bytes(16) + choices[24:])
    garbled = provider.label(choices)
    for changed, message in (
        (garbled[:-1], "bytes follow"),
        (garbled[:60] + bytes(4) + garbled[64:], "expected sizes"),
        (garbled[:24] + bytes(16) + garbled[40:], "are not awaited"),
        (garbled[:80] + bytes(16) + garbled[96:], "changed (on|in tran)"),
    ):
        with pytest.raises(ProtocolError, match=message):
            side.read(changed)
    assert side.read(garbled) == (x @ kernel + bias).argmax()


def test_a_changed_circuit_gives_the_label_or_is_refused(sides):
    """Any one byte of 200: never another label."""
    side, provider, kernel, bias = sides
    x = np.ones(WIDTH) / 3
    garbled = provider.label(side.choose(provider.answer(side.encrypt(x))))
    number = garbled[24:40]
    chosen = side._chosen[number]
    refused = 0
    for place in np.random.default_rng(0).integers(80, len(garbled), 200):
        changed = bytearray(garbled)
        changed[place] ^= 16
        side._chosen[number] = chosen
        try:
            assert side.read(bytes(changed)) == (x @ kernel + bias).argmax()
        except ProtocolError:
            refused += 1
    assert 30 < refused < 200  # rows that no colour asks for do not matter


def test_exchanged_hashes_of_a_result_name_no_value(sides):
    """Each bit of the class in turn: the other class was read once."""
    side, provider, _, _ = sides
    choices = side.choose(provider.answer(side.encrypt(np.ones(WIDTH) / 3)))
    garbled = provider.label(choices)
    bits = (CLASSES - 1).bit_length()
    first = len(garbled) - 2 * 16 * bits
    for start in range(first, first + 16 * bits, 16):
        changed, other = bytearray(garbled), start + 16 * bits
        changed[start : start + 16] = garbled[other : other + 16]
        changed[other : other + 16] = garbled[start : start + 16]
        with pytest.raises(ProtocolError, match=r"changed (on|in tran)"):
            side.read(bytes(changed))
    side.read(garbled)


def test_a_message_of_transfers_is_taken_once(sides):
    """Who repeats it would end those that its owner has."""
    side, provider, kernel, bias = sides
    x = np.ones(WIDTH) / 2
    choices = side.choose(provider.answer(side.encrypt(x)))
    repeated = side._write(
        "transfers", side._agreed, side.layer.binding, (), bytes(OFFER_BYTES)
    )
    with pytest.raises(ProtocolError, match=r"already given to client"):
        provider.agree(repeated)
    assert side.read(provider.label(choices)) == (x @ kernel + bias).argmax()


@pytest.mark.slow
def test_who_fails_the_check_needs_new_transfers(sides, parties):
    own, provider, layer, kernel, bias = parties(policy="label", input_norm=9.0)
    side = LabelClient(own, layer)
    with pytest.raises(ProtocolError, match="no transfers were agreed on"):
        side.choose(b"")
    take_transfers(sides, side, provider)
    first, second = (provider.answer(side.encrypt(np.ones(WIDTH))) for _ in range(2))
    choices, later = bytearray(side.choose(first)), side.choose(second)
    choices[200] ^= 1
    with pytest.raises(ProtocolError, match="are given up"):
        provider.label(sign_anew(own, bytes(choices)))
    with pytest.raises(ProtocolError, match="no transfers were agreed on"):
        provider.label(later)
    with pytest.raises(ProtocolError, match="no transfers are awaited"):
        side.read_elements(b"")
    side.read_elements(provider.agree(side.agree()))
    with pytest.raises(ProtocolError, match="discarded transfers"):
        provider.label(later)
    assert ask(side, provider, np.ones(WIDTH)) == (kernel.sum(axis=0) + bias).argmax()


def test_what_other_policies_and_sizes_do(sides, parties, client):
    side, provider, _, _ = sides
    answer = provider.answer(side.encrypt(np.ones(WIDTH)))
    with pytest.raises(ProtocolError, match="labels are read by a LabelClient"):
        side._client.decrypt(answer)
    with pytest.raises(ValueError, match="separate offsets"):
        sum_answers([answer], side.layer)
    own, other, layer, _, _ = parties()
    with pytest.raises(ValueError, match="policy is 'logits', not 'label'"):
        LabelClient(own, layer)
    with pytest.raises(ValueError, match="no second round"):
        other.label(b"")
    with pytest.raises(ValueError, match="labels need 2 classes or more"):
        Provider(np.ones((3, 1)), input_norm=1.0, policy="label")
    with pytest.raises(ValueError, match="9000 classes take 144000 transfers"):
        Provider(np.ones((2, 9000)), input_norm=1.0, policy="label")
    wide = Provider(np.ones((WIDTH, 200)), input_norm=8.0, policy="label")
    wide.register(side._client.public_bundle())
    query = side._client.encrypt(wide.layer, np.zeros((41, WIDTH)))
    with pytest.raises(ProtocolError, match="holds 1 to 40 queries, got 41"):
        wide.answer(query)
    with pytest.raises(ValueError, match="take 131120 transfers, a message holds"):
        side.encrypt(np.zeros((1639, WIDTH)))


def test_a_forked_child_neither_asks_nor_garbles(sides):
    """As a child sees both: made in another process."""
    side, provider, _, _ = sides
    choices = side.choose(provider.answer(side.encrypt(np.ones(WIDTH))))
    desk = provider._accounts[side._client.key].desk
    for party, run in ((desk, desk.label), (side, side.choose)):
        party._turns.process -= 1
        with pytest.raises(ProtocolError, match="a forked child"):
            run(choices)
        party._turns.process += 1
    provider.label(choices)
