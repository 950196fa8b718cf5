"""The provider of an encrypted fit: cross-covariance of the client's encrypted rows.

Every residue of the result is a product of an integer matrix with the matrix of the
ciphertexts' residues; see `fit_products`.

The provider's rows are protected from the client by the masks of `flooding`, as a
layer's weights are. What the result itself tells is bounded in bits: the flood leaves
`precision` of them to each of its d_x d_y numbers, whatever the client has encrypted
for X, and the guard asks for rows that hold several times as many.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import numeric
from helix_jax.array_files import read_npz, write_npz
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.locks import hold
from helix_jax.paths import local_path, os_errors
from helix_jax.private import (
    fit_bits,
    fit_noise,
    flooding,
    residues,
    sampling,
    signatures,
    wire,
)
from helix_jax.private.accountant import Privacy
from helix_jax.private.accounts import PublicKey, require_current, require_same
from helix_jax.private.admission import Admission, admit
from helix_jax.private.fit_bits import PRECISION, SHARE
from helix_jax.private.fit_plan import (
    ENERGY_BITS,
    KERNEL_BITS,
    MAX_EXPONENT,
    MAX_MEAN_SCALE,
    PRECISIONS,
    FitOffer,
    FitPlan,
    plan_fit,
    rows_digest,
    transcript,
)
from helix_jax.private.fit_products import (
    add_products,
    add_words,
    mask_sums,
    pack_words,
    split_limbs,
)
from helix_jax.private.forks import require_own
from helix_jax.private.ledger import Ledger
from helix_jax.private.profiles import find_profile
from helix_jax.private.self_test import require_exact
from helix_jax.types import Array

_TARGETS = 256  # columns of Y multiplied at once
_ANSWERS = 32  # columns of the result masked and sent at once
_STATE, _LEDGER = "sums.npz", "ledger.db"
_PARTS = ("absorbed", "offer", "ledger", "identity", "key", "width", "rows", "bits")
_EVERYONE = "all clients"  # who could put together what they have
_REMEDY = "remove it to begin the fit again, or name another folder"


def _row_hashes(y: np.ndarray, ids: bytes) -> tuple[bytes, bytes]:
    """Of rows and their names in order; and of the rows alone, whatever their order."""
    each = [hashlib.sha256(row.tobytes()).digest() for row in np.ascontiguousarray(y)]
    shape = str(y.shape).encode()
    return tuple(
        hashlib.sha256(shape + begin + b"".join(rows)).digest()
        for begin, rows in ((ids, each), (b"", sorted(each)))
    )


def _rounded(value: float, bits: int) -> float:
    """A float of so many bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)


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
        precision: int | None = PRECISION,
        share: float = SHARE,
        privacy: Privacy | None = None,
        identity: str = "",
        ledger: Ledger | None = None,
        admission: Admission | None = None,
    ):
        """Prepare the rows.

        Args:
          y: [n, d_y] float, finite.
          ids: [n] names of the rows, which the client's must equal in this order.
          profile: name of the parameters.
          precision: bits that one number of the result carries at most, from 8 to 20;
            None for what the hiding of errors leaves, some 20. Profiles that are not
            guarded have no flood and protect no rows.
          share: the guard: fits whose results could carry more than this share of the
            bits of the rows (`held_bits`) are refused, those of the same
            client on the same rows before included. A client may choose of which rows:
            one that encrypts zeros for all rows but d_x reads these, to their first
            `precision` bits.
          privacy: differential privacy of the rows, which need norms of 1 at most then
            (`unit_rows`); None for none. It holds for clients that follow the
            protocol. What all clients of the ledger get of the same rows adds up to it.
          identity: who the client is, for the ledger: a name that it cannot choose.
          ledger: what was given out before, which this fit adds to. None begins one in
            memory, or in the folder of `save` and `restore`: fits elsewhere are not
            counted then.
          admission: whose ticket says who the client is, in place of `identity`.

        Raises:
          ValueError: shapes or values that cannot be.
          RuntimeError: the device computes wrongly, see `self_test`.
        """
        parameters, digest = find_profile(profile), rows_digest(ids)
        require_exact(parameters)
        if privacy is not None and not parameters.guarded:
            raise ValueError(
                f"FitProvider: profile {profile!r} shows more than results, and no "
                "noise on them protects rows; use 'guarded' for differential privacy."
            )
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(
                f"FitProvider: precision must be from {PRECISIONS[0]} to "
                f"{PRECISIONS[-1]} bits or None, got {precision}."
            )
        if not share > 0:
            raise ValueError(f"FitProvider: share must be positive, got {share}.")
        y = np.asarray(numeric.numbers("FitProvider", "y", y), np.float64)
        if y.ndim != 2 or len(y) < 2:
            raise ValueError(f"FitProvider: y needs shape [n, d_y], got {y.shape}.")
        y = y.copy()
        if not np.isfinite(y).all():
            raise ValueError("FitProvider: y must be finite.")
        size = float(np.abs(y).max())
        if size and not 2.0 ** (40 - MAX_EXPONENT) < size < 2.0 ** (MAX_EXPONENT - 40):
            raise ValueError(
                f"FitProvider: the largest of y is {size:g}; scale y to numbers near 1."
            )
        self._fingerprint, self._subject = _row_hashes(y, digest)
        self._privacy = privacy
        if privacy is None:
            means = y.mean(axis=0)
            y -= means
            exponents = fit_bits.column_units(y, means)
            self._y = np.rint(np.ldexp(y, -exponents)).astype(np.float64)
            norm = float(np.linalg.norm(self._y, axis=0).max())
            self._scaled_mean = np.ldexp(means, -exponents)
            mean = float(np.abs(self._scaled_mean).max())
            energy = _rounded(float((y**2).sum() / len(y)), ENERGY_BITS)
        else:
            self._y, norm, mean = fit_noise.private_columns(y, privacy)
            exponents = np.full(y.shape[1], -KERNEL_BITS)
            energy = 0.0  # a noisy one is beside the means
        self._mean_bound = mean
        room = parameters.modulus.bit_length() - 4
        self.offer = FitOffer(
            parameters,
            os.urandom(16),
            len(y),
            digest,
            math.ceil(math.log2(max(norm, 1.0))),
            min(room - int(np.frexp(mean)[1]), MAX_MEAN_SCALE),
            precision if precision and parameters.guarded else 0,
            energy,
            privacy.rho if privacy else 0.0,
            exponents,
        )
        self.share, self.identity = share, identity
        self._admission, self._until = admission, math.inf
        self._process = os.getpid()
        guarded = parameters.guarded
        self._held_bits = fit_bits.held_bits(self._y) if guarded else math.inf
        self._ledger, self._own_ledger = ledger or Ledger(), ledger is None
        self._lock = threading.RLock()
        self._key: PublicKey | None = None
        self._plan: FitPlan | None = None
        self._row_bits = 0  # of the client's integers, in a private fit
        self._sums: list[Array] = []
        self._absorbed: list[bytes] = []  # SHA-256 of the messages of rows
        self._mean_message: bytes | None = None

    def register(self, bundle: bytes, ticket: bytes | None = None) -> bytes:
        """Take the public key of the one client of this fit.

        Args:
          bundle: of the client.
          ticket: of the admission, where there is one; a later one may follow.

        Raises:
          ProtocolError: one of them is malformed, or the bundle proves no key.
          KeyRoleError: another client has begun, or the ticket does not admit this key.
        """
        require_own(self._process, "this FitProvider")
        return self._admit(PublicKey.from_bytes(bundle, self.offer.profile), ticket)

    def _admit(self, key: PublicKey, ticket: bytes | None) -> bytes:
        admitted = admit(self._admission, ticket, key.key)
        with self._own():
            if self._key is not None and self._key.key != key.key:
                raise KeyRoleError(
                    f"this fit is with the client key {self._key.key.hex()}, not "
                    f"{key.key.hex()}; make a FitProvider for each client."
                )
            if self._admission is not None:
                if self._key is not None or self.identity:
                    require_same(admitted.identity, self.identity)
                self.identity, self._until = admitted
            self._key = key
        return key.key

    @property
    def next_chunk(self) -> int:
        """The number of the message of rows that is expected next."""
        return len(self._absorbed)

    def absorb(self, message: bytes) -> None:
        """Multiply one message of encrypted rows.

        Raises:
          ProtocolError: it is malformed, of another fit, out of order, or the guard
            refuses the fit.
          KeyRoleError: no key is registered, or it is of another.
        """
        with self._own():
            self._absorb(message)

    def _absorb(self, message: bytes) -> None:
        key, profile = self._registered(), self.offer.profile
        read = wire.read(message, "rows", profile, key.key, number=self.offer.number)
        number, width, _, row_bits = read.sizes
        fit_noise.require_row_bits(row_bits, self.offer.rho, self._row_bits)
        plan = self._plan or self._guarded_plan(width)
        length = wire.residues_length(plan.chunk * plan.tiles, profile)
        length += sampling.SEED_BYTES + signatures.SIGNATURE_BYTES
        sizes = self.next_chunk, plan.width, plan.rows, row_bits
        wire.expect_sizes(read, sizes, length)
        read = key.require_signed(message, read)
        if self.next_chunk == plan.chunks:
            raise ProtocolError(f"rows: all {plan.chunks} messages were absorbed.")
        seed = bytes(read.payload[: sampling.SEED_BYTES])
        if self.offer.rho:  # noise that cannot be made is refused before it is charged
            fit_noise.covariance_sigma(self.offer.rho, row_bits, plan, self.offer.width)
        count = plan.chunk * plan.tiles
        rest = read.payload[sampling.SEED_BYTES :]
        first = wire.unpack_residues(rest, count, profile, "rows")
        second = sampling.uniform_residues(seed, (count,), profile, "rows")
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
        self._plan, self._row_bits = plan, row_bits
        self._absorbed.append(hashlib.sha256(message).digest())

    def mean_message(self) -> bytes:
        """The column means, encrypted for the client: the intercept's part.

        It is what a column of ones among the client's rows would give. The flood
        leaves `precision` bits of what lies between the column's largest deviations.

        Raises:
          ProtocolError: the ledger has it: it was given before a restart; or the bits
            of this client are spent.
        """
        with self._own():
            if self._mean_message is None:
                # More noise on the same means would average out.
                message = self._make_mean_message()
                rho = fit_noise.mean_rho(self.offer.rho)
                self._charge(b"mean", fit_bits.mean_bits(self.offer), rho)
                self._mean_message = message
            return self._mean_message

    def _make_mean_message(self) -> bytes:
        key, profile = self._registered(), self.offer.profile
        count = -(-self.offer.means // profile.degree)
        mean = np.zeros(count * profile.degree)
        if self.offer.rho:
            mean[: self.offer.means] = fit_noise.noisy_means(
                self._y, self.offer.rho, self._mean_bound
            )
        else:
            mean[: self.offer.means] = self._scaled_mean
        scaled = residues.scaled_residues(
            mean.reshape(count, -1), self.offer.mean_bits, profile
        )
        first, second = key.encrypt_zeros(count)
        if self.offer.precision:
            bits = fit_bits.mean_flood_bits(self.offer)
            flood = flooding.draw_flood(bits, scaled.shape[::2], profile)
            scaled = (scaled + flood) % residues.column(profile)
        parts = add_words(first, scaled, second, profile=profile)
        return wire.write(
            "mean",
            profile,
            key=key.key,
            number=self.offer.number,
            sizes=(count,),
            payload=pack_words(parts),
        )

    def results(self) -> Iterator[bytes]:
        """Messages with the cross-covariance, once, when all rows were absorbed.

        Raises:
          ProtocolError: rows are missing, the results were given before, or the bits
            of this client are spent.
        """
        with self._own():
            plan = self._plan
            if plan is None or self.next_chunk < plan.chunks:
                wanted = "all" if plan is None else plan.chunks - self.next_chunk
                raise ProtocolError(f"fit: {wanted} messages of rows are missing.")
            made = self._results(plan, list(self._sums))
            rho = fit_noise.covariance_rho(self.offer.rho)
            self._charge(b"results", self._result_bits(plan), rho)
            return made

    def _charge(self, what: bytes, bits: float, rho: float) -> None:
        """Write down an answer of this fit, before it leaves."""
        subject = hashlib.sha256(b"privacy" + self._subject).digest()
        if self._privacy is not None:
            spent = self._ledger.spent(subject, _EVERYONE)
            fit_noise.require_left(spent, rho, self._privacy)
        # Its own first: what it may not have costs the others nothing.
        self._ledger.charge(
            self._subject,
            self.identity,
            bits,
            reference=self.offer.number + what,
            budget=self._budget(),
        )
        if self._privacy is not None:
            self._ledger.charge(
                subject,
                _EVERYONE,
                rho,
                reference=self.offer.number + what,
                budget=self._privacy.total_rho,
            )

    def _budget(self) -> float | None:
        """Bits of these rows that a client may have; None where none are protected."""
        if not self.offer.profile.guarded:
            return None
        return self.share * self._held_bits

    def _share_of(self, bits: float) -> float:
        """Of the bits that the rows hold, at most all."""
        return 1.0 if bits > self._held_bits else bits / max(self._held_bits, 1e-9)

    def _result_bits(self, plan: FitPlan) -> float:
        """Bits that all results carry at most."""
        return fit_bits.result_bits(self.offer, plan)

    def _results(
        self, plan: FitPlan, totals: list[Array], *, masked: bool = True
    ) -> Iterator[bytes]:
        profile, key = self.offer.profile, self._registered()
        bits = fit_bits.result_flood_bits(self.offer, plan)
        absorbed = transcript(self._absorbed)
        for number, sums in enumerate(totals):
            for start in range(0, sums.shape[0], _ANSWERS):
                require_own(self._process, "this FitProvider")
                part = sums[start : start + _ANSWERS]
                shape = (part.shape[0], plan.tiles, plan.tile)
                count = shape[0] * plan.tiles
                if profile.guarded and masked:
                    first, second = key.encrypt_zeros(count)
                    flood = flooding.draw_flood(bits, shape, profile)
                    if self.offer.rho:
                        noise = fit_noise.covariance_residues(
                            self.offer.rho,
                            self._row_bits,
                            shape,
                            plan=plan,
                            width=self.offer.width,
                            profile=profile,
                        )
                        flood = (flood + noise) % residues.column(profile)
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
                    number=self.offer.number,
                    binding=absorbed,
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
            # Sums are not masked: with the client's key they tell all rows.
            folder.mkdir(0o700, parents=True, exist_ok=True)
        with self._own(), hold(folder, "a provider's save"):
            self._require_own(folder / _STATE)
            self._keep_ledger(folder)
            plan = self._plan
            state = {
                "absorbed": np.frombuffer(b"".join(self._absorbed), np.uint8),
                "offer": np.frombuffer(self.offer.to_bytes(), np.uint8),
                "ledger": np.frombuffer(self._ledger.name, np.uint8),
                "identity": np.array(self.identity),
                "key": np.frombuffer(self._registered().key, np.uint8),
                "width": np.array(plan.width if plan else 0),
                "bits": np.array(self._row_bits),
                "rows": np.frombuffer(self._fingerprint, np.uint8),
            }
            if self._mean_message is not None:
                state["mean"] = np.frombuffer(self._mean_message, np.uint8)
            sums = enumerate(self._sums)
            state |= {f"sums_{i}": np.asarray(part) for i, part in sums}
            write_npz(folder / _STATE, state, compressed=False, raises=ProtocolError)

    def restore(self, folder: str | os.PathLike) -> int:
        """Take up a saved fit of the same rows and client, if there is one.

        The offer is that of the saved fit then. What it had answered is in the ledger.

        Returns:
          The number of the message of rows that is expected next.

        Raises:
          ProtocolError: it is damaged, or of other rows or another client.
        """
        file = local_path(folder, "the folder of a provider's state") / _STATE
        if not file.parent.is_dir():
            return self.next_chunk
        with self._own():
            self._require_own(file)
            self._keep_ledger(file.parent)
        if not file.exists():
            return self.next_chunk
        state = read_npz(file, remedy=_REMEDY, raises=ProtocolError)
        self._require_same(file, state)
        width = int(state["width"])
        with self._own(), jax.enable_x64(True):
            # The guard had seen it; what it gives is charged when it is given.
            self._plan = self._plan_of(width) if width else None
            self.offer = FitOffer.from_bytes(
                state["offer"].tobytes(), self.offer.profile
            )
            self._row_bits = int(state["bits"])
            if "mean" in state:
                self._mean_message = state["mean"].tobytes()
            digests = state["absorbed"].reshape(-1, 32)
            self._absorbed = [digest.tobytes() for digest in digests]
            names = [name for name in state if name.startswith("sums_")]
            self._sums = [jnp.asarray(state[f"sums_{i}"]) for i in range(len(names))]
        return self.next_chunk

    def _keep_ledger(self, folder: Path) -> None:
        """A ledger of this fit's own lies beside its state, with what it has so far."""
        if self._own_ledger:
            own = Ledger(folder / _LEDGER)
            own.take_over(self._ledger)
            self._ledger, self._own_ledger = own, False

    def _require_same(self, file: Path, state: Mapping[str, np.ndarray]) -> None:
        """Refuse a state that was charged elsewhere, or of another offer."""
        saved = FitOffer.from_bytes(state["offer"].tobytes(), self.offer.profile)
        own = dataclasses.replace(self.offer, number=saved.number)
        for what, kept, here in (
            ("the offer", saved.to_bytes(), own.to_bytes()),
            ("the identity", str(state["identity"]), self.identity),
            ("the ledger", state["ledger"].tobytes(), self._ledger.name),
        ):
            if kept != here:
                raise ProtocolError(
                    f"{what} of the fit in {file} is another than this provider's: "
                    "give the precision, identity and ledger that it was begun with; "
                    f"or {_REMEDY}."
                )

    def _require_own(self, file: Path) -> None:
        """Refuse a state of other rows or another client, or a damaged one."""
        if not file.exists():
            return
        state = read_npz(file, names=_PARTS, remedy=_REMEDY, raises=ProtocolError)
        if (
            state["key"].tobytes() != self._registered().key
            or state["rows"].tobytes() != self._fingerprint
        ):
            raise ProtocolError(
                f"{file} holds a fit of other rows or another client key; {_REMEDY}."
            )

    @contextlib.contextmanager
    def _own(self) -> Iterator[None]:
        """One caller at a time, in the process that made this."""
        require_own(self._process, "this FitProvider")
        with self._lock:
            yield

    def _registered(self) -> PublicKey:
        if self._key is None:
            raise KeyRoleError(
                "fit: no client key is registered; send its bundle first."
            )
        require_current(self._until)
        return self._key

    def _plan_of(self, width: int) -> FitPlan:
        try:
            return plan_fit(self.offer.rows, width, self.offer.profile)
        except ValueError as wrong:
            raise ProtocolError(f"rows: {wrong}") from wrong

    def _guarded_plan(self, width: int) -> FitPlan:
        """The plan, where the bits that the client may have allow the fit."""
        plan = self._plan_of(width)
        if not self.offer.profile.guarded:
            return plan
        spent = self._ledger.spent(self._subject, self.identity)
        needed = self._result_bits(plan)
        if self._mean_message is None:
            needed += fit_bits.mean_bits(self.offer)
        budget = self._budget()
        if spent + needed > budget:
            raise ProtocolError(
                f"rows: a fit of {self.offer.rows} rows and source width {width} could "
                f"carry {self._share_of(needed):.0%} of the bits of the target's "
                f"rows; {self.share:.0%} are allowed to a client, and "
                f"{self._share_of(spent):.0%} were given before. Use more rows, "
                "project the source to fewer dimensions, or let the provider lower the "
                "precision."
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
