"""The client of an encrypted linear layer: the only holder of the secret key."""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, NoReturn

import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import answers, encryption, key_proof, packing, signatures, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.forks import require_own
from helix_jax.private.layer import Layer, norm_margin
from helix_jax.private.profiles import find_profile
from helix_jax.private.seal import SecretKey
from helix_jax.private.self_test import require_exact
from helix_jax.types import Array


class _Pending(NamedTuple):
    """A query whose answers are pending.

    Attributes:
      layer: that was queried.
      shape: of its rows, () or (B,).
      answers: how many may be read.
      read: hashes of those already read.
    """

    layer: Layer
    shape: tuple[int, ...]
    answers: int
    read: set[bytes]


class OpenedAnswer(NamedTuple):
    """An answer after decryption.

    Attributes:
      number: 16 bytes, of its query.
      layer: that was queried.
      shape: of the query's rows, () or (B,).
      phases: [B, k] float64 in (-q / 2, q / 2].
    """

    number: bytes
    layer: Layer
    shape: tuple[int, ...]
    phases: np.ndarray


class Client:
    """The owner of queries, the only one who can read their answers.

    Attributes:
      profile: parameters of the ring.
      key: 16 bytes, the name of its key.
    """

    def __init__(self, profile: str = "guarded"):
        """Make key pairs for encryption and signatures, which stay in this object.

        Raises:
          ProtocolError: there is no such profile.
          ExtraError: Pyfhel is not installed.
          RuntimeError: the device computes wrong results, see `self_test`.
        """
        self.profile, self._process = find_profile(profile), os.getpid()
        require_exact(self.profile)
        self._signing = os.urandom(signatures.KEY_BYTES)
        self._secret = SecretKey(self.profile)
        public = encryption.make_public_key(self._secret.residues, self.profile)
        verifying = signatures.verifying_key(self._signing)
        self._public = PublicKey(public, verifying, self.profile)
        self.key = self._public.key
        self._pending: dict[bytes, _Pending] = {}

    def close(self) -> None:
        """Overwrite the secret key; later encryption and decryption are refused."""
        self._secret.close()

    def public_bundle(self) -> bytes:
        """The public keys with which a provider masks answers and verifies messages.

        In guarded profiles they come with a proof, which is made once per client; no
        two proofs are the same.
        """
        return self._bundle

    @cached_property
    def _bundle(self) -> bytes:
        if not self.profile.guarded:
            return self._public.to_bytes()
        proof = key_proof.prove(
            self._public.public,
            self._secret.residues,
            self.profile,
            owner=self._public.verifying,
        )
        return self._public.to_bytes(proof)

    def read_layer(self, offer: bytes) -> Layer:
        """Read a provider's description of its layer.

        Raises:
          ProtocolError: it is malformed or out of bounds.
        """
        return Layer.from_bytes(offer, self.profile)

    @takes(layer=kinds.LAYER)
    def encrypt(self, layer: Layer, x: Array, *, answers: int = 1) -> bytes:
        """Encrypt one query, or several in one message.

        Args:
          layer: of `read_layer`.
          x: [d] or [B, d] real, each row of norm at most layer.input_norm times
            1 + `norm_margin`: rows scaled to that norm in the dtype of x have it only
            up to rounding.
          answers: how many to expect, from as many layers of the same binding.

        Returns:
          The message to send; each of its answers can be read once.

        Raises:
          ValueError: shape, dtype, norm or values do not fit the layer.
          KeyRoleError: the layer is of another profile.
        """
        if layer.profile != self.profile:
            raise KeyRoleError(
                f"encrypt: this key is of profile {self.profile.name!r}, the layer of "
                f"{layer.profile.name!r}."
            )
        require_own(self._process, "this Client")
        if answers < 1:
            raise ValueError(f"encrypt: expected 1 answer or more, got {answers}.")
        x, plan = np.asarray(x), layer.plan
        rows = packing.check_rows("encrypt", x[None] if x.ndim == 1 else x, plan.width)
        if not 1 <= len(rows) <= packing.MAX_QUERIES:
            raise ValueError(
                f"encrypt: a message holds 1 to {packing.MAX_QUERIES} queries, got "
                f"{len(rows)}."
            )
        norm = float(np.linalg.norm(rows, axis=1).max())
        margin = norm_margin(x.dtype)
        if not norm <= layer.input_norm * (1 + margin):
            raise ValueError(
                f"encrypt: |x| is {norm:.7g}, the layer takes at most "
                f"{layer.input_norm:.7g} (plus {margin:.1g} of that for rounding); "
                "scale x, or request a layer with a larger input_norm."
            )
        seeds, firsts = [], []
        for group in packing.groups(len(rows)):
            packed = np.concatenate(
                [packing.pack_query(one, plan) for one in rows[group]]
            )
            seeded = encryption.encrypt_numbers(
                packed[:, : plan.tile],
                layer.query_bits,
                self._secret.residues,
                self.profile,
                "query",
            )
            seeds.append(seeded.seed)
            firsts.append(wire.pack_residues(seeded.first, self.profile))
        number = os.urandom(16)
        self._pending[number] = _Pending(layer, x.shape[:-1], answers, set())
        return wire.write(
            "query",
            self.profile,
            key=self.key,
            number=number,
            binding=layer.binding,
            sizes=(plan.width, plan.classes, plan.tiles, len(rows)),
            payload=b"".join([*seeds, *firsts]),
            signing_key=self._signing,
        )

    def decrypt(self, answer: bytes | Iterator[bytes]) -> np.ndarray:
        """Read the answer to a message of this client.

        Args:
          answer: the message, whole or in pieces as they arrive.

        Returns:
          [k] or [B, k] float64: x W + b to within layer.error, or what the layer's
          policy makes of it.

        Raises:
          ProtocolError: it is malformed, answers no pending query, or holds labels.
          KeyRoleError: it is for another key.
        """
        opened = self.open_answer(answer, labels=False)
        results = np.ldexp(opened.phases, -opened.layer.result_bits)
        return results.reshape(*opened.shape, -1)

    def open_answer(
        self, answer: bytes | Iterator[bytes], *, labels: bool
    ) -> OpenedAnswer:
        """Decrypt the answer to a message of this client, once.

        Args:
          answer: as in `decrypt`.
          labels: whether the layer's policy is expected to be "label".

        Raises:
          ProtocolError, KeyRoleError: as in `decrypt`.
        """
        require_own(self._process, "this Client")
        if isinstance(answer, Iterator):
            pieces = wire.Pieces(answer, "answer")
            header = pieces.take(wire.HEADER_BYTES)
            message = self._read_header(header, whole=False)
        else:
            message = self._read_header(answer)
            pieces = wire.Pieces([message.payload], "answer")
        pending = self._pending[message.number]
        if (pending.layer.policy.name == "label") != labels:
            raise ProtocolError(
                f"answer: the layer's policy is {pending.layer.policy.name!r}; labels "
                "are read by a LabelClient, other results by Client.decrypt."
            )
        plan, queries = pending.layer.plan, int(np.prod(pending.shape))
        sizes = (plan.width, plan.classes, plan.tiles, queries)
        wire.expect_sizes(
            message, sizes, answers.payload_length(plan, self.profile, queries)
        )
        phases, done = np.empty((queries, plan.classes)), 0
        digest = hashlib.sha256()
        for count, results in plan.parts:
            for group in packing.groups(queries):
                part = count, results, group.stop - group.start
                data = pieces.take(answers.part_length(plan, self.profile, *part))
                digest.update(data)
                phases[group, done : done + results] = answers.open_part(
                    self._secret, data, plan, *part
                )
            done += results
        pieces.finish()
        if digest.digest() in pending.read:
            raise ProtocolError("answer: it was read before, as another layer's.")
        pending.read.add(digest.digest())
        if len(pending.read) == pending.answers:
            del self._pending[message.number]
        return OpenedAnswer(message.number, pending.layer, pending.shape, phases)

    def _read_header(
        self, data: bytes | memoryview, *, whole: bool = True
    ) -> wire.Message:
        """Read the header of a pending answer, and check its layer."""
        expected = "answer", self.profile, self.key
        message = wire.read(data, *expected, binding=None, whole=whole)
        if message.number not in self._pending:
            raise ProtocolError(
                f"answer: query {message.number.hex()} was not made here, or its "
                "answer was read before."
            )
        binding = self._pending[message.number].layer.binding
        return wire.read(data, *expected, binding=binding, whole=whole)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client is not copied or pickled: it holds a secret key.")
