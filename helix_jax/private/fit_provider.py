"""The provider of an encrypted fit: cross-covariance of the client's encrypted rows.

Every residue of the result is a product of an integer matrix with the matrix of the
ciphertexts' residues; see `fit_products`.

The provider's rows are protected from the client by the masks of `flooding`, as a
layer's weights are; what the result itself tells is bounded by its guard alone: with n
rows of width d_x the client learns d_x numbers of the n in each column of Y.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import numeric
from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.locks import hold
from helix_jax.paths import local_path, os_errors
from helix_jax.private import flooding, residues, sampling, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.fit_plan import (
    KERNEL_BITS,
    FitOffer,
    FitPlan,
    plan_fit,
    rows_digest,
)
from helix_jax.private.fit_products import (
    add_products,
    add_words,
    mask_sums,
    pack_words,
    split_limbs,
)
from helix_jax.private.profiles import find_profile
from helix_jax.types import Array

_TARGETS = 256  # columns of Y multiplied at once
_ANSWERS = 32  # columns of the result masked and sent at once
_STATE = "sums.npz"
_REMEDY = "remove it to begin the fit again, or name another folder"


class FitProvider:
    """The owner of target rows, who takes part in one encrypted fit.

    Attributes:
      offer: what the client may know.
    """

    def __init__(
        self,
        y: Array,
        *,
        ids: Iterable[str] | None = None,
        profile: str = "guarded",
        rows_per_width: float = 2.0,
    ):
        """Prepare the rows.

        Args:
          y: [n, d_y] float, finite.
          ids: [n] names of the rows, which the client's must equal in this order.
          profile: name of the parameters.
          rows_per_width: the guard: fewer than this many rows for each dimension of
            the client's are refused. It sees what the client declares, not what its
            ciphertexts hold: a client that encrypts zeros for all rows but one reads
            that row. Only one fit is answered; more fits on the same rows with other
            source rows add up.

        Raises:
          ValueError: shapes or values that cannot be.
        """
        y = np.asarray(numeric.numbers("FitProvider", "y", y), np.float64)
        if y.ndim != 2 or len(y) < 2:
            raise ValueError(f"FitProvider: y needs shape [n, d_y], got {y.shape}.")
        y = y.copy()
        if not np.isfinite(y).all():
            raise ValueError("FitProvider: y must be finite.")
        parameters = find_profile(profile)
        self._mean = y.mean(axis=0)
        y -= self._mean
        largest = np.abs(y).max(axis=0)
        exponents = np.frexp(np.where(largest > 0, largest, 1))[1] - KERNEL_BITS
        self._y = np.rint(np.ldexp(y, -exponents)).astype(np.float64)
        norm = float(np.linalg.norm(self._y, axis=0).max())
        self._scaled_mean = np.ldexp(self._mean, -exponents)
        mean = float(np.abs(self._scaled_mean).max())
        room = parameters.modulus.bit_length() - 4
        self.offer = FitOffer(
            parameters,
            len(y),
            rows_digest(ids),
            math.ceil(math.log2(max(norm, 1.0))),
            min(room - int(np.frexp(mean)[1]), 100),
            float((y**2).sum() / len(y)),
            exponents,
        )
        self.rows_per_width = rows_per_width
        self._key: PublicKey | None = None
        self._plan: FitPlan | None = None
        self._sums: list[Array] = []
        self._done = 0
        self._answered = False

    def register(self, bundle: bytes) -> bytes:
        """Take the public key of the one client of this fit.

        Raises:
          ProtocolError: the bundle is malformed.
          KeyRoleError: another client has begun.
        """
        key = PublicKey(bundle, self.offer.profile)
        if self._key is not None and self._key.key != key.key:
            raise KeyRoleError(
                f"this fit is with the client key {self._key.key.hex()}, not "
                f"{key.key.hex()}; make a FitProvider for each client."
            )
        self._key = key
        return key.key

    @property
    def next_chunk(self) -> int:
        """The number of the message of rows that is expected next."""
        return self._done

    def absorb(self, message: bytes) -> None:
        """Multiply one message of encrypted rows.

        Raises:
          ProtocolError: it is malformed, out of order, or the guard refuses the fit.
          KeyRoleError: no key is registered, or it is of another.
        """
        key, profile = self._registered(), self.offer.profile
        read = wire.read(message, "rows", profile, key.key)
        number, width = read.sizes[:2]
        plan = self._plan or self._guarded_plan(width)
        length = wire.residues_length(plan.chunk * plan.tiles, profile)
        wire.expect_sizes(
            read, (self._done, plan.width, plan.rows), sampling.SEED_BYTES + length
        )
        if self._done == plan.chunks:
            raise ProtocolError(f"rows: all {plan.chunks} messages were absorbed.")
        seed = bytes(read.payload[: sampling.SEED_BYTES])
        count = plan.chunk * plan.tiles
        rest = read.payload[sampling.SEED_BYTES :]
        first = wire.unpack_residues(rest, count, profile, "rows")
        second = sampling.uniform_residues(seed, (count,), profile)
        shape = (plan.chunk, plan.tiles, len(profile.primes), plan.degree)
        pairs = np.stack([first.reshape(shape), second.reshape(shape)], axis=2)
        weights = self._chunk_weights(plan, number)
        limbs = split_limbs(pairs, plan=plan, profile=profile)
        if not self._sums:
            zeros = (plan.tiles, 2, len(profile.primes), plan.degree)
            with jax.enable_x64(True):
                self._sums = [
                    jnp.zeros((part.shape[1], *zeros), jnp.int64) for part in weights
                ]
        # Only now is anything changed.
        self._sums = [
            add_products(sums, part, limbs, profile=profile)
            for sums, part in zip(self._sums, weights)
        ]
        self._plan, self._done = plan, self._done + 1

    def mean_message(self) -> bytes:
        """The column means, encrypted for the client: the intercept's part.

        It is what a column of ones among the client's rows would give.
        """
        key, profile = self._registered(), self.offer.profile
        count = -(-self.offer.width // profile.degree)
        mean = np.zeros(count * profile.degree)
        mean[: self.offer.width] = self._scaled_mean
        scaled = residues.scaled_residues(
            mean.reshape(count, -1), self.offer.mean_bits, profile
        )
        first, second = key.encrypt_zeros(count)
        parts = add_words(first, scaled, second, profile=profile)
        return wire.write(
            "mean",
            profile,
            key=key.key,
            number=bytes(16),
            sizes=(count,),
            payload=pack_words(parts),
        )

    def results(self) -> Iterator[bytes]:
        """Messages with the cross-covariance, once, when all rows were absorbed.

        Raises:
          ProtocolError: rows are missing, or the results were given before.
        """
        plan = self._plan
        if plan is None or self._done < plan.chunks:
            wanted = "all" if plan is None else plan.chunks - self._done
            raise ProtocolError(f"fit: {wanted} messages of rows are missing.")
        if self._answered:
            raise ProtocolError(
                "fit: the results were given before; a FitProvider answers one fit."
            )
        self._answered = True
        return self._results(plan)

    def _results(self, plan: FitPlan) -> Iterator[bytes]:
        key, profile = self._registered(), self.offer.profile
        norms = np.abs(self._y).sum(axis=0)
        # Every coefficient of a column's results has its bound.
        shift = flooding.shift_bound(norms, plan.degree)
        shift *= math.sqrt(plan.tiles * plan.tile)
        bits = flooding.flood_bits(shift, profile.statistical_bits)
        for number, sums in enumerate(self._sums):
            for start in range(0, sums.shape[0], _ANSWERS):
                part = sums[start : start + _ANSWERS]
                shape = (part.shape[0], plan.tiles, plan.tile)
                count = shape[0] * plan.tiles
                if profile.guarded:
                    first, second = key.encrypt_zeros(count)
                    flood = flooding.draw_flood(bits, shape, profile)
                else:
                    first = second = np.zeros((count, 1, 1), np.int64)
                    flood = np.zeros((1, 1, 1, 1), np.int64)
                parts = mask_sums(
                    part, first, second, flood, plan=plan, profile=profile
                )
                sizes = (number * _TARGETS + start, shape[0], plan.width, plan.rows)
                yield wire.write(
                    "covariance",
                    profile,
                    key=key.key,
                    number=bytes(16),
                    sizes=sizes,
                    payload=pack_words(parts),
                )

    def save(self, folder: str | os.PathLike) -> None:
        """Keep what was absorbed so far in a folder, whole or not at all.

        Raises:
          ProtocolError: it cannot be written, or another fit is kept there; that and
            what was kept before is intact.
        """
        folder = local_path(folder, "the folder of a provider's state")
        with os_errors(folder, "be written", ProtocolError):
            folder.mkdir(parents=True, exist_ok=True)
        plan = self._plan
        state = {
            "done": np.array(self._done),
            "key": np.frombuffer(self._registered().key, np.uint8),
            "width": np.array(plan.width if plan else 0),
            "rows": np.frombuffer(self._fingerprint(), np.uint8),
        }
        state |= {f"sums_{i}": np.asarray(part) for i, part in enumerate(self._sums)}
        with hold(folder, "a provider's save"):
            self._require_own(folder / _STATE)
            write_npz(folder / _STATE, state, compressed=False, raises=ProtocolError)

    def restore(self, folder: str | os.PathLike) -> int:
        """Take up a saved fit of the same rows and client, if there is one.

        Returns:
          The number of the message of rows that is expected next.

        Raises:
          ProtocolError: it is damaged, or of other rows or another client.
        """
        file = local_path(folder, "the folder of a provider's state") / _STATE
        if not file.exists():
            return self._done
        self._require_own(file)
        state = read_npz(file, remedy=_REMEDY, raises=ProtocolError)
        width = int(state["width"])
        self._plan = self._guarded_plan(width) if width else None
        self._done = int(state["done"])
        with jax.enable_x64(True):
            names = [name for name in state if name.startswith("sums_")]
            self._sums = [jnp.asarray(state[f"sums_{i}"]) for i in range(len(names))]
        return self._done

    def _require_own(self, file: Path) -> None:
        """Refuse a state of other rows or another client, or a damaged one."""
        if not file.exists():
            return
        state = read_npz(
            file, names=("key", "rows"), remedy=_REMEDY, raises=ProtocolError
        )
        if (
            state["key"].tobytes() != self._registered().key
            or state["rows"].tobytes() != self._fingerprint()
        ):
            raise ProtocolError(
                f"{file} holds a fit of other rows or another client key; {_REMEDY}."
            )

    def _registered(self) -> PublicKey:
        if self._key is None:
            raise KeyRoleError(
                "fit: no client key is registered; send its bundle first."
            )
        return self._key

    def _fingerprint(self) -> bytes:
        return rows_digest(str(value) for value in self._y.sum(axis=0)) + (
            self.offer.digest
        )

    def _guarded_plan(self, width: int) -> FitPlan:
        try:
            plan = plan_fit(self.offer.rows, width, self.offer.profile)
        except ValueError as wrong:
            raise ProtocolError(f"rows: {wrong}") from wrong
        # The quotient, which is exact where a product such as 1.1 * 10 is above 11.
        if self.offer.rows / width < self.rows_per_width:
            raise ProtocolError(
                f"rows: {self.offer.rows} rows of source width {width} would reveal "
                f"{min(1.0, width / self.offer.rows):.0%} of what the target's rows "
                f"are; at least {self.rows_per_width:g} rows a dimension are needed. "
                "Use more rows, or project the source to fewer dimensions first."
            )
        return plan

    def _chunk_weights(self, plan: FitPlan, number: int) -> list[np.ndarray]:
        """Integers [blocks * chunk, targets] as `split_limbs` has them, by columns."""
        size = plan.chunk * plan.blocks
        part = self._y[number * size : (number + 1) * size]
        part = np.pad(part, ((0, size - len(part)), (0, 0)))
        part = part.reshape(plan.chunk, plan.blocks, -1).swapaxes(0, 1)
        part = part.reshape(size, -1)
        return [
            np.ascontiguousarray(part[:, start : start + _TARGETS])
            for start in range(0, part.shape[1], _TARGETS)
        ]

    def __reduce__(self):
        raise TypeError("a FitProvider is not copied or pickled: it answers one fit.")
