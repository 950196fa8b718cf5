"""Mixtures of experts against a loop over tokens in numpy, and in both layouts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import load_model
from helix_jax.models.experts import MOST_ROWS, mix_experts, route
from helix_jax.models.params import init_params
from helix_jax.models.spec import ExpertSpec, ModelSpec

mix = jax.jit(mix_experts, static_argnums=2)
# experts, experts of a token, tokens
SIZES = [(3, 2, 2 * MOST_ROWS), (4, 3, 5), (7, 1, 2), (5, 5, 9)]


def small(count, per_token, **switches):
    """A spec with experts of 6 features on a stream of 8, and one layer's weights."""
    spec = ModelSpec(
        "mixtral",
        vocab_size=4,
        width=8,
        num_layers=1,
        num_heads=1,
        num_kv_heads=1,
        head_width=2,
        ffn_width=6,
        max_tokens=8,
        experts=ExpertSpec(count, per_token, **switches),
        ffn_bias=True,
    )
    params = init_params(jax.random.key(count), spec, std=1.0)["layers"]
    return spec, jax.tree.map(lambda leaf: leaf[0], params)


def one_feed_forward(params, x):
    gate, up, down = (
        {key: np.asarray(value, np.float64) for key, value in params[name].items()}
        for name in ("gate", "up", "down")
    )
    z = x @ gate["kernel"] + gate["bias"]
    z = z / (1 + np.exp(-z)) * (x @ up["kernel"] + up["bias"])
    return z @ down["kernel"] + down["bias"]


def token_by_token(params, x, experts):
    """Each token's experts one by one, in float64."""
    logits = x @ np.asarray(params["router"]["kernel"], np.float64)
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.zeros_like(x)
    for token, row in enumerate(x):
        chosen = np.argsort(-weights[token])[: experts.per_token]
        total = weights[token, chosen].sum() if experts.normalised else 1.0
        for expert in chosen:
            own = jax.tree.map(lambda leaf, e=expert: leaf[e], params["experts"])
            y[token] += weights[token, expert] / total * one_feed_forward(own, row)
    return y


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(("count", "per_token", "number"), SIZES)
@pytest.mark.slow
def test_equals_a_loop_over_tokens(count, per_token, number, normalised):
    """Tolerance 1e-4 on values of order 10; observed: below 2e-5."""
    spec, params = small(count, per_token, normalised=normalised)
    x = np.random.default_rng(0).normal(size=(2, number, 8)).astype(np.float32)
    if number > MOST_ROWS:
        x[0] = x[0, :1] + 1e-3 * x[0]  # half of all tokens go to the same experts
    found = mix(params, jnp.asarray(x), spec)
    wanted = token_by_token(params, x.reshape(-1, 8).astype(float), spec.experts)
    assert np.abs(np.asarray(found).reshape(-1, 8) - wanted).max() < 1e-4


@pytest.mark.slow
def test_the_shared_expert_and_its_gate():
    spec, params = small(3, 1, shared_width=5, shared_gate=True)
    x = np.random.default_rng(1).normal(size=(1, 4, 8)).astype(np.float32)
    rows = x[0].astype(float)
    gate = 1 / (1 + np.exp(-rows @ np.asarray(params["shared_gate"]["kernel"], float)))
    wanted = token_by_token(params, rows, spec.experts)
    wanted += gate * one_feed_forward(params["shared"], rows)
    found = mix_experts(params, jnp.asarray(x), spec)[0]
    assert np.abs(np.asarray(found) - wanted).max() < 1e-4


def test_a_spec_without_experts_is_refused():
    spec, params = small(3, 1)
    dense = dataclasses.replace(spec, experts=None)
    with pytest.raises(ValueError, match="mix_experts: the spec has no experts"):
        mix_experts(params, jnp.zeros((1, 2, 8)), dense)


def test_other_tokens_change_nothing():
    """What stands at padding is such a token, be it NaN."""
    spec, params = small(4, 2)
    x = jax.random.normal(jax.random.key(2), (3, 5, 8))
    found = mix(params, x, spec)
    others = x.at[:, 3:].set(jnp.array([1e6, jnp.nan])[None, :, None])
    np.testing.assert_array_equal(mix(params, others, spec)[:, :3], found[:, :3])


def test_the_router_is_float32_in_half_precision():
    spec, params = small(6, 2)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params["router"])
    x = jax.random.normal(jax.random.key(3), (64, 8)).astype(jnp.bfloat16)
    weights, chosen = route(half, x, spec.experts)
    logits = np.asarray(x, float) @ np.asarray(half["kernel"], float)
    best = -np.sort(-logits, axis=1)[:, :2]
    np.testing.assert_array_equal(
        np.take_along_axis(logits, np.asarray(chosen), axis=1), best
    )
    wanted = np.exp(best) / np.exp(best).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights, wanted, rtol=1e-5)


