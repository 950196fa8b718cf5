"""The protocol: exact sums with and without drop-outs, and roles that refuse misuse."""

import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from helix_jax.alignment import from_batch, merge_all
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private.aggregation import (
    Aggregator,
    MomentsFormat,
    Session,
    Silo,
    bodies,
    decode,
    default_threshold,
    encode,
    least_threshold,
    messages,
    most_colluders,
    new_identity,
    new_session,
    rehearse,
)
from helix_jax.private.aggregation.messages import Kind
from helix_jax.private.aggregation.silo import STEPS
from tests.private.aggregation.stage import MODULUS, Stage, to_ints, to_words

LENGTH = 6


def vectors_of(silos, seed=0):
    rng = np.random.default_rng(seed)
    edges = [0, -1, 2**127 - 1, -(2**127), 2**64]
    return [
        [int.from_bytes(rng.bytes(16)) for _ in range(LENGTH - 1)]
        + [edges[k % len(edges)]]
        for k in range(silos)
    ]


def clear_sum(vectors, silos):
    return [sum(vectors[k - 1][i] for k in silos) % MODULUS for i in range(LENGTH)]


@pytest.mark.parametrize(("silos", "threshold"), [(3, None), (4, 3), (7, None), (9, 9)])
def test_sum_of_all(silos, threshold):
    vectors = vectors_of(silos)
    stage = Stage(vectors, threshold=threshold).play()
    assert stage.total() == clear_sum(vectors, range(1, silos + 1))
    assert stage.aggregator.survivors == set(range(1, silos + 1))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("gone", [(2,), (1, 6), (5, 6)])
def test_sum_when_silos_leave(step, gone):
    vectors = vectors_of(6)
    stage = Stage(vectors, threshold=4).play(leaves=dict.fromkeys(gone, step))
    # Who leaves after its masked vector has come is in the sum, who leaves before not.
    sent_it = STEPS.index(step) > STEPS.index("mask")
    survivors = {k for k in range(1, 7) if sent_it or k not in gone}
    assert stage.aggregator.survivors == survivors
    assert stage.total() == clear_sum(vectors, survivors)


@pytest.mark.slow
def test_sum_when_silos_leave_at_different_steps():
    vectors = vectors_of(9)
    for a, b, c in itertools.permutations(STEPS, 3):
        stage = Stage(vectors, threshold=6).play(leaves={1: a, 5: b, 9: c})
        late = ("confirm", "reveal")
        survivors = {2, 3, 4, 6, 7, 8} | {
            k for k, step in ((1, a), (5, b), (9, c)) if step in late
        }
        assert stage.total() == clear_sum(vectors, survivors)


@pytest.mark.parametrize("step", STEPS)
def test_below_threshold_the_round_stays_open(step):
    vectors = vectors_of(5)
    stage = Stage(vectors, threshold=4).play(until=step)
    sent = stage.act(step)
    for k in (1, 2, 5):
        stage.aggregator.receive(sent[k])
    kind = ("KEYS", "SHARES", "MASKED", "CONFIRM", "REVEAL")[STEPS.index(step)]
    with pytest.raises(ProtocolError, match=rf"3 of 5 silos sent {kind}, needs 4; wai"):
        stage.aggregator.close_round()
    with pytest.raises(KeyRoleError, match="total before the end"):
        stage.aggregator.total()
    assert stage.aggregator.waiting_for == {3, 4}
    stage.aggregator.receive(sent[3])
    stage.answers[step] = stage.aggregator.close_round()
    stage.play()
    early = STEPS.index(step) <= STEPS.index("mask")
    survivors = {1, 2, 3, 5} if early else {1, 2, 3, 4, 5}
    assert stage.total() == clear_sum(vectors, survivors)


def test_moments_of_silos_equal_the_merged_moments():
    rng = np.random.default_rng(0)
    parts = [
        from_batch(rng.normal(k, 1.0, (30 + k, 6)), rng.normal(-k, 2.0, (30 + k, 3)))
        for k in range(5)
    ]
    layout = MomentsFormat(6, 3, silos=5)
    vectors = [encode(part, layout) for part in parts]
    for leaves, kept in (({}, parts), ({2: "mask"}, parts[:1] + parts[2:])):
        result = rehearse(vectors, content=layout.content, leaves=leaves)
        wanted = to_ints(np.zeros((2, layout.length), np.uint64))
        for k in result.survivors:
            wanted = [
                (a + b) % MODULUS for a, b in zip(wanted, to_ints(vectors[k - 1]))
            ]
        assert to_ints(result.total) == wanted
        for got, value in zip(decode(result.total, layout), merge_all(kept)):
            np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)
        assert min(result.upload_bytes[k] for k in result.survivors) > (
            16 * layout.length
        )
        assert result.aggregator_seconds > 0
        assert all(result.silo_seconds[k] > 0 for k in result.survivors)


