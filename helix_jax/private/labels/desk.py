"""The provider's side of labels for one client key.

It holds the offsets of answers that wait for their second round, garbles the circuit of
each answer once, and forgets the offsets before that. The provider checks beforehand
that the client signed the messages that come here.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import wire
from helix_jax.private.labels import base_transfers, shares, transfers
from helix_jax.private.labels.argmax import argmax
from helix_jax.private.labels.garbling import (
    ROW_BYTES,
    Garbler,
    TweakedHash,
    draw_offset,
    result_tweaks,
    where,
)
from helix_jax.private.layer import Layer
from helix_jax.private.sampling import secret_bytes
from helix_jax.private.signatures import SIGNATURE_BYTES
from helix_jax.private.turns import Turns

WAITING = 64  # most answers of a key that wait for their second round


class _Transfers(NamedTuple):
    """Result of the base transfers: their number, the bits D, the keys D selects."""

    number: bytes
    secret: np.ndarray
    keys: list[bytes]


class Desk:
    """Labels for one client key."""

    def __init__(self, layer: Layer):
        self._layer = layer
        self._turns = Turns("the answer to these choices")
        self._transfers: _Transfers | None = None
        self._waiting: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def agree(self, message: bytes) -> bytes:
        """Agree on transfers, which replace any earlier ones.

        Raises:
          ProtocolError: the message is malformed.
        """
        profile, binding = self._layer.profile, self._layer.binding
        read = wire.read(message, "transfers", profile, binding=binding)
        wire.expect_sizes(read, (), base_transfers.OFFER_BYTES + SIGNATURE_BYTES)
        bits = np.unpackbits(
            np.frombuffer(secret_bytes(base_transfers.COUNT // 8), np.uint8)
        )
        number = read.key + read.number
        offered = bytes(read.payload[:-SIGNATURE_BYTES])
        sent, keys = base_transfers.reply(offered, bits.tolist(), number)
        with self._turns:
            self._transfers = _Transfers(read.number, bits, keys)
        return wire.write(
            "elements",
            profile,
            key=read.key,
            number=read.number,
            binding=binding,
            sizes=(),
            payload=sent,
        )

    def hold(self, number: bytes, offsets: np.ndarray) -> None:
        """Keep the offsets of an answer until its second round.

        Args:
          number: of the message of queries.
          offsets: [B, k] int64, see `shares`.
        """
        with self._turns:
            self._waiting[number] = offsets
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)

    def label(self, message: bytes) -> bytes:
        """The circuit of an answer's labels, garbled for a client's shares.

        Raises:
          ProtocolError: the message is malformed, its answer is not waiting here, or it
            fails the check of the transfers, which are then given up.
        """
        layer, profile = self._layer, self._layer.profile
        # One at a time: a failed check must end the transfers before the next check.
        with self._turns:
            agreed = self._transfers
            if agreed is None:
                raise ProtocolError(
                    "choices: no transfers were agreed on; do so first."
                )
            binding = shares.binding(layer, agreed.number)
            read = wire.read(message, "choices", profile, binding=binding)
            offsets = self._waiting.get(read.number)
            if offsets is None:
                raise ProtocolError(
                    f"choices: no answer to query {read.number.hex()} waits for its "
                    f"second round; each has one, and a key's last {WAITING} are kept."
                )
            count = shares.count_transfers(layer, len(offsets))
            sizes = (layer.plan.classes, len(offsets))
            length = transfers.message_bytes(count)
            wire.expect_sizes(read, sizes, length + SIGNATURE_BYTES)
            del self._waiting[read.number]
            try:
                sent = bytes(read.payload[:length])
                rows = transfers.receive(
                    agreed.keys, agreed.secret, read.number, sent, count
                )
            except ProtocolError:
                self._transfers = None
                raise
        payload = garble(offsets, rows, transfers.pack_secret(agreed.secret))
        return wire.write(
            "garbled",
            profile,
            key=read.key,
            number=read.number,
            binding=binding,
            sizes=sizes,
            payload=payload,
        )


def garble(offsets: np.ndarray, rows: np.ndarray, secret: np.ndarray) -> bytes:
    """A fresh circuit: its key, and the bytes for the transfers, gates and results.

    For each choice, the label of false is the hash of its row q, and `moves` sends
    hash(q) + hash(q + D of the transfers) + D of the circuit, from which the receiver
    of a true choice computes the label of true.

    Args:
      offsets: [B, k] int64, the provider's.
      rows: [m, 2] uint64, q of the transfers.
      secret: [2] uint64, their D.
    """
    key, offset = secret_bytes(ROW_BYTES), draw_offset()
    gates, tweaks = Garbler(offset, key), np.arange(len(rows))
    hashed = TweakedHash(key, b"transfers")
    labels = hashed(rows, tweaks)
    moves = labels ^ hashed(rows ^ secret, tweaks) ^ offset
    own = where(shares.bits_of(offsets), offset)
    wires = argmax(gates, labels.reshape(own.shape), own).reshape(-1, 2)
    shown = TweakedHash(key, b"results")
    results = [
        shown(label, places)
        for label, places in zip((wires, wires ^ offset), result_tweaks(len(wires)))
    ]
    both = (moves.astype("<u8").tobytes(), np.stack(results).astype("<u8").tobytes())
    return key + both[0] + gates.tables() + both[1]
