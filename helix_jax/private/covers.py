"""Answers under their covers: products, each hidden by a mask that is used once.

words of (x W) + encryption of zero + bias + flood,    part by part
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from helix_jax.private import answers, evaluation, flooding, residues
from helix_jax.private.accounts import Account, PublicKey
from helix_jax.private.labels import shares
from helix_jax.private.masks import MaskContent, wipe_with
from helix_jax.private.packing import Plan
from helix_jax.private.prepared_layer import PreparedLayer
from helix_jax.private.profiles import Profile


def mask_maker(prepared: PreparedLayer, key: PublicKey) -> Callable[..., MaskContent]:
    """Makes the masks of a key: of whole answers, or of a part's columns.

    Nothing of it leads back to the weights, so that memory of dropped layers is free
    at once, and their masks wiped.
    """
    return partial(
        _make_mask,
        key,
        prepared.bias,
        prepared.scales.flood_bits,
        plan=prepared.layer.plan,
        profile=prepared.layer.profile,
    )


def answer_parts(
    prepared: PreparedLayer, query: bytes, pairs: Sequence[np.ndarray], account: Account
) -> Iterator[bytes]:
    """The words of answers, part by part.

    Args:
      prepared: the layer.
      query: number of the message.
      pairs: its ciphertexts, [B, T, 2, L, N] int64 of each group.
      account: of its client key.
    """
    plan, profile = prepared.layer.plan, prepared.layer.profile
    covers = [[_cover(prepared, account) for _ in pair] for pair in pairs]
    if account.desk is not None:
        offsets, held = shares.draw_offsets(
            sum(map(len, pairs)), plan, len(prepared.bias), profile
        )
        account.desk.hold(query, held)
    for number, weights in enumerate(prepared.weights):
        count, results = plan.parts[number]
        columns = slice(number * plan.part, (number + 1) * plan.part)
        done = 0
        for pair, of_pair in zip(pairs, covers):
            if not profile.rounded:
                products = evaluation.products_of(
                    weights, pair, prepared.bias[columns], profile=profile
                )
                yield answers.pack_products(products, count, profile)
                continue
            masks = [cover(columns) for cover in of_pair]
            firsts, seconds = (np.stack(part) for part in zip(*masks))
            if account.desk is not None:
                firsts += offsets[done : done + len(pair), columns]
                firsts %= residues.column(profile)
                done += len(pair)
            first, second = evaluation.words_of(
                weights, pair, firsts, seconds, plan=plan, profile=profile
            )
            yield answers.pack_words(first, second, count, results)


def _cover(prepared: PreparedLayer, account: Account) -> Callable[[slice], MaskContent]:
    """The mask of one query's answer, made part by part or before."""
    profile, plan = prepared.layer.profile, prepared.layer.plan
    if not profile.guarded:
        none = np.zeros((plan.part, len(profile.primes), 1), np.int64)
        return lambda part: MaskContent(prepared.bias[part], none)
    mask = account.pool.take_prepared() if account.pool is not None else None
    if mask is None:  # a message of many queries has room for a part's only
        return mask_maker(prepared, account.key)
    content = mask.spend()

    def cover(part: slice) -> MaskContent:
        return MaskContent(content.first[part], content.second[part])

    wipe_with(cover, [content])
    return cover


def _make_mask(
    key: PublicKey,
    bias: np.ndarray,
    flood_bits: int,
    part: slice = slice(None),
    *,
    plan: Plan,
    profile: Profile,
) -> MaskContent:
    """A fresh encryption of bias and flood at the results' coefficients."""
    bias = bias[part]
    zeros = key.encrypt_zeros(len(bias))
    flood = flooding.draw_flood(flood_bits, (len(bias), plan.rows), profile)
    first = evaluation.mask_results(zeros[0], bias, flood, plan=plan, profile=profile)
    return MaskContent(np.asarray(first), np.asarray(zeros[1]))
