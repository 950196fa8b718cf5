"""Messages of encrypted queries, as a provider reads them."""

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import packing, sampling, signatures, wire
from helix_jax.private.accounts import Account
from helix_jax.private.labels.shares import most_queries
from helix_jax.private.layer import Layer


def read_queries(
    data: bytes, message: wire.Message, account: Account, layer: Layer
) -> list[np.ndarray]:
    """The ciphertexts of a message, transformed, group by group.

    Args:
      data: the message.
      message: the same, as `wire.read` returns it.
      account: of its client key.
      layer: that the queries are for.

    Returns:
      One [b, T, 2, L, N] int64 for each group of `packing.groups`.

    Raises:
      ProtocolError: it is malformed.
      KeyRoleError: the owner of the key did not sign it.
    """
    profile, plan, queries = layer.profile, layer.plan, message.sizes[3]
    most = packing.MAX_QUERIES
    if layer.policy.name == "label":
        most = most_queries(layer)
    if not 1 <= queries <= most:
        raise ProtocolError(
            f"query: a message holds 1 to {most} queries, got {queries}."
        )
    groups = packing.groups(queries)
    seeds_length = len(groups) * sampling.SEED_BYTES
    length = seeds_length + wire.residues_length(queries * plan.tiles, profile)
    sizes = (plan.width, plan.classes, plan.tiles, queries)
    wire.expect_sizes(message, sizes, length + signatures.SIGNATURE_BYTES)
    payload = account.key.require_signed(data, message).payload
    seeds, rest = payload[:seeds_length], payload[seeds_length:]
    pairs = []
    for number, group in enumerate(groups):
        count = (group.stop - group.start) * plan.tiles
        seed = bytes(seeds[number * sampling.SEED_BYTES :][: sampling.SEED_BYTES])
        length = wire.residues_length(count, profile)
        first = wire.unpack_residues(rest[:length], count, profile, "query")
        rest = rest[length:]
        second = sampling.uniform_residues(seed, (count,), profile, "query")
        pair = np.stack([first, second], axis=1)
        pairs.append(pair.reshape(-1, plan.tiles, *pair.shape[1:]))
    return pairs
