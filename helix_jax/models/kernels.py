"""Fused attention over whole texts where a platform has it, instead of `attend`'s own.

gpu  `jax.nn.dot_product_attention` by cuDNN: bfloat16 and float16
tpu  the splash-attention kernel of jax's pallas operations: bfloat16

Neither holds a matrix of scores. Cases that they do not support (`kernel_for`) are
computed as on other platforms. On a mesh each device runs the kernel on its rows and
heads.

Reference: Dao 2023 (FlashAttention-2), arXiv 2307.08691.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from helix_jax.models.mesh import BATCH_AXES
from helix_jax.models.scores import Reach
from helix_jax.models.sharding import active_mesh
from helix_jax.models.spec import ModelSpec
from helix_jax.types import Array

LEAST_TOKENS = 256  # shorter texts have few scores
LANES = 128  # of a TPU; tokens are padded to a multiple of it
MOST_BLOCK = 512  # tokens of a block on a TPU
_BLOCKS = (
    "block_q block_kv block_q_dkv block_kv_dkv block_kv_dkv_compute block_q_dq "
    "block_kv_dq"
).split()
WIDEST_HEAD = 128  # that cuDNN supports on all its GPUs


def kernel_for(
    platform: str, q: Array, reach: Reach, spec: ModelSpec, *, sinks: bool
) -> str | None:
    """Which kernel computes an attention: "cuda", "tpu" or None.

    Neither adds biases by head (alibi, relative positions). cuDNN's supports no soft
    caps, no sinks, no float32, and only heads whose width is a multiple of 8 up to
    WIDEST_HEAD.

    Args:
      platform: "cpu", "gpu" or "tpu", of the process.
      q: [B, H, T, D_head], of a text without a cache.
      reach: what each query sees.
      spec: attention_softcap.
      sinks: whether there are sinks.
    """
    if q.shape[2] < LEAST_TOKENS or reach.by_head is not None:
        return None
    if platform == "tpu" and q.dtype == jnp.bfloat16:
        return "tpu"
    plain = spec.attention_softcap is None and not sinks
    fits = q.shape[3] % 8 == 0 and q.shape[3] <= WIDEST_HEAD
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    return "cuda" if platform == "gpu" and half and fits and plain else None


def attend_by_kernel(
    kernel: str,
    q: Array,
    k: Array,
    v: Array,
    reach: Reach,
    spec: ModelSpec,
    *,
    sinks: Array | None = None,
    options: dict | None = None,
) -> Array:
    """Attention by a kernel of `kernel_for`.

    Args:
      kernel: "cuda" or "tpu".
      q: [B, H, T, D_head].
      k, v: [B, K, T, D_head].
      reach, spec: as for `attend`.
      sinks: [H] float, or None.
      options: of the kernel's function: implementation, or interpret.

    Returns:
      [B, H, T, D_head] in v's dtype; meaningless at padding.
    """
    run = partial(_cuda if kernel == "cuda" else _tpu, spec=spec, **(options or {}))
    window = jnp.asarray(0 if reach.window is None else reach.window, jnp.int32)
    arrays = q, k, v, reach.query_positions, reach.key_mask, window, sinks
    if active_mesh() is None:
        return run(*arrays)
    rows, own = PartitionSpec(BATCH_AXES), PartitionSpec(BATCH_AXES, "tensor")
    cuts = own, own, own, rows, rows, PartitionSpec(), PartitionSpec("tensor")
    cuts = cuts if sinks is not None else (*cuts[:-1], None)
    return jax.shard_map(run, in_specs=cuts, out_specs=own, check_vma=False)(*arrays)


def _cuda(
    q: Array,
    k: Array,
    v: Array,
    positions: Array,
    mask: Array,
    window: Array,
    sinks: Array | None,
    *,
    spec: ModelSpec,
    implementation: str = "cudnn",
) -> Array:
    reach = Reach(positions, positions, mask, spec.causal, window)
    mixed = jax.nn.dot_product_attention(
        *(x.swapaxes(1, 2) for x in (q, k, v)),
        mask=reach.allowed[:, None],
        scale=spec.attention_scale,
        implementation=implementation,
    )
    return mixed.swapaxes(1, 2)


def _tpu(
    q: Array,
    k: Array,
    v: Array,
    positions: Array,
    mask: Array,
    window: Array,
    sinks: Array | None,
    *,
    spec: ModelSpec,
    interpret: bool = False,
) -> Array:
    # Slow to import, and needed only on TPUs.
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    heads, time = q.shape[1:3]
    block = min(MOST_BLOCK, -(-time // LANES) * LANES)
    extra = -time % block
    q, k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, extra), (0, 0))) for x in (q, k, v))
    q = (q.astype(jnp.float32) * spec.attention_scale).astype(q.dtype)
    # Padding sees only padding; slots of tokens are in the order of positions.
    segments = jnp.pad(mask, ((0, 0), (0, extra))).astype(jnp.int32)

    def run(width: int, *rows: Array) -> Array:
        behind = width - 1 if width else None
        ahead = 0 if spec.causal else behind
        mask = splash.LocalMask((time + extra,) * 2, (behind, ahead), 0)
        kernel = splash.make_splash_mha_single_device(
            splash.MultiHeadMask([mask] * heads),
            block_sizes=splash.BlockSizes(
                **dict.fromkeys(_BLOCKS, block)  # of gradients too
            ),
            attn_logits_soft_cap=spec.attention_softcap,
            interpret=interpret,
        )

        def row(q: Array, k: Array, v: Array, own: Array) -> Array:
            return kernel(q, k, v, splash.SegmentIds(own, own), sinks)

        return jax.vmap(row)(*rows)

    widths = sorted(set(spec.windows or (0,)))
    number = jnp.searchsorted(jnp.array(widths), window)
    mixed = jax.lax.switch(
        number, [partial(run, width) for width in widths], q, k, v, segments
    )
    return mixed[:, :, :time].astype(v.dtype)
