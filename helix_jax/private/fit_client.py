"""The client of an encrypted fit: it encrypts its rows and ends up with `Moments`.

    cov_xy = sum_i (x_i - mean_x) (y_i - mean_y)' / n

The client centres and scales its columns, so that means far from zero and columns of
very different sizes cost no accuracy; the provider does the same. The result is the
record that every solver takes: an encrypted fit differs from a plain one in one matrix
only.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax import kinds
from helix_jax.alignment import AffineMap, Moments
from helix_jax.arguments import takes
from helix_jax.errors import ProtocolError
from helix_jax.private import (
    answer_words,
    encryption,
    fit_bits,
    fit_noise,
    packing,
    wire,
)
from helix_jax.private.accountant import Privacy
from helix_jax.private.client import Client
from helix_jax.private.fit_plan import (
    KERNEL_BITS,
    FitOffer,
    pack_rows,
    rows_digest,
    transcript,
)
from helix_jax.private.fit_rows import prepare_rows
from helix_jax.private.internals import secret_key, signing_key
from helix_jax.types import Array


class FitClient:
    """The owner of source rows in one encrypted fit.

    Attributes:
      offer: the provider's.
      plan: layout of the rows.
    """

    @takes(client=kinds.CLIENT)
    def __init__(
        self,
        client: Client,
        offer: bytes,
        x: Array,
        *,
        ids: Iterable[str] | None = None,
        rank: int | None = None,
        privacy: Privacy | None = None,
    ):
        """Prepare the rows.

        Args:
          client: the owner of the key.
          offer: the provider's message.
          x: [n, d_x] float, finite.
          ids: [n] names of the rows, in the provider's order.
          rank: number of principal directions to project x to first: less traffic, less
            of the provider's rows revealed, a map of at most this rank.
          privacy: differential privacy of the client's own rows, in what `moments` and
            maps made from them reveal to others; None for none. Allowed only if the
            provider's rows are private.

        If the provider's rows are private, the rows of x must have norm at most 1
        (`unit_rows`); x is not centred, and `rank` must be None.

        Raises:
          ProtocolError: the offer is malformed, or of other rows.
          ValueError: a shape or value is not allowed.
        """
        self._client = client
        self.offer = FitOffer.from_bytes(offer, client.profile)
        x = np.asarray(x)
        if x.ndim != 2 or len(x) != self.offer.rows:
            raise ProtocolError(
                f"fit: the provider has {self.offer.rows} rows, but x has shape "
                f"{list(x.shape)}; both sides must use the same texts."
            )
        if rows_digest(ids) != self.offer.digest:
            raise ProtocolError(
                "fit: the provider's row ids are not those given here; both sides "
                "must use the same texts in the same order."
            )
        x = packing.check_rows("fit", x, x.shape[1])
        self._rows = prepare_rows(x, self.offer, rank=rank, privacy=privacy)
        self.plan = self._rows.plan
        self._sent: dict[int, bytes] = {}  # SHA-256 of the messages of rows
        self._last: tuple[int, bytes] = -1, b""
        self._cov = np.full((self.plan.width, self.offer.width), np.nan)
        self._mean_y: np.ndarray | None = None
        self._energy = self.offer.energy

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """Yield the messages of encrypted rows, from number `start` on.

        `start` is the message that the provider expects next. The last message that was
        made is kept, and is the same when requested again.

        Raises:
          ProtocolError: there is no such message, or the messages before it were made
            by another FitClient.
        """
        profile, plan, client = self._client.profile, self.plan, self._client
        if not 0 <= start <= plan.chunks:
            raise ProtocolError(
                f"rows: there are messages 0 to {plan.chunks - 1}, not {start}."
            )
        if any(number not in self._sent for number in range(start)):
            raise ProtocolError(
                f"rows: the messages before {start} were not made here, so the "
                "results could not be checked; start a new fit."
            )
        for number in range(start, plan.chunks):
            if self._last[0] == number:
                yield self._last[1]
                continue
            packed = pack_rows(self._rows.x, plan, number * plan.chunk)
            seeded = encryption.encrypt_numbers(
                packed, self._rows.bits, secret_key(client).residues, profile, "rows"
            )
            message = wire.write(
                "rows",
                profile,
                key=client.key,
                number=self.offer.number,
                sizes=(number, plan.width, plan.rows, self._rows.row_bits),
                payload=seeded.seed + wire.pack_residues(seeded.first, profile),
                signing_key=signing_key(client),
            )
            self._sent[number] = hashlib.sha256(message).digest()
            self._last = number, message
            yield message

    def read_mean(self, data: bytes) -> None:
        """Read the provider's means.

        Raises:
          ProtocolError, KeyRoleError: the message is malformed, of another fit, or for
            another key.
        """
        client, degree = self._client, self.plan.degree
        message = wire.read(
            data, "mean", client.profile, client.key, number=self.offer.number
        )
        count = -(-self.offer.means // degree)
        numbers = (2, count, degree)
        length = 2 * count * degree * answer_words.WORD_BYTES
        wire.expect_sizes(message, (count,), length)
        words = wire.unpack_integers(message.payload, numbers, answer_words.WORD_BYTES)
        first, second = words
        phases = answer_words.open_words(
            secret_key(client), first, second, np.arange(degree)
        )
        scaled = np.ldexp(phases.reshape(-1), -self.offer.mean_bits)
        self._mean_y = np.ldexp(scaled[: self.offer.width], self.offer.exponents)
        if self.offer.rho:
            raw = float(np.ldexp(scaled[self.offer.width], -KERNEL_BITS))
            sigma = fit_noise.mean_sigma(
                self.offer.rho, self.offer.width, self.offer.rows
            )
            self._energy = fit_noise.centred_energy(raw, self._mean_y, sigma)

    def read(self, data: bytes) -> None:
        """Read one message of results; reading it again changes nothing.

        Raises:
          ProtocolError, KeyRoleError: the message is malformed, of another fit, of
            rows other than those encrypted here, or for another key.
        """
        client, plan = self._client, self.plan
        message = wire.read(
            data,
            "covariance",
            client.profile,
            client.key,
            number=self.offer.number,
            binding=transcript(self._sent.get(n, b"") for n in range(plan.chunks)),
        )
        start, count = message.sizes[:2]
        if not (0 < count <= 1024 and start + count <= self.offer.width):
            raise ProtocolError(
                f"covariance: columns {start} to {start + count} are not within the "
                f"target's {self.offer.width}, at most 1024 in a message."
            )
        own, other = count * plan.tiles * plan.tile, count * plan.tiles * plan.degree
        length = (own + other) * answer_words.WORD_BYTES
        wire.expect_sizes(message, (start, count, plan.width, plan.rows), length)
        numbers = wire.unpack_integers(
            message.payload, (own + other,), answer_words.WORD_BYTES
        )
        phases = answer_words.open_words(
            secret_key(client),
            numbers[:own].reshape(count * plan.tiles, plan.tile),
            numbers[own:].reshape(count * plan.tiles, plan.degree),
            np.arange(plan.tile),
        )
        columns = phases.reshape(count, -1)[:, : plan.width].T
        columns = np.ldexp(columns, -self._rows.bits) * self._rows.scales[:, None]
        exponents = self.offer.exponents[start : start + count]
        self._cov[:, start : start + count] = np.ldexp(columns, exponents) / plan.rows

    @property
    def noise(self) -> np.ndarray:
        """Standard deviation [d_x, d_y] of the provider's noise in cov_xy."""
        size, offer, rows = 0.0, self.offer, self._rows
        if offer.profile.guarded:
            # A sum of four uniform integers below R has variance R^2 / 3.
            flood = fit_bits.result_flood_bits(offer, self.plan)
            size = math.ldexp(1 / math.sqrt(3), flood - rows.bits)
        if offer.rho:
            sigma = fit_noise.covariance_sigma(
                offer.rho, rows.row_bits, self.plan, offer.width
            )
            size = math.hypot(size, math.ldexp(sigma, -rows.bits))
        columns = np.ldexp(1.0, offer.exponents) / self.plan.rows
        return size * np.outer(rows.scales, columns)

    def moments(self) -> Moments:
        """The moments, once all messages are read.

        Returns:
          Moments of x (of its projection, if there is a rank) and y. Only the trace of
          cov_yy is known: it is spread evenly over the diagonal, so that R2 is right
          overall but not per dimension.

        Raises:
          ProtocolError: results or means are missing.
        """
        if self._mean_y is None or not np.isfinite(self._cov).all():
            raise ProtocolError("fit: results are missing; read every message first.")
        mean = self._rows.mean
        scale, cov = self._energy / self.offer.width, self._cov
        if self.offer.rho:
            cov = cov - np.outer(mean, self._mean_y)
        with jax.enable_x64(True):
            return Moments(
                jnp.asarray(float(self.plan.rows)),
                jnp.asarray(mean),
                jnp.asarray(self._mean_y),
                jnp.asarray(self._rows.cov_xx),
                jnp.asarray(cov),
                scale * jnp.eye(self.offer.width),
            )

    def expand(self, affine: AffineMap) -> AffineMap:
        """Turn a map from the projection into one from x itself."""
        basis = self._rows.basis
        if basis is None:
            return affine
        return AffineMap(basis @ np.asarray(affine.kernel), affine.bias)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FitClient is not copied or pickled: it holds a secret key.")
