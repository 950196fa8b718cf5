"""Messages that are cut, extended, flipped, replayed, or changed in several fields.

What clients send is signed after the change: they are who would change it. Allowed are
`ProtocolError`, `KeyRoleError` and, where the change leaves a message sound, an
ordinary result.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import wire
from helix_jax.private.sampling import SEED_BYTES
from helix_jax.private.signatures import KEY_BYTES, SIGNATURE_BYTES
from tests.private.message_edits import (
    FIELDS,
    KIND,
    LENGTH,
    PROFILE,
    SIZES,
    VERSION,
    addressed,
    flip,
    named,
    profile_of,
    put,
    signed,
)
from tests.private.mutation_targets import Target, make_targets

FLOATS = (wire.HEADER_BYTES + 37, wire.HEADER_BYTES + 45)
FLOATS = (np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 5e-324, 1e-300, 1e30, 1e308)


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
        longer = put(sound + extra, LENGTH, struct.pack("<Q", payload + len(extra)))
        yield Mutant("extended, length right", longer, True)
        cut = int(generator.integers(payload))
        shorter = sound[: wire.HEADER_BYTES + cut]
        shorter = put(shorter, LENGTH, struct.pack("<Q", cut))
        yield Mutant("truncated, length right", shorter, True)
        yield Mutant("random", generator.bytes(size), True)
        yield Mutant("magic", put(sound, 0, b"HLXQ"), True)
        version = struct.pack("<H", int(generator.integers(wire.VERSION + 1, 2**16)))
        yield Mutant("version", put(sound, VERSION, version), True)
        kind = (sound[KIND] + int(generator.integers(1, 256))) % 256
        yield Mutant("kind", put(sound, KIND, bytes([kind])), True)
        profile = (sound[PROFILE] + int(generator.integers(1, 256))) % 256
        yield Mutant("profile", put(sound, PROFILE, bytes([profile])), True)
        yield Mutant("key", addressed(target.fresh(), generator.bytes(16)), True)
        absurd = int(generator.choice([0, 2**31, 2**32 - 1]))
        place = SIZES + 4 * int(generator.integers(4))
        changed = put(target.fresh(), place, struct.pack("<I", absurd))
        yield Mutant("sizes", changed, absurd > 0)
        lengths = (0, payload - 1, payload + 1, 2**40, 2**64 - 1)
        length = lengths[generator.integers(len(lengths))]
        yield Mutant("length", put(sound, LENGTH, struct.pack("<Q", length)), True)
        yield Mutant("header bit", flip(target.fresh(), generator, 0, SIZES), False)
        changed = flip(target.fresh(), generator, SIZES, wire.HEADER_BYTES)
        yield Mutant("size bit", changed, False)
        changed = target.fresh()
        for _ in range(int(generator.integers(1, 9))):
            changed = flip(changed, generator, wire.HEADER_BYTES, size)
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
            changed = put(sound, place, struct.pack("<d", value))
            unsound = not 0 <= value < np.inf
            yield Mutant("float out of range", changed, unsound)
        if target.name == "key":  # under the name of its new content
            yield Mutant(
                "renamed key",
                named(
                    flip(
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
        target.read(signed(mutant.data, target.signing))
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
        message = put(message, place, value.to_bytes(width, "little"))[: len(message)]
    if generator.integers(2):
        (length,) = struct.unpack_from("<Q", message, LENGTH)
        payload = message[wire.HEADER_BYTES :]
        length = length if length <= 4 * len(payload) else len(payload)
        payload = (payload * (length // max(len(payload), 1) + 1))[:length]
        length = struct.pack("<Q", length)
        message = message[:LENGTH] + length + payload
    return message


def _overflow(target: Target, generator: np.random.Generator) -> bytes:
    """One residue of the first prime, or of the last, is all ones."""
    message = target.fresh()
    profile = profile_of(message)
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
    changed = put(message, place, b"\xff" * width)
    return named(changed) if target.name == "key" else changed
