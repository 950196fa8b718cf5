"""A mixture of experts instead of a block's feed-forward layer.

    y = sum over the k experts e that the router prefers of w_e f_e(x), plus f_shared(x)

Reference: Shazeer et al. 2017, arXiv 1701.06538; shared experts: Dai et al. 2024,
arXiv 2401.06066.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from helix_jax.models.layers import dense, feed_forward
from helix_jax.models.mesh import BATCH_AXES
from helix_jax.models.sharding import active_mesh
from helix_jax.models.spec import ExpertSpec, ModelSpec
from helix_jax.types import Array

# Rows that one expert processes at a time. Measured on 2 CPU cores, with 4 of 32
# experts, D 512, F 1,024: 4,096 tokens take 0.36 s (3.7 s with every expert on every
# token); 4 tokens take 6 ms (14 ms), and 200 ms with `jax.lax.ragged_dot`, since it
# makes an [E, tokens, D] array there.
MOST_ROWS = 64


def mix_experts(params: Mapping, x: Array, spec: ModelSpec) -> Array:
    """Weighted sum of each token's experts, plus the shared expert if there is one.

    A token's result depends on no other token: experts have no capacity limit.

    Args:
      params: one layer's: "router", "experts" [E, ...] and, if the spec has them,
        "shared" and "shared_gate".
      x: [B, T, D].
      spec: experts, and what `feed_forward` reads.

    Returns:
      [B, T, D] in x's dtype.

    Raises:
      ValueError: the spec has no experts.
    """
    if spec.experts is None:
        raise ValueError("mix_experts: the spec has no experts; use feed_forward.")
    mix = _sum_of_experts if active_mesh() is None else _sum_over_mesh
    mixed = mix(params["router"], params["experts"], x, spec, spec.experts)
    mixed = mixed.astype(x.dtype)
    if "shared" not in params:
        return mixed
    shared = feed_forward(params["shared"], x, spec)
    if "shared_gate" in params:
        shared = shared * jax.nn.sigmoid(dense(params["shared_gate"], x))
    return mixed + shared


def _sum_of_experts(
    router: Mapping,
    experts: Mapping,
    x: Array,
    spec: ModelSpec,
    mixture: ExpertSpec,
    *,
    first: Array = 0,
) -> Array:
    """Weighted sum of each token's experts among the given ones, [B, T, D] float32.

    Args:
      router: of all experts.
      experts: those from number `first` on, [e, ...].
      x: [B, T, D].
      spec, mixture: of the model, and of its experts.
      first: [] int.
    """
    tokens = x.reshape(-1, x.shape[-1])
    count = len(jax.tree.leaves(experts)[0])
    weights, chosen = route(router, tokens, mixture)
    chosen = chosen - first
    chosen = jnp.where((chosen >= 0) & (chosen < count), chosen, count)

    def add(total: Array, block: _Block) -> Array:
        expert = jax.tree.map(lambda leaf: leaf[block.expert], experts)
        rows = feed_forward(expert, tokens.at[block.tokens].get(mode="clip"), spec)
        rows = rows.astype(jnp.float32) * block.weights[:, None]
        return total.at[block.tokens].add(rows, mode="drop")

    def step(total: Array, block: _Block) -> tuple[Array, None]:
        if count == mixture.count:
            return add(total, block), None
        # Unused places hold token N; a block whose first place is unused is empty.
        real = block.tokens[0] < len(tokens)
        return jax.lax.cond(real, add, lambda total, _: total, total, block), None

    total = jnp.zeros(tokens.shape, jnp.float32)
    total, _ = jax.lax.scan(step, total, _blocks(weights, chosen, count))
    return total.reshape(x.shape)


def _sum_over_mesh(
    router: Mapping, experts: Mapping, x: Array, spec: ModelSpec, mixture: ExpertSpec
) -> Array:
    """`_sum_of_experts` on a mesh: rows of the batch stay on their devices.

    The devices of an `expert` axis run all of each other's rows through their own
    experts and sum the results; `tensor` is left to the partitioner.
    """

    def own(router: Mapping, experts: Mapping, x: Array) -> Array:
        count = len(jax.tree.leaves(experts)[0])
        if count == mixture.count:
            return _sum_of_experts(router, experts, x, spec, mixture)
        x = jax.lax.all_gather(x, "expert", tiled=True)
        first = jax.lax.axis_index("expert") * count
        mixed = _sum_of_experts(router, experts, x, spec, mixture, first=first)
        return jax.lax.psum_scatter(mixed, "expert", tiled=True)

    rows = PartitionSpec(BATCH_AXES)
    return jax.shard_map(
        own,
        in_specs=(PartitionSpec(), PartitionSpec("expert"), rows),
        out_specs=rows,
        axis_names=set(BATCH_AXES),
        check_vma=False,
    )(router, experts, x)


def route(
    params: Mapping[str, Array], tokens: Array, experts: ExpertSpec
) -> tuple[Array, Array]:
    """The experts of each token and their weights, in float32.

    Args:
      params: {"kernel": [D, E]} and "bias": [E] if the router has one.
      tokens: [N, D].
      experts: per_token, normalised.

    Returns:
      weights: [N, k] float32, softmax over all experts or over the chosen ones.
      chosen: [N, k] int32, the experts with the largest logits.
    """
    params = {name: value.astype(jnp.float32) for name, value in params.items()}
    logits = dense(params, tokens.astype(jnp.float32))
    best, chosen = jax.lax.top_k(logits, experts.per_token)
    over = best if experts.normalised else logits
    total = jax.nn.logsumexp(over, axis=-1, keepdims=True)
    return jnp.exp(best - total), chosen


class _Block(NamedTuple):
    """Tokens that one expert processes at once; for all blocks, stacked.

    Attributes:
      expert: [] int.
      tokens: [rows] int, N for unused places.
      weights: [rows] float32.
    """

    expert: Array
    tokens: Array
    weights: Array


def block_sizes(pairs: int, count: int) -> tuple[int, int]:
    """Rows of a block, and the number of blocks, for `pairs` token-expert pairs.

    Each expert's last block may be partly filled, so there are up to `count` blocks
    more than the pairs would fill.
    """
    rows = min(MOST_ROWS, max(1, pairs // count))
    return rows, min(pairs, pairs // rows + count)


def _blocks(weights: Array, chosen: Array, count: int) -> _Block:
    """All token-expert pairs, by expert, cut into blocks of equal size.

    Pairs whose expert is `count` or more are left out.
    """
    number, per_token = chosen.shape
    pairs = number * per_token
    rows, blocks = block_sizes(pairs, count)
    by_expert = jnp.argsort(chosen.reshape(-1), stable=True)
    sizes = jnp.bincount(chosen.reshape(-1), length=count)
    needed = -(-sizes // rows)
    ends, last = jnp.cumsum(sizes), jnp.cumsum(needed)
    block = jnp.arange(blocks)
    expert = jnp.minimum(jnp.searchsorted(last, block, side="right"), count - 1)
    start = (ends - sizes)[expert] + (block - (last - needed)[expert]) * rows
    place = start[:, None] + jnp.arange(rows)
    real = place < ends[expert][:, None]
    pair = by_expert[jnp.minimum(place, pairs - 1)]
    tokens = jnp.where(real, pair // per_token, number)
    return _Block(expert, tokens, jnp.where(real, weights.reshape(-1)[pair], 0.0))
