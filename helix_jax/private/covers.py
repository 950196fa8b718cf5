"""Masked answers: products, each hidden by a mask that is used once.

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
    """A function that makes a key's masks, for whole answers or one part's columns.

    It holds no reference to the weights, so that a dropped layer's memory is freed and
    its masks are wiped at once.
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
    """Yield the payload of an answer, part by part.

    Args:
      prepared: the layer.
      query: number of the message.
      pairs: its ciphertexts, [B, T, 2, L, N] int64 for each group of queries.
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
    """The mask of one query's answer, prepared ahead or made part by part."""
    profile, plan = prepared.layer.profile, prepared.layer.plan
    if not profile.guarded:
        none = np.zeros((plan.part, len(profile.primes), 1), np.int64)
        return lambda part: MaskContent(prepared.bias[part], none)
    mask = account.pool.take_prepared() if account.pool is not None else None
    if mask is None:  # many queries' masks are too large to be made whole
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
    """A fresh encryption of bias plus flood at the results' coefficients."""
    bias = bias[part]
    zeros = key.encrypt_zeros(len(bias))
    flood = flooding.draw_flood(flood_bits, (len(bias), plan.rows), profile)
    first = evaluation.mask_results(zeros[0], bias, flood, plan=plan, profile=profile)
    return MaskContent(np.asarray(first), np.asarray(zeros[1]))