def test_masked_vectors_do_not_change_the_callers():
    words = to_words(range(LENGTH))
    rehearse([words] * 3, content=b"")
    np.testing.assert_array_equal(words, to_words(range(LENGTH)))


def test_every_step_once_and_in_order():
    stage = Stage(vectors_of(3))
    silo, aggregator = stage.silos[1], stage.aggregator
    for now, step in enumerate(STEPS):
        for other in STEPS:
            if other != step:
                data = () if other == "advertise" else (b"",)
                with pytest.raises(KeyRoleError, match=f"out of turn, {step} is next"):
                    getattr(silo, other)(*data)
        stage.act(step)
        if now:
            with pytest.raises(KeyRoleError, match=f"{step} out of turn"):
                getattr(silo, step)(stage.answers[STEPS[now - 1]][1])
        if step != "reveal":
            stage.deliver(step)
    with pytest.raises(KeyRoleError, match="reveal out of turn, nothing is next"):
        silo.reveal(stage.answers["confirm"][1])
    stage.deliver("reveal")
    with pytest.raises(KeyRoleError, match="receive after the last round"):
        aggregator.receive(stage.sent["reveal"][1])
    with pytest.raises(KeyRoleError, match="close_round after the last round"):
        aggregator.close_round()


def test_a_key_belongs_to_one_role():
    stage = Stage(vectors_of(3))
    words = to_words(range(LENGTH))
    for number, key in ((1, 2), (2, 0), (0, 0), (4, 1), (-1, 3)):
        with pytest.raises(KeyRoleError, match=f"not that of member {number}"):
            Silo(
                stage.session,
                number,
                stage.signing_keys[key],
                words,
                rows=b"",
                ledger=None,
            )
    with pytest.raises(KeyRoleError, match="not that of the session's aggregator"):
        Aggregator(stage.session, stage.signing_keys[1])
    with pytest.raises(ValueError, match="words need shape"):
        Silo(
            stage.session, 1, stage.signing_keys[1], words[:, 1:], rows=b"", ledger=None
        )


def request(stage, seeds, keys, confirmations):
    """A REQUEST as only a wrong aggregator would make it."""
    session = stage.session
    body = bodies.pack_set(session, seeds) + bodies.pack_set(session, keys)
    return messages.write(
        session,
        stage.signing_keys[0],
        Kind.REQUEST,
        body + bodies.pack_table(session, confirmations),
        sender=0,
        recipient=1,
    )


def test_no_silo_gives_both_shares_of_another():
    stage = Stage(vectors_of(5)).play(until="reveal", leaves={5: "mask"})
    silo, signed = stage.silos[1], stage.sent["confirm"]
    everyone = {1, 2, 3, 4, 5}
    with pytest.raises(KeyRoleError, match=r"of silos \[2\] both the self seed and"):
        silo.reveal(request(stage, {1, 2, 3, 4}, {2, 5}, signed))
    with pytest.raises(KeyRoleError, match=r"of silos \[5\] both"):
        silo.reveal(request(stage, everyone, {5}, signed))
    for seeds, keys in (
        ({1, 3, 4}, {2, 5}),
        (everyone, set()),
        ({1, 2, 3, 4}, set()),
        (set(), everyone),
    ):
        with pytest.raises(KeyRoleError, match=r"gives the seeds of \[1, 2, 3, 4\]"):
            silo.reveal(request(stage, seeds, keys, signed))
    few = {k: signed[k] for k in (1, 2, 3)}
    with pytest.raises(ProtocolError, match="3 silos confirmed the survivors, needs 4"):
        silo.reveal(request(stage, {1, 2, 3, 4}, {5}, few))
    swapped = {**signed, 2: signed[3]}
    with pytest.raises(ProtocolError, match="silo 3 confirmed"):
        silo.reveal(request(stage, {1, 2, 3, 4}, {5}, swapped))
    # None of it was answered, and the right request still is; then no more.
    silo.reveal(request(stage, {1, 2, 3, 4}, {5}, signed))
    with pytest.raises(KeyRoleError, match="nothing is next"):
        silo.reveal(request(stage, {1, 2, 3, 4}, {5}, signed))


def test_an_aggregator_cannot_ask_for_both_shares():
    stage = Stage(vectors_of(3))
    with pytest.raises(KeyRoleError, match=r"of silos \[2\] both"):
        bodies.pack_request(stage.session, {1, 2}, {2, 3}, {})


