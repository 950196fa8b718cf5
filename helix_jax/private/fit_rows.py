"""The client's rows of an encrypted fit, in the form that is encrypted."""

import math
from typing import NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import fit_noise
from helix_jax.private.accountant import Privacy
from helix_jax.private.fit_plan import MAX_EXPONENT, FitOffer, FitPlan, plan_fit
from helix_jax.private.noisy_moments import own_moments
from helix_jax.private.unit_rows import MARGIN, require_unit

_LEAST_BITS = 16


class ClientRows(NamedTuple):
    """Rows to encrypt, and what else the moments need.

    Attributes:
      plan: layout of the rows.
      x: [n, r] float64, encrypted as round(x 2^bits).
      bits: of that scale.
      row_bits: of the norm of a row's integers if the fit is private; 0 otherwise.
      scales: [r], of the columns: the centred rows (uncentred in a private fit) are x
        times these.
      mean: [r].
      cov_xx: [r, r].
      basis: [d_x, r] onto which the rows were projected; None if they were not.
    """

    plan: FitPlan
    x: np.ndarray
    bits: int
    row_bits: int
    scales: np.ndarray
    mean: np.ndarray
    cov_xx: np.ndarray
    basis: np.ndarray | None


def prepare_rows(
    x: np.ndarray, offer: FitOffer, *, rank: int | None, privacy: Privacy | None
) -> ClientRows:
    """Rows in the form that the offered fit takes; arguments as `FitClient`.

    Raises:
      ProtocolError: the offer leaves too few bits for the rows.
      ValueError: rows, rank or privacy are not allowed.
    """
    if offer.rho:
        if rank is not None:
            raise ValueError(
                "fit: in a private fit rank must be None; pass it to `unit_rows`."
            )
        rows = _private_rows(x, offer, privacy)
    elif privacy is not None:
        raise ValueError(
            "fit: privacy of the client's rows needs a provider that protects its "
            "own: FitProvider(privacy=...)."
        )
    else:
        rows = _plain_rows(x, offer, rank)
    if rows.bits < _LEAST_BITS:
        raise ProtocolError(
            f"fit: {offer.norm_bits} bits of norm leave {rows.bits} bits in "
            f"profile {offer.profile.name!r}; use 'guarded' or fewer rows."
        )
    return rows


def _plain_rows(x: np.ndarray, offer: FitOffer, rank: int | None) -> ClientRows:
    """Rows that are centred, projected and scaled by column."""
    largest = float(np.abs(x).max())
    if largest and not 2.0**-MAX_EXPONENT < largest < 2.0**MAX_EXPONENT:
        raise ValueError(
            f"fit: the largest |x| is {largest:g}; scale x to numbers near 1."
        )
    mean, basis = x.mean(axis=0), None
    x = x - mean
    if rank is not None:
        if not 1 <= rank <= x.shape[1]:
            raise ValueError(f"fit: rank must be from 1 to {x.shape[1]}, got {rank}.")
        basis = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :rank]
        x, mean = x @ basis, mean @ basis
    # |C| <= |x| |y| by Cauchy-Schwarz.
    room = _room(offer) - offer.norm_bits
    bits = math.floor(room)
    norms = np.linalg.norm(x, axis=0)
    # Columns of norm 2^(room - bits), so that the flood is as small as possible beside
    # them. A constant column has norm zero, so its scale removes its noise too.
    scales = norms * 2 ** (bits - room)
    plan, cov_xx = plan_fit(len(x), x.shape[1], offer.profile), x.T @ x / len(x)
    x = x / np.where(norms > 0, scales, 1)
    return ClientRows(plan, x, bits, 0, scales, mean, cov_xx, basis)


def _private_rows(
    x: np.ndarray, offer: FitOffer, privacy: Privacy | None
) -> ClientRows:
    """Rows that are not centred, as integers of norm at most 2^row_bits."""
    require_unit("FitClient", x)
    plan = plan_fit(len(x), x.shape[1], offer.profile)
    bits = fit_noise.choose_row_bits(
        np.linalg.norm(x, axis=0).max(),
        offer.norm_bits,
        offer.rho,
        _room(offer),
        plan,
        offer.width,
    )
    x, scales = x * (1 - MARGIN), np.ones(plan.width)
    return ClientRows(plan, x, bits, bits, scales, *own_moments(x, privacy), None)


def _room(offer: FitOffer) -> float:
    """log2 of the largest result: q / 2, less an eighth for the flood."""
    return math.log2(offer.profile.modulus) - 1.2
