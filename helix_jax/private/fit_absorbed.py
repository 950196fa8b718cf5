"""What a fit's provider keeps of the client's rows: sums of products, and digests."""

import hashlib
from collections.abc import Callable

from helix_jax.errors import ProtocolError
from helix_jax.private import fit_noise, sampling, signatures, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.fit_plan import FitOffer, FitPlan
from helix_jax.private.fit_products import add_rows, read_pairs
from helix_jax.private.fit_targets import chunk_weights
from helix_jax.private.row_blocks import RowSource
from helix_jax.types import Array


class Absorbed:
    """What one fit has absorbed so far; its length is the number of messages.

    Attributes:
      plan: layout of the client's rows; None before the first message.
      row_bits: of the client's integers, in a private fit; 0 otherwise.
      sums: each [targets, T, 2, L, N] int64, transformed.
      digests: SHA-256 of each message of rows, in order.
    """

    def __init__(self) -> None:
        self.plan: FitPlan | None = None
        self.row_bits = 0
        self.sums: list[Array] = []
        self.digests: list[bytes] = []

    def __len__(self) -> int:
        return len(self.digests)

    def has(self, number: int, message: bytes) -> bool:
        """Whether exactly this message was absorbed under this number."""
        digest = hashlib.sha256(message).digest()
        return 0 <= number < len(self) and self.digests[number] == digest

    def take(
        self,
        message: bytes,
        *,
        key: PublicKey,
        offer: FitOffer,
        rows: RowSource,
        plan_of: Callable[[int], FitPlan],
    ) -> None:
        """Multiply one message of encrypted rows; if it fails, nothing has changed.

        Args:
          message: from the client.
          key: the client's.
          offer: of the fit.
          rows: [n, d_y] the provider's integers.
          plan_of: width of the client's rows -> their plan, if the guard allows it.

        Raises:
          ProtocolError: the message is malformed, of another fit, out of order, or
            refused.
        """
        profile = offer.profile
        read = wire.read(message, "rows", profile, key.key, number=offer.number)
        number, width, _, row_bits = read.sizes
        fit_noise.require_row_bits(row_bits, offer.rho, self.row_bits)
        plan = self.plan or plan_of(width)
        length = wire.residues_length(plan.chunk * plan.tiles, profile)
        length += sampling.SEED_BYTES + signatures.SIGNATURE_BYTES
        sizes = len(self), plan.width, plan.rows, row_bits
        wire.expect_sizes(read, sizes, length)
        read = key.require_signed(message, read)
        if len(self) == plan.chunks:
            raise ProtocolError(
                f"rows: all {plan.chunks} messages have been absorbed already."
            )
        if offer.rho:  # noise that cannot be made is refused before it is charged
            fit_noise.covariance_sigma(offer.rho, row_bits, plan, offer.width)
        pairs = read_pairs(read.payload, plan=plan, profile=profile)
        weights = chunk_weights(rows, plan, number)
        # Only now is anything changed.
        self.sums = add_rows(self.sums, pairs, weights, plan=plan, profile=profile)
        self.plan, self.row_bits = plan, row_bits
        self.digests.append(hashlib.sha256(message).digest())

    def complete_plan(self) -> FitPlan:
        """The plan, once all rows are absorbed.

        Raises:
          ProtocolError: messages are missing; it says how many.
        """
        if self.plan is None or len(self) < self.plan.chunks:
            wanted = "all" if self.plan is None else self.plan.chunks - len(self)
            raise ProtocolError(f"fit: {wanted} messages of rows are missing.")
        return self.plan