def test_silos_that_are_told_different_survivors_reveal_nothing():
    stage = Stage(vectors_of(5)).play(until="confirm")
    session = stage.session
    told = {k: {1, 2, 3, 4, 5} if k < 3 else {1, 3, 4, 5} for k in (1, 3, 4, 5)}
    signed = {}
    for k, survivors in told.items():
        data = messages.write(
            session,
            stage.signing_keys[0],
            Kind.SURVIVORS,
            bodies.pack_set(session, survivors),
            sender=0,
            recipient=k,
        )
        signed[k] = stage.silos[k].confirm(data)
    for k, survivors in told.items():
        body = bodies.pack_request(
            session, survivors, {1, 2, 3, 4, 5} - survivors, signed
        )
        data = messages.write(
            session, stage.signing_keys[0], Kind.REQUEST, body, sender=0, recipient=k
        )
        with pytest.raises(ProtocolError, match="tells silos different things"):
            stage.silos[k].reveal(data)


@pytest.mark.parametrize("survivors", [{2, 3, 4}, {1, 2, 3}, {1, 2, 3, 5}])
def test_survivors_that_cannot_be_are_refused(survivors):
    stage = Stage(vectors_of(5)).play(until="confirm", leaves={5: "share"})
    data = messages.write(
        stage.session,
        stage.signing_keys[0],
        Kind.SURVIVORS,
        bodies.pack_set(stage.session, survivors),
        sender=0,
        recipient=1,
    )
    with pytest.raises(ProtocolError, match=r"need to include|needs 4"):
        stage.silos[1].confirm(data)


def test_a_silo_that_was_left_out_stays_out():
    stage = Stage(vectors_of(5)).play(until="mask")
    sent = stage.act("mask")
    for k in (1, 2, 3, 4):
        stage.aggregator.receive(sent[k])
    with pytest.raises(ProtocolError, match="silo 1 has sent MASKED already"):
        stage.aggregator.receive(sent[1])
    stage.answers["mask"] = stage.aggregator.close_round()
    with pytest.raises(ProtocolError, match="waiting for CONFIRM, got kind MASKED"):
        stage.aggregator.receive(sent[5])
    late = messages.write(
        stage.session,
        stage.signing_keys[5],
        Kind.CONFIRM,
        bodies.pack_set(stage.session, {1, 2, 3, 4}),
        sender=5,
    )
    with pytest.raises(ProtocolError, match="silo 5 was left out"):
        stage.aggregator.receive(late)


def rewritten(stage, k, kind, body):
    """A message that silo k signs, with another body."""
    return messages.write(stage.session, stage.signing_keys[k], kind, body, sender=k)


def test_wrong_shares_are_found_out():
    stage = Stage(vectors_of(4), threshold=3).play(until="reveal")
    sent = stage.act("reveal")
    body = bytearray(messages.body_of(sent[1]))
    body[1] ^= 1  # the lowest bit of the first share
    stage.aggregator.receive(rewritten(stage, 1, Kind.REVEAL, bytes(body)))
    for k in (2, 3, 4):
        stage.aggregator.receive(sent[k])
    with pytest.raises(ProtocolError, match=r"not shares of one|do not give what"):
        stage.aggregator.close_round()
    with pytest.raises(KeyRoleError, match="total before the end"):
        stage.aggregator.total()


def test_answers_to_other_questions_are_refused():
    stage = Stage(vectors_of(4), threshold=3).play(until="share")
    sent = stage.act("share")
    sealed, _ = bodies.take_table(
        stage.session, memoryview(messages.body_of(sent[1])), messages.SEALED_BYTES
    )
    sealed.pop(2)
    body = bodies.pack_table(stage.session, sealed)
    with pytest.raises(ProtocolError, match=r"with \[3, 4\], needs \[2, 3, 4\]"):
        stage.aggregator.receive(rewritten(stage, 1, Kind.SHARES, body))
    stage.deliver("share")
    stage.play(until="confirm")
    stage.act("confirm")
    body = bodies.pack_set(stage.session, {1, 2, 3})
    with pytest.raises(ProtocolError, match=r"confirmed \[1, 2, 3\], the survivors"):
        stage.aggregator.receive(rewritten(stage, 1, Kind.CONFIRM, body))
    stage.deliver("confirm")
    stage.act("reveal")
    empty = bodies.pack_table(stage.session, {})
    with pytest.raises(ProtocolError, match="revealed shares of the seeds of"):
        stage.aggregator.receive(rewritten(stage, 1, Kind.REVEAL, empty + empty))


def test_copied_keys_are_refused():
    stage = Stage(vectors_of(3))
    sent = stage.act("advertise")
    sent[2] = rewritten(stage, 2, Kind.KEYS, messages.body_of(sent[1]))
    stage.deliver("advertise")
    with pytest.raises(ProtocolError, match="two silos advertise the same key"):
        stage.silos[1].share(stage.answers["advertise"][1])
    with pytest.raises(ProtocolError, match="lacks the keys it sent"):
        stage.silos[2].share(stage.answers["advertise"][2])


