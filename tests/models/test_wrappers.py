"""Multimodal models on text alone: their text part, loaded, computes what they do.

Tolerance: 1e-4 absolute. Observed: below 1e-5.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import apply_model, load_model
from helix_jax.models.wrappers import WRAPPERS

from .twins import VOCABULARY, randomise, twin_config

EYE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
DEEP = {"embed_dim": 16, "depth": 1, "num_heads": 2, "hidden_size": 32}
MROPE = {"rope_type": "default", "rope_theta": 500.0, "mrope_section": [1, 2, 1]}
QWEN_EYE = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24}
QWEN_EYE |= {"out_hidden_size": 32}
PART = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
PART |= {"final_logit_softcapping": 2.0}
# wrapper -> (twin of its text part, its changes, vision_config)
CASES = {
    "gemma3": ("gemma3", PART, EYE | {"model_type": "siglip_vision_model"}),
    "mistral3": ("ministral3", {}, EYE | {"model_type": "pixtral"}),
    "llava": ("llama", {}, EYE | {"model_type": "clip_vision_model"}),
    "llava_next": ("mistral", {}, EYE | {"model_type": "clip_vision_model"}),
    "llava_onevision": ("qwen2", {}, EYE | {"model_type": "siglip_vision_model"}),
    "aya_vision": (
        "cohere2",
        {"logit_scale": 0.3},
        EYE | {"model_type": "siglip_vision_model"},
    ),
    "idefics3": ("llama", {}, EYE),
    "smolvlm": ("llama", {}, EYE),
    "internvl": ("qwen3", {}, EYE | {"image_size": [28, 28], "patch_size": [14, 14]}),
    "qwen2_vl": ("qwen2", {"rope_parameters": MROPE}, DEEP),
    "qwen2_5_vl": ("qwen2_sliding", {"rope_parameters": MROPE}, QWEN_EYE),
    "qwen3_vl": (
        "qwen3",
        {"rope_parameters": MROPE | {"mrope_interleaved": True}, "head_dim": 8},
        QWEN_EYE | {"deepstack_visual_indexes": [0]},
    ),
}
TOKENS = np.random.default_rng(0).integers(3, VOCABULARY - 6, (3, 9))
MASK = np.arange(9)[None, :] < np.array([9, 4, 7])[:, None]


def wrapper(name: str) -> torch.nn.Module:
    """A random model with an eye, around a twin's config."""
    twin, changes, eye = CASES[name]
    text = twin_config(twin, **changes).to_dict()
    kind = transformers.CONFIG_MAPPING[name]
    if name.startswith("qwen"):
        own = transformers.CONFIG_MAPPING[f"{name}_text"]
        text = {key: text[key] for key in text if hasattr(own(), key)}
        text["model_type"] = f"{name}_text"
    ids = {
        key: VOCABULARY - 1 - number
        for number, key in enumerate(
            ["image_token_id", "video_token_id", "boi_token_id", "eoi_token_id"]
        )
        if hasattr(kind, key) or key in kind.attribute_map
    }
    ids = {kind.attribute_map.get(key, key): value for key, value in ids.items()}
    config = kind(text_config=text, vision_config=eye, tie_word_embeddings=False, **ids)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForImageTextToText.from_config(config)
    return randomise(model, seed=0).float().eval()


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    """name -> (torch model, the folder that it was saved in)."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("wrappers") / name
            model = wrapper(name)
            model.save_pretrained(folder)
            made[name] = model, folder
        return made[name]

    return get


def same(one, other) -> bool:
    flat = [np.asarray(leaf) for leaf in torch.utils._pytree.tree_leaves(one)]
    rest = [np.asarray(leaf) for leaf in torch.utils._pytree.tree_leaves(other)]
    return all(np.array_equal(a, b) for a, b in zip(flat, rest, strict=True))


def test_every_wrapper_has_a_case():
    assert set(CASES) == WRAPPERS


@pytest.mark.parametrize("name", CASES)
def test_the_text_part_computes_what_the_wrapper_does(wrapped, name):
    theirs, folder = wrapped(name)
    with torch.no_grad():
        out = theirs(
            torch.tensor(TOKENS),
            attention_mask=torch.tensor(MASK.astype(np.int64)),
            output_hidden_states=True,
        )
    model = load_model(str(folder))
    count = model.spec.num_layers
    tokens, mask = jnp.asarray(TOKENS), jnp.asarray(MASK)
    ours = apply_model(
        model.params,
        model.spec,
        tokens,
        mask,
        layers=(*range(count), count),
        final_norm=False,
        logits=True,
    )
    assert len(out.hidden_states) == count + 1
    for layer in range(count):
        state = out.hidden_states[layer].numpy()
        assert np.abs(np.asarray(ours.hidden[layer]) - state)[MASK].max() < 1e-4
    logits = out.logits.numpy()
    assert np.abs(np.asarray(ours.logits) - logits)[MASK].max() < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_names_of_both_generations_and_no_other_part(wrapped, tmp_path, name):
    """As modules are called now, and as files were written; other parts unread."""
    theirs, folder = wrapped(name)
    model = load_model(str(folder))
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    parts = ("language_model.", "text_model.", "lm_head.")
    others = {key for key in state if not any(part in key for part in parts)}
    assert others
    # Integers are no weights: what is never read may hold them.
    state |= {key: np.zeros(1, np.int32) for key in others}
    written = load_file(folder / "model.safetensors")
    for number, tensors in enumerate((state, _old_names(name, written))):
        other = tmp_path / str(number)
        other.mkdir()
        save_file(
            {key: np.array(value) for key, value in tensors.items()},
            other / "model.safetensors",
        )
        (other / "config.json").write_text((folder / "config.json").read_text())
        assert same(load_model(str(other)).params, model.params)


def _old_names(name: str, tensors: dict) -> dict:
    """As the files of this wrapper's first generation."""
    if name in ("idefics3", "smolvlm"):
        return tensors
    if name in ("qwen2_vl", "qwen2_5_vl"):
        changes = {"model.language_model.": "model.", "model.visual.": "visual."}
    else:
        changes = {
            "model.language_model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
            "model.vision_tower.": "vision_tower.",
            "model.multi_modal_projector.": "multi_modal_projector.",
        }

    def renamed(key):
        for new, old in changes.items():
            if key.startswith(new):
                return old + key.removeprefix(new)
        return key

    return {renamed(key): value for key, value in tensors.items()}


