"""What the aggregator sees: uniform vectors, and nothing that tells two inputs apart.

The distinguisher here has everything an aggregator ends up with: all messages, the self
seed of every survivor, and the secrets of the silos that collude with it. It removes
each mask it can. The control gives it one secret more, and it reads the input.
"""

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from helix_jax.errors import ProtocolError
from helix_jax.private.aggregation import bodies, messages, primitives, shamir
from helix_jax.private.aggregation.masking import add_pair_mask, add_self_mask
from helix_jax.private.aggregation.messages import Kind
from tests.private.aggregation.stage import MODULUS, Stage, seeded, to_ints, to_words

TARGET = 1
LEAST_P = 1e-6  # silos draw new secrets in every run, and chance should not fail one


def masked_vector(stage, k):
    body = memoryview(messages.body_of(stage.sent["mask"][k]))
    return bodies.take_words(stage.session, body).copy()


def revealed_shares(stage, which, k):
    """Shares of silo k's seed (0) or mask key (1) that were sent to the aggregator."""
    shares = {}
    for j, data in stage.sent["reveal"].items():
        rest = memoryview(messages.body_of(data))
        tables = []
        for _ in range(2):
            table, rest = bodies.take_table(stage.session, rest, shamir.SHARE_BYTES)
            tables.append(table)
        if k in tables[which]:
            shares[j] = tables[which][k]
    return shares


def public_mask_key(stage, k):
    return messages.body_of(stage.sent["advertise"][k])[32:64]


def strip(stage, target, mask_keys):
    """The target's vector without every mask that can be removed.

    Args:
      mask_keys: silo -> mask key, of silos that collude, or the target's own.
    """
    digest = stage.session.digest
    words = masked_vector(stage, target)
    seed = shamir.combine(
        revealed_shares(stage, 0, target), threshold=stage.session.threshold
    )
    add_self_mask(words, target, seed, session=digest, negative=True)
    for other in stage.silos:
        if other == target:
            continue
        if target in mask_keys:
            pair = (mask_keys[target], public_mask_key(stage, other))
        elif other in mask_keys:
            pair = (mask_keys[other], public_mask_key(stage, target))
        else:
            continue
        add_pair_mask(
            words, target, pair[0], other, pair[1], session=digest, negative=True
        )
    return words


def nearest(words, candidates):
    """Which candidate lies nearer, in the distance around 2^128."""

    def distance(values):
        gaps = [(a - b) % MODULUS for a, b in zip(to_ints(words), values)]
        return sum(min(gap, MODULUS - gap) for gap in gaps)

    return int(np.argmin([distance(values) for values in candidates]))


def run_world(which, candidates, seed, silos=5, colluders=()):
    """A session in which silos 1 and 2 hold one candidate each; the total is the same.

    Returns the stage and the mask keys of the colluders, which are known to them.
    """
    vectors = [candidates[which], candidates[1 - which]] + [[7] * 4] * (silos - 2)
    random = {k: seeded((seed, which, k)) for k in range(1, silos + 1)}
    known = {}
    for k in colluders:
        draw = seeded((seed, which, k))
        draw(32)
        known[k] = draw(32)  # the second secret a silo draws
    return Stage(vectors, random=random).play(), known


SMALL, LARGE = [0, 1, 2, 3], [10**6, -5, 2**40, 12]


@pytest.mark.parametrize("colluders", [(), (3,), (3, 4, 5)])
@pytest.mark.slow
def test_two_inputs_of_one_total_cannot_be_told_apart(colluders):
    rng = np.random.default_rng(0)
    right, trials, totals = 0, 100, set()
    for trial in range(trials):
        which = int(rng.integers(2))
        stage, known = run_world(which, (SMALL, LARGE), trial, colluders=colluders)
        stripped = strip(stage, TARGET, known)
        right += nearest(stripped, (SMALL, LARGE)) == which
        totals.add(tuple(stage.total()))
    assert len(totals) == 1
    assert binomtest(right, trials).pvalue > LEAST_P  # as it is up to 74 of 100


def test_control_one_secret_more_gives_the_input_exactly():
    for trial in range(20):
        which = trial % 2
        stage, _ = run_world(which, (SMALL, LARGE), trial)
        draw = seeded((trial, which, TARGET))
        draw(32)
        words = strip(stage, TARGET, {TARGET: draw(32)})
        assert to_ints(words) == [v % MODULUS for v in (SMALL, LARGE)[which]]


def test_control_silos_that_wrongly_reveal_both_shares_betray_the_input():
    vectors = [[k * 1000 + i for i in range(4)] for k in range(5)]
    stage = Stage(vectors).play(until="reveal")
    # Silos without the check of Silo.reveal: they hand out all that they hold.
    leaked = {k: dict(silo._shares) for k, silo in stage.silos.items()}
    stage.play()
    shares = {k: held[TARGET][shamir.SHARE_BYTES :] for k, held in leaked.items()}
    threshold = stage.session.threshold
    fewer = {k: shares[k] for k in list(shares)[: threshold - 1]}
    with pytest.raises(ProtocolError, match="needs 4 shares, got 3"):
        shamir.combine(fewer, threshold=threshold)
    key = shamir.combine(shares, threshold=threshold)
    assert primitives.public_key(key) == public_mask_key(stage, TARGET)
    assert to_ints(strip(stage, TARGET, {TARGET: key})) == vectors[TARGET - 1]