@pytest.mark.slow
def test_gradients_are_those_of_all_experts_at_once():
    spec, params = small(4, 2)
    x = jax.random.normal(jax.random.key(4), (1, 6, 8))

    def at_once(params, x):
        weights, chosen = route(params["router"], x[0], spec.experts)
        dense = jnp.zeros((6, 4)).at[jnp.arange(6)[:, None], chosen].add(weights)
        each = jax.vmap(lambda own: _plain(own, x[0]))(params["experts"])
        return (jnp.einsum("te,etd->td", dense, each) ** 2).sum()

    def ours(params, x):
        return (mix_experts(params, x, spec) ** 2).sum()

    wanted = jax.grad(at_once, argnums=(0, 1))(params, x)
    found = jax.jit(jax.grad(ours, argnums=(0, 1)))(params, x)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
        scale = 1 + float(jnp.abs(other).max())
        assert float(jnp.abs(one - other).max()) < 1e-5 * scale


def _plain(own, x):
    gate, up, down = (own[name] for name in ("gate", "up", "down"))
    z = jax.nn.silu(x @ gate["kernel"] + gate["bias"]) * (x @ up["kernel"] + up["bias"])
    return z @ down["kernel"] + down["bias"]


MIXTURES = ["mixtral", "qwen2_moe", "olmoe", "granitemoe", "gpt_oss"]


@pytest.mark.parametrize("name", MIXTURES)
def test_both_layouts_load_and_the_published_one_is_written(twin, tmp_path, name):
    """All experts of a layer in one tensor, as in memory; or each in its own."""
    theirs, model = twin(name)
    fused = {key: value.numpy() for key, value in theirs.state_dict().items()}
    save_file(fused, tmp_path / "model.safetensors")
    theirs.config.save_pretrained(tmp_path)
    again = load_model(str(tmp_path))
    assert again.spec == model.spec
    jax.tree.map(np.testing.assert_array_equal, again.params, model.params)
    published = load_file(model.folder / "model.safetensors")
    per_expert = any("experts.0." in key for key in published)
    assert per_expert == (name not in ("granitemoe", "gpt_oss"))
    assert (set(published) == set(fused)) == (name == "gpt_oss")


def _edited(twin, tmp_path, change):
    _, model = twin("mixtral")
    tensors = load_file(model.folder / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    config = (model.folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    return str(tmp_path)


LAYER = "model.layers.1.block_sparse_moe."
DAMAGES = {
    r"layers/experts/gate/kernel\[1\]\[2\]": lambda t: t.pop(
        f"{LAYER}experts.2.w1.weight"
    ),
    "expert 9, but the config has 4": lambda t: t.update(
        {f"{LAYER}experts.9.w1.weight": t[f"{LAYER}experts.0.w1.weight"]}
    ),
    "sets 'layers/experts/down/kernel' twice": lambda t: t.update(
        {
            "model.layers.1.mlp.experts.down_proj": np.stack(
                [t[f"{LAYER}experts.{e}.w2.weight"] for e in range(4)]
            )
        }
    ),
    "has the wrong shape": lambda t: t.update(
        {f"{LAYER}experts.0.w1.weight": t[f"{LAYER}experts.0.w2.weight"]}
    ),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_experts_are_refused(twin, tmp_path, message):
    folder = _edited(twin, tmp_path, DAMAGES[message])
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_more_experts_than_there_are(tmp_path):
    config = transformers.MixtralConfig(num_experts_per_tok=9, num_local_experts=8)
    config.architectures = ["MixtralForCausalLM"]
    config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="num_experts_per_tok is 9"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("name", ["mixtral", "olmoe", "gpt_oss"])
def test_routers_of_the_twins_have_margins(twin, name):
    """Ties between experts would make parity say nothing."""
    theirs, _ = twin(name)
    found = []
    hooks = [
        module.register_forward_hook(lambda m, i, out: found.append(out[0]))
        for module in theirs.modules()
        if type(module).__name__.endswith("TopKRouter")
    ]
    tokens = torch.randint(3, 61, (4, 12), generator=torch.Generator().manual_seed(0))
    theirs(tokens)
    for hook in hooks:
        hook.remove()
    logits = np.concatenate([one.detach().numpy() for one in found])
    best = -np.sort(-logits, axis=1)[:, 1:3]
    assert (best[:, 0] - best[:, 1]).min() > 1e-4
    assert len(set(logits.argmax(axis=1))) == logits.shape[1]