def test_files_that_put_the_text_config_outside(wrapped, tmp_path):
    """Qwen2-VL's own config.json."""
    _, folder = wrapped("qwen2_vl")
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    flat = config | {k: v for k, v in text.items() if k not in config}
    flat |= {"rope_theta": rope["rope_theta"]}
    flat |= {"rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    flat.pop("layer_types", None)
    (tmp_path / "config.json").write_text(json.dumps(flat))
    tensors = _old_names("qwen2_vl", load_file(folder / "model.safetensors"))
    save_file(tensors, tmp_path / "model.safetensors")
    found, wanted = load_model(str(tmp_path)), load_model(str(folder))
    assert found.spec == wanted.spec
    assert same(found.params, wanted.params)


def test_text_parts_that_are_none(wrapped, tmp_path):
    _, folder = wrapped("llava")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["model_type"] = "mamba"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"text part of this llava .* 'mamba'"):
        load_model(str(tmp_path))
    for kind in ("blip-2", "paligemma"):  # the latter reads prompts both ways
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(CheckpointError, match=f"{kind!r} is not supported"):
            load_model(str(tmp_path))
    quantised = config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    quantised["text_config"] = quantised["text_config"] | {"model_type": "llama"}
    (tmp_path / "config.json").write_text(json.dumps(quantised))
    with pytest.raises(CheckpointError, match="quantization_config"):
        load_model(str(tmp_path))
