"""The answers of an encrypted fit's provider: masked messages for its client."""

import numpy as np

from helix_jax.private import fit_bits, fit_noise, flooding, residues, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.fit_plan import FitOffer, FitPlan
from helix_jax.private.fit_products import add_words, mask_sums, pack_words
from helix_jax.private.prepared_rows import PreparedRows
from helix_jax.types import Array


def mean_message(key: PublicKey, offer: FitOffer, prepared: PreparedRows) -> bytes:
    """The encrypted column means; for private rows noisy, with their noisy energy.

    Args:
      key: the client's.
      offer: of the fit.
      prepared: its rows.
    """
    profile = offer.profile
    count = -(-offer.means // profile.degree)
    mean = np.zeros(count * profile.degree)
    if offer.rho:
        mean[: offer.means] = fit_noise.noisy_means(
            prepared.rows, offer.rho, prepared.targets.mean
        )
    else:
        mean[: offer.means] = prepared.targets.means
    scaled = residues.scaled_residues(mean.reshape(count, -1), offer.mean_bits, profile)
    first, second = key.encrypt_zeros(count)
    if offer.precision:
        bits = fit_bits.mean_flood_bits(offer)
        flood = flooding.draw_flood(bits, scaled.shape[::2], profile)
        scaled = (scaled + flood) % residues.column(profile)
    parts = add_words(first, scaled, second, profile=profile)
    return wire.write(
        "mean",
        profile,
        key=key.key,
        number=offer.number,
        sizes=(count,),
        payload=pack_words(parts),
    )


def covariance_message(
    sums: Array,
    first_target: int,
    *,
    key: PublicKey,
    offer: FitOffer,
    plan: FitPlan,
    row_bits: int,
    binding: bytes,
    masked: bool,
) -> bytes:
    """Some columns of the cross-covariance, encrypted.

    Args:
      sums: [targets, T, 2, L, N] int64, of these columns.
      first_target: index of the first of them.
      key: the client's.
      offer: of the fit.
      plan: of the fit.
      row_bits: of the client's integers, in a private fit.
      binding: transcript of the rows' messages.
      masked: whether masks, flood and noise hide the rows, if the profile has them.
    """
    profile = offer.profile
    shape = (sums.shape[0], plan.tiles, plan.tile)
    count = shape[0] * plan.tiles
    if profile.guarded and masked:
        first, second = key.encrypt_zeros(count)
        bits = fit_bits.result_flood_bits(offer, plan)
        flood = flooding.draw_flood(bits, shape, profile)
        if offer.rho:
            noise = fit_noise.covariance_residues(
                offer.rho,
                row_bits,
                shape,
                plan=plan,
                width=offer.width,
                profile=profile,
            )
            flood = (flood + noise) % residues.column(profile)
    else:
        first = second = np.zeros((count, 1, 1), np.int64)
        flood = np.zeros((1, 1, 1, 1), np.int64)
    parts = mask_sums(sums, first, second, flood, plan=plan, profile=profile)
    return wire.write(
        "covariance",
        profile,
        key=key.key,
        number=offer.number,
        binding=binding,
        sizes=(first_target, shape[0], plan.width, plan.rows),
        payload=pack_words(parts),
    )