def test_only_sums_of_honest_silos_are_fixed_by_the_view():
    """With three of five colluding, 1 and 2 hide each other: only their sum shows."""
    for which in (0, 1):
        stage, known = run_world(which, (SMALL, LARGE), 5, colluders=(3, 4, 5))
        first = to_ints(strip(stage, 1, known))
        second = to_ints(strip(stage, 2, known))
        both = [(a + b) % MODULUS for a, b in zip(first, second)]
        assert both == [(a + b) % MODULUS for a, b in zip(SMALL, LARGE)]
        assert first not in ([v % MODULUS for v in c] for c in (SMALL, LARGE))


def test_control_one_colluder_too_many_has_two_lists_signed():
    """2 t > n + c is sharp: n = 5, t = 3 bears none, and with one silo 1 is read."""
    vectors = [[k * 1000 + i for i in range(4)] for k in range(5)]
    stage = Stage(vectors, threshold=3, colluders=0).play(until="confirm")
    with pytest.raises(
        ValueError, match="twice the threshold needs to be above 6, got 6"
    ):
        Stage(vectors, threshold=3, colluders=1)
    session, aggregator, colluder = stage.session, stage.signing_keys[0], 5
    held = dict(stage.silos[colluder]._shares)

    def tell(kind, k, body):
        return messages.write(session, aggregator, kind, body, sender=0, recipient=k)

    shares = ({}, {})  # of silo 1's seed and of its mask key
    for which, silos, survivors in (
        (0, (1, 2), (1, 2, 3, 4, 5)),
        (1, (3, 4), (2, 3, 4, 5)),
    ):
        told = bodies.pack_set(session, survivors)
        signed = {
            k: stage.silos[k].confirm(tell(Kind.SURVIVORS, k, told)) for k in silos
        }
        signed[colluder] = messages.write(
            session, stage.signing_keys[5], Kind.CONFIRM, told, sender=colluder
        )
        gone = {1, 2, 3, 4, 5} - set(survivors)
        request = bodies.pack_request(session, survivors, gone, signed)
        for k in silos:
            revealed = stage.silos[k].reveal(tell(Kind.REQUEST, k, request))
            rest, tables = memoryview(messages.body_of(revealed)), []
            for _ in range(2):
                table, rest = bodies.take_table(session, rest, shamir.SHARE_BYTES)
                tables.append(table)
            shares[which][k] = tables[which][TARGET]
        cut = slice(None, 33) if which == 0 else slice(33, None)
        shares[which][colluder] = held[TARGET][cut]
    seed, key = (shamir.combine(one, threshold=3) for one in shares)
    words = masked_vector(stage, TARGET)
    add_self_mask(words, TARGET, seed, session=session.digest, negative=True)
    for other in (2, 3, 4, 5):
        public = public_mask_key(stage, other)
        add_pair_mask(
            words, TARGET, key, other, public, session=session.digest, negative=True
        )
    assert to_ints(words) == vectors[TARGET - 1]


@pytest.mark.parametrize("gone", [{}, {2: "mask"}])
def test_masked_and_stripped_vectors_are_uniform(gone):
    length = 1 << 13
    vectors = [[0] * length, [1] * length, [-1] * length, list(range(length))]
    random = {k: seeded(("uniform", k)) for k in range(1, 5)}
    stage = Stage(vectors, threshold=3, random=random).play(leaves=gone)
    levels = []
    for words in (masked_vector(stage, 1), strip(stage, 1, {})):
        columns = words.T.copy().view(np.uint8)
        levels += [chisquare(np.bincount(c, minlength=256)).pvalue for c in columns.T]
        halves = np.corrcoef(columns[:, 0], columns[:, 8])[0, 1]
        assert abs(halves) < 5 / np.sqrt(length)
    assert min(levels) > LEAST_P
    # Control: the vector itself is not.
    plain = to_words(vectors[3]).T.copy().view(np.uint8)
    assert chisquare(np.bincount(plain[:, 15], minlength=256)).pvalue < 1e-4


def test_a_vector_that_came_too_late_stays_masked():
    """Its silo is counted as gone, so its mask key is opened; its seed is not."""
    vectors = [[k] * 4 for k in range(5)]
    stage = Stage(vectors).play(until="mask")
    late = stage.act("mask").pop(TARGET)
    stage.deliver("mask")
    stage.play()
    key = shamir.combine(revealed_shares(stage, 1, TARGET), threshold=4)
    assert primitives.public_key(key) == public_mask_key(stage, TARGET)
    assert not revealed_shares(stage, 0, TARGET)
    stage.sent["mask"][TARGET] = late
    words = masked_vector(stage, TARGET)
    for other in (2, 3, 4, 5):
        add_pair_mask(
            words,
            TARGET,
            key,
            other,
            public_mask_key(stage, other),
            session=stage.session.digest,
            negative=True,
        )
    assert to_ints(words) != vectors[0]
    # Nor can it be opened later: the silos have thrown their shares away.
    assert not any(silo._shares for k, silo in stage.silos.items() if k != TARGET)


def test_every_run_draws_other_masks():
    vectors = [[0] * 4] * 3
    first, second = (Stage(vectors).play() for _ in range(2))
    assert to_ints(masked_vector(first, 1)) != to_ints(masked_vector(second, 1))
    assert first.sent["mask"][1] != second.sent["mask"][1]
