"""The client of a layer whose answers reveal only labels."""

import os
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import wire
from helix_jax.private.client import Client
from helix_jax.private.internals import signing_key
from helix_jax.private.labels import base_transfers, shares, transfers
from helix_jax.private.labels.argmax import argmax, count_gates, index_bits
from helix_jax.private.labels.garbling import (
    GATE_BYTES,
    ROW_BYTES,
    Evaluator,
    TweakedHash,
    result_tweaks,
)
from helix_jax.private.layer import Layer
from helix_jax.private.policies import LABEL_BITS
from helix_jax.private.turns import Turns
from helix_jax.types import Array


class _Chosen(NamedTuple):
    """An answer that is waiting for its circuit.

    Attributes:
      shape: of the labels.
      rows: [m, 2] uint64, of the transfers.
      choices: [m] uint8, bits of the shares.
    """

    shape: tuple[int, ...]
    rows: np.ndarray
    choices: np.ndarray


class LabelClient:
    """Gets labels from one provider, in two rounds per message.

        side = LabelClient(client, layer)
        side.read_elements(provider.agree(side.agree()))     # once
        answer = provider.answer(side.encrypt(x))
        labels = side.read(provider.label(side.choose(answer)))

    Attributes:
      layer: the provider's, with the policy "label".
    """

    def __init__(self, client: Client, layer: Layer):
        """Wrap a client that is registered with the layer's provider.

        Raises:
          ValueError: the layer's policy is not "label".
        """
        if layer.policy.name != "label":
            raise ValueError(
                f"LabelClient: the layer's policy is {layer.policy.name!r}, not "
                "'label'; its answers are read by Client.decrypt."
            )
        self._client, self.layer = client, layer
        self._turns = Turns("this LabelClient")
        self._asked: tuple[bytes, list[int], bytes] | None = None
        self._agreed: bytes | None = None
        self._keys: list[tuple[bytes, bytes]] = []
        self._chosen: dict[bytes, _Chosen] = {}

    def agree(self) -> bytes:
        """The message that starts the transfers, once for all labels."""
        scalars = base_transfers.draw_scalars()
        number, offered = os.urandom(16), base_transfers.offer(scalars)
        self._asked = number, scalars, offered
        return self._write("transfers", number, self.layer.binding, (), offered)

    def read_elements(self, message: bytes) -> None:
        """Read the provider's part of the transfers.

        Raises:
          ProtocolError: it is malformed, or was not requested.
          KeyRoleError: it is for another key.
        """
        if self._asked is None:
            raise ProtocolError(
                "elements: no transfers are awaited; call `agree` first."
            )
        number, scalars, offered = self._asked
        read = wire.read(
            message,
            "elements",
            self.layer.profile,
            self._client.key,
            number=number,
            binding=self.layer.binding,
        )
        wire.expect_sizes(read, (), base_transfers.REPLY_BYTES)
        self._keys = base_transfers.open_reply(
            scalars, offered, bytes(read.payload), self._client.key + number
        )
        self._agreed, self._asked = number, None

    def encrypt(self, x: Array) -> bytes:
        """Encrypt one query, or several in one message; see `Client.encrypt`.

        Raises:
          ValueError: as in `Client.encrypt`, or one message cannot hold the labels of
            all queries.
        """
        x = np.asarray(x)
        shares.count_transfers(self.layer, len(x) if x.ndim == 2 else 1)
        return self._client.encrypt(self.layer, x)

    def choose(self, answer: bytes | Iterator[bytes]) -> bytes:
        """Read an answer and ask for its labels: the message of the second round.

        Raises:
          ProtocolError: the answer is malformed or not awaited, no transfers were
            agreed on, or this is a forked child.
          KeyRoleError: it is for another key.
        """
        with self._turns:
            if self._agreed is None:
                raise ProtocolError("answer: no transfers were agreed on; do so first.")
            opened = self._client.open_answer(answer, labels=True)
            if opened.layer != self.layer:
                raise ProtocolError("answer: it is of another provider's layer.")
            own = self._shares(opened.phases)
            choices = shares.bits_of(own).reshape(-1)
            message, rows = transfers.choose(self._keys, opened.number, choices)
            self._chosen[opened.number] = _Chosen(opened.shape, rows, choices)
            binding = shares.binding(self.layer, self._agreed)
        sizes = (self.layer.plan.classes, len(own))
        return self._write("choices", opened.number, binding, sizes, message)

    def read(self, garbled: bytes) -> np.ndarray:
        """Read the labels of an answer.

        Returns:
          [] or [B] int64, the class of the largest result; among results that are
          within twice `Layer.error` of each other, any.

        Raises:
          ProtocolError: the message is malformed, changed, or not awaited.
          KeyRoleError: it is for another key.
        """
        profile, classes = self.layer.profile, self.layer.plan.classes
        read = wire.read(garbled, "garbled", profile, self._client.key, binding=None)
        with self._turns:
            chosen = self._chosen.get(read.number)
        if chosen is None or self._agreed is None:
            raise ProtocolError(
                f"garbled: labels of query {read.number.hex()} are not awaited here."
            )
        queries = len(chosen.choices) // (classes * LABEL_BITS)
        lengths = (
            ROW_BYTES,
            len(chosen.rows) * ROW_BYTES,
            queries * count_gates(classes, LABEL_BITS) * GATE_BYTES,
            2 * queries * index_bits(classes) * ROW_BYTES,
        )
        wire.expect_sizes(read, (classes, queries), sum(lengths))
        ends = np.cumsum(lengths)
        key, moves, tables, results = (
            read.payload[end - length : end] for end, length in zip(ends, lengths)
        )
        labels = TweakedHash(bytes(key), b"transfers")(
            chosen.rows, np.arange(len(chosen.rows))
        )
        moved = np.frombuffer(moves, "<u8").reshape(-1, 2)
        labels = labels ^ moved * chosen.choices[:, None]
        labels = labels.reshape(LABEL_BITS, queries, classes, 2)
        gates = Evaluator(tables, bytes(key))
        wires = argmax(gates, labels, np.zeros_like(labels)).reshape(-1, 2)
        hashed = TweakedHash(bytes(key), b"results")
        shown = [hashed(wires, places) for places in result_tweaks(len(wires))]
        named = np.frombuffer(results, "<u8").reshape(2, -1, 2) == np.stack(shown)
        bits = named.all(axis=-1)
        found = bits[1].reshape(-1, queries).astype(np.int64)
        found = (found << np.arange(len(found))[:, None]).sum(axis=0)
        if not (bits[0] ^ bits[1]).all() or found.max() >= classes:
            raise ProtocolError("garbled: the circuit was changed in transit.")
        with self._turns:
            self._chosen.pop(read.number, None)
        return found.reshape(chosen.shape)

    def _shares(self, phases: np.ndarray) -> np.ndarray:
        return shares.cut(phases / self.layer.profile.modulus)

    def _write(
        self, kind: str, number: bytes, binding: bytes, sizes: tuple, payload: bytes
    ) -> bytes:
        return wire.write(
            kind,
            self.layer.profile,
            key=self._client.key,
            number=number,
            binding=binding,
            sizes=sizes,
            payload=payload,
            signing_key=signing_key(self._client),
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LabelClient is not copied or pickled: it holds secret keys.")
