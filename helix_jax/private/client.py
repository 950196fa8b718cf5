"""The client of an encrypted linear layer: the only holder of the secret key."""

import os
from typing import NamedTuple

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import encryption, packing, residues, wire, words
from helix_jax.private.layer import Layer
from helix_jax.private.profiles import find_profile
from helix_jax.private.seal import SecretKey
from helix_jax.types import Array


class _Pending(NamedTuple):
    """A message whose answer is awaited: its layer, and the shape of its rows."""

    layer: Layer
    shape: tuple[int, ...]


class Client:
    """The owner of queries, who alone can read their answers.

    Attributes:
      profile: parameters of the ring.
      key: 16 bytes, the name of its key.
    """

    def __init__(self, profile: str = "guarded"):
        """Make a key pair, which stays in this object.

        Raises:
          ProtocolError: there is no such profile.
          ImportError: Pyfhel is not installed.
        """
        self.profile = find_profile(profile)
        self._secret = SecretKey(self.profile)
        public = encryption.make_public_key(self._secret.residues, self.profile)
        self._bundle = public.seed + wire.pack_residues(public.first, self.profile)
        self.key = wire.key_name(self._bundle)
        self._pending: dict[bytes, _Pending] = {}

    def public_bundle(self) -> bytes:
        """What a provider needs to mask its answers: a public key."""
        sizes = (self.profile.degree, len(self.profile.primes))
        return wire.write(
            "key", self.profile, key=self.key, number=bytes(16), sizes=sizes,
            payload=self._bundle,
        )  # fmt: skip

    def read_layer(self, offer: bytes) -> Layer:
        """Read what a provider says of its layer.

        Raises:
          ProtocolError: it is malformed or out of bounds.
        """
        return Layer.from_bytes(offer, self.profile)

    def encrypt(self, layer: Layer, x: Array) -> bytes:
        """Encrypt one query, or several in one message.

        Args:
          layer: of `read_layer`.
          x: [d] or [B, d] real, each row of norm at most layer.input_norm.

        Returns:
          The message to send; its answer can be read once.

        Raises:
          ValueError: shape, dtype, norm or values that are not the layer's.
        """
        if layer.profile != self.profile:
            raise KeyRoleError(
                f"encrypt: this key is of profile {self.profile.name!r}, the layer of "
                f"{layer.profile.name!r}."
            )
        x, plan = np.asarray(x), layer.plan
        rows = packing.check_rows("encrypt", x[None] if x.ndim == 1 else x, plan.width)
        if not 1 <= len(rows) <= packing.MAX_QUERIES:
            raise ValueError(
                f"encrypt: a message holds 1 to {packing.MAX_QUERIES} queries, got "
                f"{len(rows)}."
            )
        norm = float(np.linalg.norm(rows, axis=1).max())
        if not norm <= layer.input_norm:
            raise ValueError(
                f"encrypt: |x| is {norm:.6g}, the layer takes at most "
                f"{layer.input_norm:.6g}; scale x, or ask for a layer of a larger "
                "input_norm."
            )
        seeds, firsts = [], []
        for group in packing.groups(len(rows)):
            packed = np.concatenate(
                [packing.pack_query(one, plan) for one in rows[group]]
            )
            message = residues.scaled_residues(packed, layer.query_bits, self.profile)
            seeded = encryption.encrypt(message, self._secret.residues, self.profile)
            seeds.append(seeded.seed)
            firsts.append(wire.pack_residues(seeded.first, self.profile))
        number = os.urandom(16)
        self._pending[number] = _Pending(layer, x.shape[:-1])
        return wire.write(
            "query", self.profile, key=self.key, number=number,
            sizes=(plan.width, plan.classes, plan.tiles, len(rows)),
            payload=b"".join([*seeds, *firsts]),
        )  # fmt: skip

    def decrypt(self, answer: bytes) -> np.ndarray:
        """Read the answer to a message of this client.

        Returns:
          [k] or [B, k] float64: x W + b to layer.error, or what the layer's policy
          makes of it.

        Raises:
          ProtocolError: it is malformed, or answers no open query.
          KeyRoleError: it is for another key.
        """
        message = wire.read(answer, "answer", self.profile, self.key)
        pending = self._pending.get(message.number)
        if pending is None:
            raise ProtocolError(
                f"answer: query {message.number.hex()} was not asked here, or its "
                "answer was read before."
            )
        plan, queries = pending.layer.plan, int(np.prod(pending.shape))
        numbers = plan.classes + plan.answers * plan.degree
        wire.expect_sizes(
            message,
            (plan.width, plan.classes, plan.tiles, queries),
            queries * numbers * words.WORD_BYTES,
        )
        shape = (queries, numbers)
        content = wire.unpack_integers(message.payload, shape, words.WORD_BYTES)
        del self._pending[message.number]
        opened = [
            self._open(content[group], pending.layer)
            for group in packing.groups(queries)
        ]
        return np.concatenate(opened).reshape(*pending.shape, plan.classes)

    def _open(self, content: np.ndarray, layer: Layer) -> np.ndarray:
        """Results [B, k] of words [B, k + answers N]."""
        plan, count = layer.plan, len(content)
        first = np.zeros((count, plan.answers * plan.rows), np.int64)
        first[:, : plan.classes] = content[:, : plan.classes]
        phases = words.open_words(
            self._secret,
            first.reshape(-1, plan.rows),
            content[:, plan.classes :].reshape(-1, plan.degree),
            plan.positions,
        )
        results = phases.reshape(count, -1)[:, : plan.classes]
        if layer.policy.name == "order":  # a uniform offset, so modulo q
            modulus = float(self.profile.modulus)
            results = results - results[:, :1]
            results -= modulus * np.rint(results / modulus)
        return np.ldexp(results, -layer.result_bits)

    def __reduce__(self):
        raise TypeError("a Client is not copied or pickled: it holds a secret key.")
