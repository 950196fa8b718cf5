"""The client of an encrypted linear layer: the only holder of the secret key."""

import os

import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import encryption, packing, residues, wire, words
from helix_jax.private.layer import Layer
from helix_jax.private.profiles import find_profile
from helix_jax.private.seal import SecretKey
from helix_jax.types import Array


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
        self._pending: dict[bytes, Layer] = {}

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
        """Encrypt one query.

        Args:
          layer: of `read_layer`.
          x: [d] real, of norm at most layer.input_norm.

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
        plan = layer.plan
        x = check_rows("encrypt", np.asarray(x)[None], plan.width)[0]
        norm = float(np.linalg.norm(x))
        if not norm <= layer.input_norm:
            raise ValueError(
                f"encrypt: |x| is {norm:.6g}, the layer takes at most "
                f"{layer.input_norm:.6g}; scale x, or ask for a layer of a larger "
                "input_norm."
            )
        message = residues.scaled_residues(
            packing.pack_query(x, plan), layer.query_bits, self.profile
        )
        seeded = encryption.encrypt(message, self._secret.residues, self.profile)
        number = os.urandom(16)
        self._pending[number] = layer
        return wire.write(
            "query", self.profile, key=self.key, number=number,
            sizes=(plan.width, plan.classes, plan.tiles),
            payload=seeded.seed + wire.pack_residues(seeded.first, self.profile),
        )  # fmt: skip

    def decrypt(self, answer: bytes) -> np.ndarray:
        """Read the answer to a query of this client.

        Returns:
          [k] float64: x W + b to layer.error, or what the layer's policy makes of it.

        Raises:
          ProtocolError: it is malformed, or answers no open query.
          KeyRoleError: it is for another key.
        """
        message = wire.read(answer, "answer", self.profile, self.key)
        layer = self._pending.get(message.number)
        if layer is None:
            raise ProtocolError(
                f"answer: query {message.number.hex()} was not asked here, or its "
                "answer was read before."
            )
        plan = layer.plan
        numbers = plan.classes + plan.answers * plan.degree
        wire.expect_sizes(
            message,
            (plan.width, plan.classes, plan.tiles),
            numbers * words.WORD_BYTES,
        )
        content = wire.unpack_integers(message.payload, (numbers,), words.WORD_BYTES)
        del self._pending[message.number]
        results = np.zeros(plan.answers * plan.rows, np.int64)
        results[: plan.classes] = content[: plan.classes]
        results = results.reshape(plan.answers, plan.rows)
        second = content[plan.classes :].reshape(plan.answers, plan.degree)
        phases = words.open_words(self._secret, results, second, plan.positions)
        return np.ldexp(phases.reshape(-1)[: plan.classes], -layer.result_bits)

    def __reduce__(self):
        raise TypeError("a Client is not copied or pickled: it holds a secret key.")


def check_rows(where: str, x: np.ndarray, width: int) -> np.ndarray:
    """Rows [n, d] as contiguous float64.

    Raises:
      TypeError: they are not real numbers.
      ValueError: another width, or values that are not finite.
    """
    if x.dtype.kind not in "fiu" and x.dtype.name != "bfloat16":
        raise TypeError(f"{where}: expected real numbers, got {x.dtype}.")
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(
            f"{where}: expected width {width}, got shape {list(x.shape[1:])}."
        )
    x = np.ascontiguousarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"{where}: values must be finite, got NaN or infinity.")
    return x
