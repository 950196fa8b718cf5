"""Native decoding equals transformers' greedy decoding."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers.normalizers import NFC

from helix_jax.generation import declared_stops, generate, generate_ids, native
from helix_jax.generation.generate import generated_from
from helix_jax.generation.reading import Reading
from helix_jax.generation.rows import Row
from helix_jax.models import family_of, load_tokenizer
from helix_jax.models.spec import ModelSpec

from ..conftest import cases, slow_but
from ..models.twins import DECODERS, QUICK, TWINS, VOCABULARY, twin_config

MODELS = cases(["stories260K"], "babyllama-tok105", "llama2xs-280K", "babyllama-tok361")
PROMPTS = ["Once upon a time", "The big dog and the small cat went", "Tom"]


def greedy(model, ids, count, **options):
    """transformers' greedy continuation of one prompt, without padding."""
    tokens = torch.tensor([ids])
    with torch.inference_mode():
        out = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            max_new_tokens=count,
            pad_token_id=0,
            **options,
        )
    return out[0, len(ids) :].tolist()


# What a decoder's loop does by: positions, turns, reach and the layout of a cache. All
# else lies within a layer or beside the layers, the same for a loop and for a forward
# pass; every decoder's cache is compared with none in tests/models/test_parity.py.
DECODED_BY = """
    rope local_rope rope_layers alibi num_positions position_offset sinusoids
    uncounted_token windows relative_bias experts sinks first_norm
""".split()


def switches(value: Any) -> Any:
    """What is on in a part of a spec, whatever its numbers are."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        inner = {name: switches(getattr(value, name)) for name in names}
        if "long_after" in names:  # in the prompt or behind it
            inner["long_after"] = value.long_after
        return tuple(inner.items())
    if isinstance(value, tuple):
        return frozenset(map(bool, value))
    return value if value is None else bool(value)


def way_of_decoding(spec: ModelSpec) -> tuple:
    shared = spec.num_heads > spec.num_kv_heads, spec.num_kv_heads == 1
    return *shared, *(switches(getattr(spec, name)) for name in DECODED_BY)


def spec_of(name: str) -> ModelSpec:
    return family_of(TWINS[name][0]).spec_from_hf(twin_config(name).to_dict())


# The first twin of each way.
WAYS = """
    biogpt bloom cohere cohere2 falcon falcon_alibi gemma3 gpt2 gpt_bigcode gpt_neo
    gpt_neox gpt_oss gptj granitemoe hunyuan_moe llama ministral ministral3 mistral
    mixtral phi3_long phi3_short qwen2_moe qwen3_moe smollm3 xglm
""".split()


def test_the_ways_are_those_of_all_decoders():
    first = {way_of_decoding(spec_of(name)): name for name in reversed(DECODERS)}
    assert sorted(first.values()) == WAYS


@pytest.mark.parametrize("name", slow_but(QUICK[:4], WAYS))
def test_every_way_of_decoding(twin, name):
    theirs, model = twin(name)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, VOCABULARY, n).tolist() for n in (1, 12, 30)]
    found = generate_ids(native(model), prompts, max_new_tokens=16, stop_tokens=[2])
    for ids, one in zip(prompts, found):
        assert one.tokens == greedy(theirs, ids, 16, eos_token_id=2)
        assert one.reason == ("stop" if one.tokens[-1] == 2 else "length")
        # A long-rope model reads everything anew where its table changes.
        assert one.repairs == 0 or model.spec.rope.long_after is not None


def hub_model(folder):
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_pretrained(pretrained, shared, name):
    model, tokenizer = pretrained(name)
    theirs = hub_model(shared / "models" / name)
    assert declared_stops(model.folder) == (2,)
    found = generate(native(model), tokenizer, tokenizer, PROMPTS, max_new_tokens=60)
    for prompt, one in zip(PROMPTS, found):
        ids = tokenizer(prompt)["input_ids"]
        expected = greedy(theirs, ids, 60, eos_token_id=[1, 2], suppress_tokens=[0])
        assert one.tokens == expected
        written = tokenizer.decode(ids + one.tokens, skip_special_tokens=True)
        assert prompt + one.text == written


@pytest.mark.parametrize("name", cases(["neox"], "llama", "qwen3"))
def test_embedded(pebble, name):
    model, tokenizer = pebble(name)
    theirs = hub_model(model.folder)
    found = generate(native(model), tokenizer, tokenizer, PROMPTS, max_new_tokens=24)
    for prompt, one in zip(PROMPTS, found):
        ids = tokenizer(prompt)["input_ids"]
        assert one.tokens == greedy(theirs, ids, 24, eos_token_id=0)


def test_a_native_model_has_one_tokenizer(pebble):
    (model, tokenizer), (_, other) = pebble("llama"), pebble("qwen3")
    generate(native(model), tokenizer, other, ["x"], max_new_tokens=1)  # they are equal
    changed = load_tokenizer(str(model.folder))
    changed.backend_tokenizer.normalizer = NFC()
    with pytest.raises(ValueError, match="one tokenizer, got two"):
        generate(native(model), tokenizer, changed, ["x"])


def test_a_text_that_has_not_ended_has_no_result():
    reading = Reading([1], (1,), False, "", b"", 0, 1)
    with pytest.raises(ValueError, match="this text has not ended"):
        generated_from(Row(reading))
    done = generated_from(Row(reading, tokens=[2], reason="length", answer="b"))
    assert done == ("b", [2], "length", 1, 0, 1)
