r"""Mutated messages of the encrypted layer: each is refused in words, or read.

    python -m benchmarks.fuzz --messages=500000

Every kind of message that a party reads is cut, extended, flipped, replayed, addressed
to others, filled with numbers out of range or changed in several fields at once. What
clients send is signed after the change: they are who would change it. Allowed are
`ProtocolError`, `KeyRoleError` and, where the change leaves a message sound, an
ordinary result. Any other exception, or a message that was read and had to be refused,
fails the run.
"""

import collections
import dataclasses
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks.timing import write_results
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import (
    PROFILES,
    Client,
    FitClient,
    FitProvider,
    LabelClient,
    Provider,
    shared_scales,
    sum_answers,
    wire,
)
from helix_jax.private.accountant import Privacy
from helix_jax.private.accounts import PublicKey
from helix_jax.private.internals import signing_key
from helix_jax.private.profiles import Profile
from helix_jax.private.sampling import SEED_BYTES
from helix_jax.private.signatures import KEY_BYTES, SIGNATURE_BYTES
from helix_jax.progress import bar
from helix_jax.runs.program import start_main

MESSAGES = flags.DEFINE_integer("messages", 500_000, "mutated messages", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "of the mutations", lower_bound=0)
TINY = flags.DEFINE_bool("tiny", False, "1,000 messages")

WIDTH, CLASSES, ROWS, TARGETS = 12, 5, 4, 2
BATCH = 9  # queries of a message, in two groups
VERSION, KIND, PROFILE, KEY, NUMBER = 4, 6, 7, 8, 24
BINDING, SIZES, LENGTH = 40, 56, 72
FIELDS = ((KIND, 1), (PROFILE, 1), (KEY, 16), (NUMBER, 16), (BINDING, 16))
FIELDS += (*((SIZES + 4 * i, 4) for i in range(4)), (LENGTH, 8))
OFFER_FLOATS = (wire.HEADER_BYTES + 37, wire.HEADER_BYTES + 45)
FLOATS = (np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 5e-324, 1e-300, 1e30, 1e308)


class Target(NamedTuple):
    """One kind of message and its reader.

    Attributes:
      name: of the reader.
      fresh: a sound message, which was not read before.
      read: what its receiver does.
      spent: a message that was read before and must not be read again, or None.
      foreign: the same of another key, which must be refused, or None.
      seeds: of the payload, if it is seeds and residues.
      floats: offsets of float64 numbers.
      signing: key that its sender signs by, or None.
    """

    name: str
    fresh: Callable[[], bytes]
    read: Callable[[bytes], object]
    spent: bytes | None = None
    foreign: bytes | None = None
    seeds: int = 0
    floats: tuple[int, ...] = ()
    signing: bytes | None = None


class Mutant(NamedTuple):
    """A changed message.

    Attributes:
      change: its name.
      data: the message.
      unsound: whether it must be refused.
    """

    change: str
    data: bytes
    unsound: bool


