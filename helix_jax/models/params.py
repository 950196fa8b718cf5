"""The parameter pytree of a spec: names, shapes and random initial values."""

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp

from helix_jax.models.spec import XIELU, ModelSpec
from helix_jax.types import Array


def parameter_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Path -> shape of every parameter.

    Parameters under "layers/" are stacked, [L, ...], those under "layers/experts/"
    twice, [L, E, ...]. Kernels are [D_in, D_out]. The pytree is the nested dict of
    these paths.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    d, layers = spec.width, spec.num_layers
    queries = spec.num_heads * spec.head_width
    keys = spec.num_kv_heads * spec.head_width

    def norm(path: str, size: int, stack: tuple[int, ...] = ()) -> None:
        if spec.norm_scale:
            shapes[f"{path}/scale"] = (*stack, size)
        if spec.norm_bias:
            shapes[f"{path}/bias"] = (*stack, size)

    def dense(
        path: str, inputs: int, outputs: int, bias: bool, stack: tuple[int, ...] = ()
    ) -> None:
        shapes[f"{path}/kernel"] = (*stack, inputs, outputs)
        if bias:
            shapes[f"{path}/bias"] = (*stack, outputs)

    def feed_forward(path: str, width: int, stack: tuple[int, ...]) -> None:
        for name in ("gate", "up") if spec.gated else ("up",):
            dense(f"{path}/{name}", d, width, spec.ffn_bias, stack)
        dense(f"{path}/down", width, d, spec.ffn_bias, stack)
        for name in XIELU if spec.activation == "xielu" else ():
            shapes[f"{path}/activation/{name}"] = (*stack, 1)

    embed_width = spec.embed_width or d
    shapes["embed"] = (spec.vocab_size, embed_width)
    summed_width = d
    if spec.embed_projected == "tokens" and spec.embed_width is not None:
        dense("embed_in", embed_width, d, bias=False)
        dense("embed_out", d, embed_width, bias=False)
    elif spec.embed_projected == "sum":
        summed_width = embed_width
        dense("embed_in", embed_width, d, bias=True)
    if spec.num_positions:
        shapes["positions"] = (spec.num_positions, summed_width)
    if spec.token_types:
        shapes["token_types"] = (spec.token_types, summed_width)
    if spec.task_types:
        shapes["task_types"] = (spec.task_types, summed_width)
    if spec.relative_bias is not None:
        shapes["relative_bias"] = (spec.relative_bias.buckets, spec.num_heads)
    if spec.embed_norm:
        norm("embed_norm", summed_width)
    stack = (layers,)
    dense("layers/q", d, queries, spec.qkv_bias, stack)
    dense("layers/k", d, keys, spec.qkv_bias, stack)
    dense("layers/v", d, keys, spec.qkv_bias, stack)
    dense("layers/out", queries, d, spec.out_bias, stack)
    if spec.qk_norm == "heads":
        for name, heads in (("q", spec.num_heads), ("k", spec.num_kv_heads)):
            shapes[f"layers/{name}_norm/scale"] = (layers, heads, spec.head_width)
    elif spec.qk_norm is not None:
        per_head = spec.qk_norm == "head"
        norm("layers/q_norm", spec.head_width if per_head else queries, stack)
        norm("layers/k_norm", spec.head_width if per_head else keys, stack)
    if spec.sinks:
        shapes["layers/sinks"] = (layers, spec.num_heads)
    if spec.experts is None:
        feed_forward("layers", spec.ffn_width, stack)
    else:
        count = spec.experts.count
        dense("layers/router", d, count, spec.experts.router_bias, stack)
        feed_forward("layers/experts", spec.ffn_width, (*stack, count))
        if spec.experts.shared_width:
            feed_forward("layers/shared", spec.experts.shared_width, stack)
        if spec.experts.shared_gate:
            dense("layers/shared_gate", d, 1, False, stack)
    if spec.block != "post":
        norm("layers/attention_norm", d, stack)
        if not spec.shared_norm:
            norm("layers/ffn_norm", d, stack)
    if spec.block in ("post", "sandwich"):
        norm("layers/attention_post_norm", d, stack)
        norm("layers/ffn_post_norm", d, stack)
    if spec.final_norm:
        norm("final_norm", d)
    if spec.head == "mlm":
        # A projected embedding is tied to a head that returns to its width.
        inner = embed_width if spec.embed_projected == "sum" else d
        dense("head_transform", d, inner, bias=spec.head_transform_bias)
        norm("head_norm", inner)
    if spec.head is not None and not spec.tied:
        shapes["head/kernel"] = (embed_width, spec.vocab_size)
    if spec.head is not None and spec.head_bias:
        shapes["head/bias"] = (spec.vocab_size,)
    return shapes


def unstored(spec: ModelSpec) -> set[tuple[str, int]]:
    """(path, layer) of stacked entries that no checkpoint holds; any value will do."""
    if spec.first_norm:
        return set()
    norms = [path for path in parameter_shapes(spec) if "layers/attention_norm" in path]
    return {(path, 0) for path in norms}


def nest(flat: Mapping[str, Array]) -> dict:
    """Nested dict of "a/b/c" paths."""
    tree: dict = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def flatten(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """(path, value) pairs of a nested dict; the inverse of `nest`."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, path + "/")
        else:
            yield path, value


def init_params(
    key: Array, spec: ModelSpec, *, dtype: jnp.dtype = jnp.float32, std: float = 0.02
) -> dict:
    """Random parameters: normal kernels and embeddings, unit norms, zero biases.

    Kernels that write into the residual stream are scaled by 1 / sqrt(2 L).

    Args:
      key: PRNG key.
      spec: the architecture.
      dtype: of every parameter.
      std: standard deviation of embeddings and kernels.

    Returns:
      The parameter pytree.

    Reference: Radford et al. 2019 (GPT-2), section 2.3.
    """
    shapes = parameter_shapes(spec)
    keys = jax.random.split(key, len(shapes))
    flat = {}
    for own_key, (path, shape) in zip(keys, sorted(shapes.items())):
        name = path.rsplit("/", 1)[-1]
        if name == "scale":
            value = jnp.full(shape, 0.0 if spec.norm_unit_offset else 1.0)
        elif name == "bias":
            value = jnp.zeros(shape)
        elif name in XIELU:
            value = jnp.full(shape, XIELU[name])
        else:
            residual = path.endswith(("/out/kernel", "/down/kernel"))
            scale = std / (2 * spec.num_layers) ** 0.5 if residual else std
            value = scale * jax.random.normal(own_key, shape)
        flat[path] = value.astype(dtype)
    return nest(flat)
