"""One session of the aggregator: what is kept, what is refused, what a restart does."""

import hashlib

import numpy as np
import pytest

from helix_jax.errors import HelixError, KeyRoleError, ProtocolError
from helix_jax.net.aggregation.journal import LINES
from helix_jax.net.refusals import Refusal
from helix_jax.private.aggregation import new_identity
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.messages import Kind, message_bytes
from helix_jax.private.aggregation.silo import STEPS
from tests.net.sums import make_parties


def put(rounds, kind, silo, message):
    """Send a message as the service does; whether it was new."""
    file = rounds.expect(kind, silo, len(message))
    if file:
        file.write_bytes(message)
    rounds.take(kind, silo, file, hashlib.sha256(message).hexdigest())
    return file is not None and file.exists()


def all_rounds(parties, folder, *, leaves=(), reopen=True):
    """Run a session; with `reopen` the aggregator begins anew after every message."""
    rounds = parties.rounds(folder)
    inbox = {k: () for k in parties.agreement.session.numbers}
    silos = {k: parties.silo(k) for k in inbox}
    for step, kind in zip(STEPS, ROUNDS):
        for k in list(silos):
            if (k, step) in leaves:
                del silos[k]
                continue
            message = getattr(silos[k], step)(*inbox[k])
            assert put(rounds, kind, k, message)
            if reopen:
                rounds = parties.rounds(folder)
            assert not put(rounds, kind, k, message)  # the same bytes once more
            assert not rounds.close(kind, due=False) or k == max(silos)
        rounds.close(kind, due=True)
        if kind is ROUNDS[-1]:
            break
        told = {k: rounds.answer(kind, k) for k in silos}
        if reopen:
            rounds = parties.rounds(folder)
            assert told == {k: rounds.answer(kind, k) for k in silos}
        inbox = {k: (told[k],) for k in silos}
    return rounds


def size_of(parties, kind):
    return message_bytes(parties.agreement.session, kind)[1]


def read_total(rounds, silo):
    return np.frombuffer(rounds.total(silo).read_bytes(), "<u8").reshape(2, -1)


def test_an_aggregator_that_restarts_after_every_message_comes_to_the_same(tmp_path):
    parties = make_parties(5, threshold=3)
    leaves = {(2, "mask"), (5, "reveal")}
    rounds = all_rounds(parties, tmp_path / "s", leaves=leaves)
    wanted = parties.rehearsed({2: "mask", 5: "reveal"})
    np.testing.assert_array_equal(read_total(rounds, 1), wanted)
    np.testing.assert_array_equal(read_total(rounds, 5), wanted)  # its vector is in it
    with pytest.raises(Refusal, match="forbidden"):
        rounds.total(2)
    # Nothing is left of what single silos sent.
    assert {path.name for path in (tmp_path / "s").iterdir()} == {LINES, "total"}
    assert parties.rounds(tmp_path / "s").describe() == {
        "round": None,
        "ended": "summed",
        "waiting_for": [],
        "survivors": ["silo-1", "silo-3", "silo-4", "silo-5"],
    }


def test_what_was_not_acknowledged_is_forgotten_and_comes_again(tmp_path):
    parties = make_parties(3)
    rounds = parties.rounds(tmp_path)
    messages = {k: parties.silo(k).advertise() for k in (1, 2, 3)}
    put(rounds, Kind.KEYS, 1, messages[1])
    rounds.expect(Kind.KEYS, 2, len(messages[2])).write_bytes(messages[2])  # killed
    with open(tmp_path / LINES, "a") as journal:
        journal.write('{"what": "taken", "ki')
    rounds = parties.rounds(tmp_path)
    assert rounds.describe()["waiting_for"] == ["silo-2", "silo-3"]
    assert len(list(tmp_path.iterdir())) == 2
    assert put(rounds, Kind.KEYS, 2, messages[2])
    assert put(rounds, Kind.KEYS, 3, messages[3])
    assert rounds.close(Kind.KEYS, due=False)