def make_targets(profile: str, seed: int = 0) -> list[Target]:
    """Both parties of a layer and of a fit, and all that they send each other."""
    generator = np.random.default_rng(seed)
    kernels = generator.standard_normal((2, WIDTH, CLASSES))
    client, stranger = Client(profile), Client(profile)
    trials = [Provider(own, input_norm=8.0, profile=profile) for own in kernels]
    shared = shared_scales([one.layer for one in trials])
    provider, second = (
        Provider(own, input_norm=8.0, profile=profile, shared=shared) for own in kernels
    )
    bundle = client.public_bundle()
    for one in (provider, second):
        one.register(bundle)
    offer = provider.layer.to_bytes()
    layer = client.read_layer(offer)
    x = generator.standard_normal(WIDTH) / 2
    query, old_query, summed = (client.encrypt(layer, x) for _ in range(3))
    batch = client.encrypt(layer, np.stack([x] * BATCH))
    answer, old_answer = provider.answer(query), provider.answer(old_query)
    client.decrypt(old_answer)
    answers = provider.answer(batch)
    parts = [one.answer(summed) for one in (provider, second)]

    def read_layer(data: bytes) -> None:
        read = client.read_layer(data)
        if read.plan == layer.plan:  # other shapes would each be compiled
            own = generator.standard_normal(WIDTH)
            own *= min(read.input_norm, 1e200) / np.linalg.norm(own) * (1 - 1e-9)
            with np.errstate(under="ignore"):
                sent = client.encrypt(read, own)
            del client._pending[sent[NUMBER:BINDING]]

    pending = dict(client._pending)

    def read_answer(data: bytes) -> None:
        for number, one in pending.items():  # as if none had been read
            client._pending[number] = one._replace(read=set())
        client.decrypt(data)

    # Rows that fill a ciphertext: other widths need messages of another length.
    wide = generator.standard_normal((ROWS, PROFILES[profile].degree // 2 + 1))
    y = generator.standard_normal((ROWS, TARGETS))
    # An offer may ask for rows of norm 1, and other ones are the client's own fault.
    unit = wide[:, :3] / np.linalg.norm(wide[:, :3])

    def make_fit(number: bytes) -> FitProvider:
        own = FitProvider(y, profile=profile, share=1e9)
        own.offer = dataclasses.replace(own.offer, number=number)
        own.register(bundle)
        return own

    fit = make_fit(bytes(16))
    fit_offer = fit.offer.to_bytes()
    sides = [FitClient(own, fit_offer, wide) for own in (client, stranger)]
    (rows,), (foreign_rows,) = (list(side.chunks()) for side in sides)
    fit.absorb(rows)
    (results,), mean = list(fit.results()), fit.mean_message()
    return [
        Target(
            "key",
            lambda: bundle,
            lambda m: PublicKey.from_bytes(m, client.profile),
            seeds=1,
        ),
        Target(
            "layer",
            lambda: offer,
            read_layer,
            floats=(wire.HEADER_BYTES + 4, wire.HEADER_BYTES + 12),
        ),
        Target(
            "query",
            lambda: _renumbered(query),
            provider.answer,
            spent=old_query,
            foreign=stranger.encrypt(layer, x),
            seeds=1,
            signing=signing_key(client),
        ),
        Target(
            "queries",
            lambda: _renumbered(batch),
            provider.answer,
            spent=old_query,
            seeds=2,
            signing=signing_key(client),
        ),
        Target(
            "answer",
            lambda: answer,
            read_answer,
            spent=old_answer,
            foreign=_addressed(answer, stranger.key),
        ),
        Target(
            "answers",
            lambda: answers,
            read_answer,
            spent=old_answer,
            foreign=_addressed(answers, stranger.key),
        ),
        Target(
            "sum",
            lambda: parts[0],
            lambda m: sum_answers([m, parts[1]], layer),
            spent=old_answer,
            foreign=_addressed(parts[0], stranger.key),
        ),
        Target(
            "fit",
            lambda: fit_offer,
            lambda m: FitClient(client, m, unit),
            floats=OFFER_FLOATS,
        ),
        Target(
            "rows",
            lambda: rows,
            lambda m: make_fit(fit.offer.number).absorb(m),
            foreign=foreign_rows,
            seeds=1,
            signing=signing_key(client),
        ),
        Target(
            "mean",
            lambda: mean,
            sides[0].read_mean,
            foreign=_addressed(mean, stranger.key),
        ),
        Target(
            "covariance",
            lambda: results,
            sides[0].read,
            foreign=_addressed(results, stranger.key),
        ),
        *_private_targets(wide / np.linalg.norm(wide), y / np.linalg.norm(y)),
        *_label_targets(kernels[0], x),
    ]


def _private_targets(x: np.ndarray, y: np.ndarray) -> list[Target]:
    """What a fit with differential privacy says in other words than one without."""
    client, stranger = Client("guarded"), Client("guarded")
    provider = FitProvider(y, share=1e9, privacy=Privacy(1.0, 1e-6))
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    side = FitClient(client, offer, x)
    mean = provider.mean_message()
    return [
        Target(
            "private fit",
            lambda: offer,
            lambda m: FitClient(client, m, x[:, :3]),
            floats=OFFER_FLOATS,
        ),
        Target(
            "private mean",
            lambda: mean,
            side.read_mean,
            foreign=_addressed(mean, stranger.key),
        ),
    ]


def _label_targets(kernel: np.ndarray, x: np.ndarray) -> list[Target]:
    """Both sides of labels, which are of one profile; readers forget what they read."""
    client, stranger = Client("guarded"), Client("guarded")
    provider = Provider(kernel, input_norm=8.0, policy="label")
    provider.register(client.public_bundle())
    side = LabelClient(client, client.read_layer(provider.layer.to_bytes()))
    hello = side.agree()
    elements, asked = provider.agree(hello), side._asked
    side.read_elements(elements)
    agreed, desk = side._agreed, provider._accounts[client.key].desk
    choices = [side.choose(provider.answer(side.encrypt(x))) for _ in range(2)]
    transfers, offsets = desk._transfers, dict(desk._waiting)
    chosen = dict(side._chosen)
    spent, garbled = (provider.label(one) for one in choices)
    side.read(spent)
    del chosen[spent[NUMBER:BINDING]], offsets[spent[NUMBER:BINDING]]

    def read_elements(data: bytes) -> None:
        side._asked = asked
        side.read_elements(data)
        side._agreed = agreed

    def agree(data: bytes) -> None:
        provider.agree(data)

    def label(data: bytes) -> None:
        desk._transfers = transfers
        desk._waiting.update(offsets)
        provider.label(data)

    def read(data: bytes) -> None:
        side._chosen.update(chosen)
        side.read(data)

    sent = ("transfers", hello, agree), ("elements", elements, read_elements)
    later = ("choices", choices[1], label), ("garbled", garbled, read)
    old = {"transfers": hello, "choices": choices[0], "garbled": spent}
    fresh = {"transfers": lambda: _renumbered(hello)}  # taken once
    return [
        Target(
            name,
            fresh.get(name, lambda message=message: message),
            reader,
            spent=old.get(name),
            foreign=_addressed(message, stranger.key),
            signing=signing_key(client) if name in ("transfers", "choices") else None,
        )
        for name, message, reader in (*sent, *later)
    ]


def mutants(
    target: Target, others: list[bytes], generator: np.random.Generator
) -> Iterator[Mutant]:
    """Changed messages of one kind, one of each change, for ever.

    Args:
      target: of the kind.
      others: sound messages of other kinds.
      generator: of the changes.
    """
    while True:
        sound = target.fresh()
        size, payload = len(sound), len(sound) - wire.HEADER_BYTES
        yield Mutant("truncated", sound[: generator.integers(size)], True)
        extra = generator.bytes(int(generator.integers(1, 65)))
        yield Mutant("extended", sound + extra, True)
        longer = _put(sound + extra, LENGTH, struct.pack("<Q", payload + len(extra)))
        yield Mutant("extended, length right", longer, True)
        cut = int(generator.integers(payload))
        shorter = sound[: wire.HEADER_BYTES + cut]
        shorter = _put(shorter, LENGTH, struct.pack("<Q", cut))
        yield Mutant("truncated, length right", shorter, True)
        yield Mutant("random", generator.bytes(size), True)
        yield Mutant("magic", _put(sound, 0, b"HLXQ"), True)
        version = struct.pack("<H", int(generator.integers(wire.VERSION + 1, 2**16)))
        yield Mutant("version", _put(sound, VERSION, version), True)
        kind = (sound[KIND] + int(generator.integers(1, 256))) % 256
        yield Mutant("kind", _put(sound, KIND, bytes([kind])), True)
        profile = (sound[PROFILE] + int(generator.integers(1, 256))) % 256
        yield Mutant("profile", _put(sound, PROFILE, bytes([profile])), True)
        yield Mutant("key", _addressed(target.fresh(), generator.bytes(16)), True)
        absurd = int(generator.choice([0, 2**31, 2**32 - 1]))
        place = SIZES + 4 * int(generator.integers(4))
        changed = _put(target.fresh(), place, struct.pack("<I", absurd))
        yield Mutant("sizes", changed, absurd > 0)
        lengths = (0, payload - 1, payload + 1, 2**40, 2**64 - 1)
        length = lengths[generator.integers(len(lengths))]
        yield Mutant("length", _put(sound, LENGTH, struct.pack("<Q", length)), True)
        yield Mutant("header bit", _flip(target.fresh(), generator, 0, SIZES), False)
        changed = _flip(target.fresh(), generator, SIZES, wire.HEADER_BYTES)
        yield Mutant("size bit", changed, False)
        changed = target.fresh()
        for _ in range(int(generator.integers(1, 9))):
            changed = _flip(changed, generator, wire.HEADER_BYTES, size)
        yield Mutant("payload bits", changed, target.name == "key")
        yield Mutant("other kind", others[generator.integers(len(others))], True)
        body = others[generator.integers(len(others))][wire.HEADER_BYTES :]
        body = target.fresh()[:LENGTH] + struct.pack("<Q", len(body)) + body
        yield Mutant("other payload", body, False)
        yield Mutant("combined", _combined(target, others, generator), False)
        if target.spent is not None:
            yield Mutant("replayed", target.spent, True)
        if target.foreign is not None:
            yield Mutant("other key", target.foreign, True)
        if target.seeds:
            yield Mutant("residue out of range", _overflow(target, generator), True)
        for place in target.floats:
            value = float(generator.choice(FLOATS))
            changed = _put(sound, place, struct.pack("<d", value))
            unsound = not 0 <= value < np.inf
            yield Mutant("float out of range", changed, unsound)
        if target.name == "key":  # under the name of its new content
            yield Mutant(
                "renamed key",
                _named(
                    _flip(
                        sound,
                        generator,
                        wire.HEADER_BYTES,
                        wire.HEADER_BYTES + KEY_BYTES + SEED_BYTES,
                    )
                ),
                False,
            )


def outcome(target: Target, mutant: Mutant) -> str:
    """What became of a message: "read", the error's name, or what went wrong."""
    try:
        target.read(_signed(mutant.data, target.signing))
    except ProtocolError:
        return "ProtocolError"
    except KeyRoleError:
        return "KeyRoleError"
    # Whatever else is raised is what is looked for.
    except Exception as error:
        return f"{mutant.change}: {error!r}"
    return f"{mutant.change}: was read" if mutant.unsound else "read"


def streams(
    profile: str, generator: np.random.Generator
) -> list[tuple[Target, Iterator[Mutant]]]:
    """Every target of a profile with its mutants."""
    targets = make_targets(profile)
    found = []
    for target in targets:
        kinds = {target.fresh()[KIND]}
        others = [one.fresh() for one in targets if one.fresh()[KIND] not in kinds]
        found.append((target, mutants(target, others, generator)))
    return found


def _combined(
    target: Target, others: list[bytes], generator: np.random.Generator
) -> bytes:
    """Some fields at once, each at an edge of its range, in a message that fits them.

    Of header and payload, so that no check can lean on another field's; half of them
    have the payload of the length that they claim.
    """
    message = target.fresh()
    for _ in range(int(generator.integers(2, 6))):
        if generator.integers(3):
            place, width = FIELDS[generator.integers(len(FIELDS))]
        else:  # a number at the head of the payload
            width = int(generator.choice([1, 2, 4, 8]))
            place = wire.HEADER_BYTES + int(generator.integers(64))
        own = int.from_bytes(message[place : place + width], "little")
        other = others[generator.integers(len(others))][place : place + width]
        edges = [0, 1, own + 1, own - 1, 2 * own, 2 ** (8 * width - 1), -1]
        edges.append(int.from_bytes(other, "little"))
        value = edges[generator.integers(len(edges))] % 2 ** (8 * width)
        message = _put(message, place, value.to_bytes(width, "little"))[: len(message)]
    if generator.integers(2):
        (length,) = struct.unpack_from("<Q", message, LENGTH)
        payload = message[wire.HEADER_BYTES :]
        length = length if length <= 4 * len(payload) else len(payload)
        payload = (payload * (length // max(len(payload), 1) + 1))[:length]
        length = struct.pack("<Q", length)
        message = message[:LENGTH] + length + payload
    return message


def _put(message: bytes, place: int, part: bytes) -> bytes:
    return message[:place] + part + message[place + len(part) :]


def _signed(message: bytes, signing: bytes | None) -> bytes:
    """A message whose last bytes are made its sender's signature of those before."""
    if signing is None or len(message) < wire.HEADER_BYTES + SIGNATURE_BYTES:
        return message
    return wire.sign(message[:-SIGNATURE_BYTES], signing)


def _addressed(message: bytes, key: bytes) -> bytes:
    return _put(message, KEY, key)


def _renumbered(message: bytes) -> bytes:
    return _put(message, NUMBER, os.urandom(16))


def _named(message: bytes) -> bytes:
    """A key under the name of its content; what may follow is its proof."""
    profile = _profile_of(message)
    end = wire.HEADER_BYTES + KEY_BYTES + SEED_BYTES + wire.residues_length(1, profile)
    return _addressed(message, wire.key_name(message[wire.HEADER_BYTES : end]))


def _profile_of(message: bytes) -> Profile:
    code = message[PROFILE]
    return next(one for one in PROFILES.values() if one.code == code)


def _flip(
    message: bytes, generator: np.random.Generator, start: int, stop: int
) -> bytes:
    place = int(generator.integers(start, stop))
    flipped = message[place] ^ (1 << int(generator.integers(8)))
    return _put(message, place, bytes([flipped]))


def _overflow(target: Target, generator: np.random.Generator) -> bytes:
    """One residue of the first prime, or of the last, is all ones."""
    message = target.fresh()
    profile = _profile_of(message)
    start = wire.HEADER_BYTES + target.seeds * SEED_BYTES
    start += KEY_BYTES * (target.name == "key")
    end = len(message) - SIGNATURE_BYTES * (target.signing is not None)
    # Near an end of the payload, so of the first or the last prime.
    count = (end - start) // sum(profile.residue_bytes) // 16
    number, width = int(generator.integers(count)), profile.residue_bytes[0]
    place = start + number * width
    if generator.integers(2):
        width = profile.residue_bytes[-1]
        place = end - (number + 1) * width
    changed = _put(message, place, b"\xff" * width)
    return _named(changed) if target.name == "key" else changed


def main(_: list[str]) -> None:
    """Mutate, count and write the table."""
    total = 1_000 if TINY.value else MESSAGES.value
    generator = np.random.default_rng(SEED.value)
    counts: dict[str, collections.Counter] = collections.defaultdict(
        collections.Counter
    )
    wrong = collections.Counter()
    pairs = [pair for name in PROFILES for pair in streams(name, generator)]
    for number in bar(range(total), "messages"):
        target, stream = pairs[number % len(pairs)]
        found = outcome(target, next(stream))
        if found not in ("read", "ProtocolError", "KeyRoleError"):
            wrong[f"{target.name}, {found}"] += 1
            found = "wrong"
        counts[target.name][found] += 1
    columns = ["read", "ProtocolError", "KeyRoleError", "wrong"]
    table = [
        [name, sum(own.values()), *(own[column] for column in columns)]
        for name, own in counts.items()
    ]
    table.append(["all", *(sum(row[i] for row in table) for i in range(1, 6))])
    header = ["message", "mutated", "read", "ProtocolError", "KeyRoleError", "wrong"]
    notes = (
        f"{total:,} mutated messages to every reader of the encrypted layer and of the "
        f"encrypted fit, in profiles {', '.join(PROFILES)}, seed {SEED.value}: cut, "
        "extended, flipped, replayed, for other keys, residues, sizes and floats out "
        "of range, some fields at an edge at once. 'Read' are those that the change "
        "left sound (flips inside a ciphertext, new numbers); 'wrong' would be "
        "any other exception, or a message that was read and had to be refused."
    )
    title = "Mutated messages"
    print(write_results("fuzz", title, header, table, notes, not TINY.value))
    for what, times in wrong.most_common():
        print(f"{times} x {what}")
    if wrong:
        raise SystemExit("fuzz: some messages did harm, see above.")


if __name__ == "__main__":
    start_main(main)