def test_altered_sealed_shares_are_refused():
    stage = Stage(vectors_of(3)).play(until="mask")
    body = bytearray(messages.body_of(stage.answers["share"][1]))
    body[-1] ^= 1
    data = messages.write(
        stage.session,
        stage.signing_keys[0],
        Kind.SHARES_FOR,
        bytes(body),
        sender=0,
        recipient=1,
    )
    with pytest.raises(ProtocolError, match="the shares of silo 3 were altered"):
        stage.silos[1].mask(data)
    stage.play()  # and the true one is still taken
    assert stage.total() == clear_sum(vectors_of(3), (1, 2, 3))


def test_sessions_without_promise_are_refused():
    keys = [new_identity()[1] for _ in range(6)]

    def session(silos, threshold=None, length=1, colluders=None):
        return new_session(
            keys[0],
            keys[1 : silos + 1],
            length=length,
            content=b"",
            threshold=threshold,
            colluders=colluders,
        )

    assert session(5).threshold == 4
    with pytest.raises(ValueError, match="needs 3 to 1000 silos, got 2"):
        session(2)
    for threshold in (2, 6):
        with pytest.raises(ValueError, match=f"needs to be 3 to 5, got {threshold}"):
            session(5, threshold)
    for colluders in (-1, 4):
        with pytest.raises(ValueError, match=f"0 to 3 may collude, got {colluders}"):
            session(5, colluders=colluders)
    with pytest.raises(ValueError, match="distinct verifying keys"):
        new_session(keys[0], [keys[1]] * 3, length=1, content=b"")
    with pytest.raises(ValueError, match="distinct verifying keys"):
        new_session(keys[0], [*keys[1:3], b"short"], length=1, content=b"")
    with pytest.raises(ValueError, match="a length of 1 to"):
        session(3, length=0)
    assert [default_threshold(n) for n in (3, 4, 5, 6, 9, 10)] == [3, 3, 4, 5, 7, 7]


def test_colluders_are_held_to_both_inequalities():
    """Against every list of survivors that silos could be told, one by one."""
    keys = [new_identity()[1] for _ in range(8)]

    def hides(silos, threshold, colluders):
        # Honest silos sign one list each; the colluders sign any.
        honest = silos - colluders
        two_lists = any(
            a + colluders >= threshold and honest - a + colluders >= threshold
            for a in range(honest + 1)
        )
        return not two_lists and threshold - colluders >= 2

    for silos in range(3, 8):
        for threshold in range(3, silos + 1):
            borne = []
            for colluders in range(silos - 1):
                fields = bytes(16), keys[0], tuple(keys[1 : silos + 1])
                if hides(silos, threshold, colluders):
                    Session(*fields, threshold, colluders, 1, b"")
                    borne.append(colluders)
                    continue
                least = least_threshold(silos, colluders)
                assert hides(silos, least, colluders)
                assert not hides(silos, least - 1, colluders)
                with pytest.raises(ValueError, match=f"{least} or more"):
                    Session(*fields, threshold, colluders, 1, b"")
            assert most_colluders(silos, threshold) == max(borne, default=0)
    made = new_session(keys[0], keys[1:8], length=1, content=b"", colluders=4)
    assert (made.threshold, made.colluders) == (6, 4)
    with pytest.raises(ValueError, match=r"lets a total be of 1 others, .* 6 or more"):
        dataclasses.replace(made, threshold=5)
    with pytest.raises(ValueError, match="be above 9, got 8: the aggregator"):
        dataclasses.replace(made, threshold=4, colluders=2)


def test_digest_depends_on_every_field():
    keys = [new_identity()[1] for _ in range(7)]
    first = Session(bytes(16), keys[0], tuple(keys[1:6]), 4, 1, 10, b"content")
    others = [
        dataclasses.replace(first, identifier=os.urandom(16)),
        dataclasses.replace(first, aggregator=keys[6]),
        dataclasses.replace(first, members=(*keys[1:5], keys[6])),
        dataclasses.replace(first, members=tuple(keys[5:0:-1])),
        dataclasses.replace(first, threshold=5),
        dataclasses.replace(first, colluders=2),
        dataclasses.replace(first, length=11),
        dataclasses.replace(first, content=b"Content"),
    ]
    assert len({one.digest for one in (first, *others)}) == 9
    assert dataclasses.replace(first).digest == first.digest


@pytest.mark.slow
def test_helix_jax_imports_without_cryptography():
    code = (
        "import sys; sys.modules['cryptography'] = None; import helix_jax;"
        "from helix_jax.alignment import fit_ridge\n"
        "try:\n    from helix_jax.private.aggregation import Silo\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'helix_jax[crypto]'" in run.stdout, run.stderr