def test_memory_is_not_ahead_of_a_disk_that_refuses(tmp_path):
    parties = make_parties(3)
    rounds = parties.rounds(tmp_path)
    messages = {k: parties.silo(k).advertise() for k in (1, 2, 3)}
    (tmp_path / LINES).mkdir()  # no line can be written
    with pytest.raises(HelixError):
        put(rounds, Kind.KEYS, 1, messages[1])
    (tmp_path / LINES).rmdir()
    assert rounds.describe()["waiting_for"] == ["silo-1", "silo-2", "silo-3"]
    for k, message in messages.items():
        assert put(rounds, Kind.KEYS, k, message)
    (tmp_path / LINES).rename(tmp_path / "aside")
    (tmp_path / LINES).mkdir()
    with pytest.raises(HelixError):
        rounds.close(Kind.KEYS, due=False)
    (tmp_path / LINES).rmdir()
    (tmp_path / "aside").rename(tmp_path / LINES)
    assert rounds.answer(Kind.KEYS, 1) is None  # nobody is told of a lost closing
    assert rounds.close(Kind.KEYS, due=False)
    assert rounds.answer(Kind.KEYS, 1)


def test_a_second_process_of_a_silo_is_refused(tmp_path):
    parties = make_parties(3)
    rounds = parties.rounds(tmp_path)
    put(rounds, Kind.KEYS, 1, parties.silo(1).advertise())
    with pytest.raises(Refusal, match="conflict"):
        put(rounds, Kind.KEYS, 1, parties.silo(1).advertise())
    with pytest.raises(Refusal, match="conflict"):
        put(parties.rounds(tmp_path), Kind.KEYS, 1, parties.silo(1).advertise())


def test_sizes_order_and_senders_are_seen_to(tmp_path):
    parties = make_parties(3)
    rounds = parties.rounds(tmp_path)
    message = parties.silo(1).advertise()
    with pytest.raises(Refusal, match="too_large"):
        rounds.expect(Kind.KEYS, 1, len(message) + 1)
    with pytest.raises(Refusal, match="malformed"):
        rounds.expect(Kind.KEYS, 1, len(message) - 1)
    with pytest.raises(Refusal, match="early"):
        rounds.expect(Kind.MASKED, 1, size_of(parties, Kind.MASKED))
    with pytest.raises(Refusal, match="forbidden"):
        put(rounds, Kind.KEYS, 2, message)
    for place in (4, 60, len(message) - 1):  # version, digest, signature
        wrong = bytearray(message)
        wrong[place] ^= 1
        with pytest.raises(Refusal, match="malformed"):
            put(rounds, Kind.KEYS, 1, bytes(wrong))
    assert put(rounds, Kind.KEYS, 1, message)


def test_too_few_end_the_session_and_leave_nothing_to_open(tmp_path):
    parties = make_parties(4, threshold=3)
    rounds = parties.rounds(tmp_path / "s")
    for k in (1, 2):
        put(rounds, Kind.KEYS, k, parties.silo(k).advertise())
    assert rounds.close(Kind.KEYS, due=True)
    for one in (rounds, parties.rounds(tmp_path / "s")):
        assert one.describe()["ended"] == "failed"
        for ask in (one.total, lambda k, one=one: one.answer(Kind.KEYS, k)):
            with pytest.raises(Refusal, match="ended"):
                ask(1)
        with pytest.raises(Refusal, match="ended"):
            one.expect(Kind.KEYS, 3, size_of(parties, Kind.KEYS))
    assert [path.name for path in (tmp_path / "s").iterdir()] == [LINES]


def test_a_journal_of_something_else_and_another_key_are_refused(tmp_path):
    parties = make_parties(3)
    (tmp_path / LINES).write_text('{"what": "taken", "kind": "NONE"}\n')
    with pytest.raises(ProtocolError, match="damaged or of another version"):
        parties.rounds(tmp_path)
    with pytest.raises(KeyRoleError, match="signing key is not that"):
        parties._replace(aggregator_key=new_identity()[0]).rounds(tmp_path / "n")
