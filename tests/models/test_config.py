"""Configs: what a family does not honour is refused by name, the rest is read."""

import ast
import functools
import json
import logging
import math
from pathlib import Path

import pytest
import transformers

from helix_jax.errors import CheckpointError
from helix_jax.models import FAMILIES, family_of, parameter_shapes
from helix_jax.models.config import INERT, READ_ANYWAY, is_defined
from helix_jax.models.config_file import read_config
from helix_jax.models.params import unstored
from helix_jax.models.wrappers import WRAPPERS

from ..conftest import cases
from .published import PUBLISHED
from .published_encoders import ENCODERS
from .twins import TWINS, twin_config

# The first twin of each family.
FIRST = {kind: name for name, (kind, _) in reversed(TWINS.items())}
INT4 = {"quant_method": "gptq", "bits": 4, "group_size": 128}
HARMLESS = {
    "transformers_version": "4.1.0",
    "torch_dtype": "float16",
    "_name_or_path": "somewhere/else",
    "use_cache": False,
    "attention_dropout": 0.3,
    "initializer_range": 0.5,
    "id2label": {"0": "no", "1": "yes"},
    "task_specific_params": {"summarization": {"min_length": 30}},
    "do_sample": True,
    "pruned_heads": {},
    "made_up_switch": None,
}
# Attributes of real models that change the states, with a value that ours do not have.
FOREIGN = [
    ("llama", "rope_interleaved", True),
    ("llama", "quantization_config", INT4),
    ("llama", "partial_rotary_factor", 0.5),
    ("llama", "is_causal", False),
    ("llama", "per_layer_config", {"0": {"rms_norm_eps": 0.5}}),
    ("llama", "transformers_weights", "other.safetensors"),
    ("internlm3", "auto_map", {"AutoModel": "modeling_other.Other"}),
    ("iquestcoder", "rope_parameters", {"rope_type": "default", "beta_fast": 1.0}),
    ("ministral", "layer_types", ["sliding_attention", "chunked_attention"] * 2),
    ("ministral3", "rope_parameters", {"rope_type": "default", "rope_theta": 1e4}),
    ("mistral", "attention_bias", True),
    ("mistral", "layer_types", ["full_attention"] * 3),
    ("qwen2", "use_mrope", True),
    ("qwen2", "is_causal", False),
    ("qwen3", "quantization_config", INT4),
    ("qwen3", "hidden_act", "quick_gelu"),
    ("gemma", "use_bidirectional_attention", True),
    ("vaultgemma", "use_bidirectional_attention", True),
    ("hunyuan_v1_dense", "partial_rotary_factor", 0.5),
    ("hunyuan_v1_moe", "moe_topk", [2, 1, 2]),
    ("gemma2", "use_bidirectional_attention", True),
    ("gemma2", "hidden_act", "silu"),
    ("phi", "head_dim", 12),
    ("gemma3_text", "is_causal", False),
    ("phi3", "lm_head_bias", True),
    ("phi3", "interpolate_factor", 4),
    ("phi3", "auto_map", {"AutoModel": "modeling_other.Other"}),
    ("mixtral", "quantization_config", INT4),
    ("qwen2_moe", "mlp_only_layers", [1]),
    ("qwen2_moe", "decoder_sparse_step", 2),
    ("qwen3_moe", "mlp_only_layers", [0]),
    ("olmoe", "num_experts_per_tok", 9),
    ("granitemoe", "logits_scaling", 0),
    ("gpt_oss", "quantization_config", {"quant_method": "mxfp4"}),
    ("gpt2", "scale_attn_by_inverse_layer_idx", True),
    ("gpt2", "reorder_and_upcast_attn", True),
    ("gpt2", "add_cross_attention", True),
    ("gpt_neo", "activation_function", "quick_gelu"),
    ("gpt_neox", "hidden_act", "quick_gelu"),
    ("gpt_neox", "is_decoder", True),
    ("olmo", "partial_rotary_factor", 0.5),
    ("olmo2", "clip_qkv", 8.0),
    ("stablelm", "hidden_act", "quick_gelu"),
    ("nemotron", "hidden_act", "quick_gelu"),
    ("cohere", "quantization_config", INT4),
    ("cohere2", "layer_types", ["chunked_attention"] * 3),
    ("apertus", "hidden_act", "quick_gelu"),
    ("gptj", "rotary_dim", 5),
    ("codegen", "rotary_dim", 12),
    ("gpt_bigcode", "add_cross_attention", True),
    ("openai-gpt", "afn", "gelu_new"),
    ("falcon", "num_ln_in_parallel_attn", 3),
    ("bloom", "slow_but_exact", True),
    ("mpt", "logit_scale", "inv_sqrt_d_model"),
    ("persimmon", "head_dim", 12),
    ("xglm", "pad_token_id", 3),
    ("biogpt", "hidden_act", "quick_gelu"),
    ("olmo3", "rope_parameters", {"full_attention": {"partial_rotary_factor": 0.5}}),
    ("granite", "logits_scaling", 0),
    ("hyperclovax", "hidden_act", "quick_gelu"),
    ("glm", "hidden_act", "quick_gelu"),
    ("glm4", "quantization_config", INT4),
    ("ernie4_5", "partial_rotary_factor", 0.5),
    ("helium", "head_dim", 12),
    ("seed_oss", "hidden_act", "quick_gelu"),
    ("arcee", "hidden_act", "xielu"),
    ("jais2", "partial_rotary_factor", 0.5),
    ("smollm3", "no_rope_layers", [1, 0]),
    ("cwm", "is_causal", False),
    ("exaone4", "layer_types", ["full_attention"] * 2),
    ("starcoder2", "hidden_act", "quick_gelu"),
    ("opt", "layer_norm_elementwise_affine", False),
    ("bert", "position_embedding_type", "relative_key"),
    ("bert", "is_decoder", True),
    ("bert", "directionality", "uni"),
    ("roberta", "position_embedding_type", "relative_key_query"),
    ("roberta", "add_cross_attention", True),
    ("ernie", "add_cross_attention", True),
    ("megatron-bert", "is_decoder", True),
    ("xlm-roberta", "position_embedding_type", "relative_key"),
    ("camembert", "is_decoder", True),
    ("data2vec-text", "is_decoder", True),
    ("xlm-roberta-xl", "position_embedding_type", "relative_key"),
    ("roberta-prelayernorm", "is_decoder", True),
    ("distilbert", "activation", "quick_gelu"),
    ("electra", "is_decoder", True),
    ("eurobert", "is_causal", True),
    ("modernbert", "is_causal", True),
    ("mpnet", "relative_attention_num_buckets", 64),
    ("nomic_bert", "auto_map", {"AutoModel": "modeling_other.Other"}),
    ("t5", "is_decoder", True),
    ("mt5", "feed_forward_proj", "gated-mish"),
]


def config_class(family):
    return transformers.CONFIG_MAPPING[family]


def spec_of(folder, config):
    """The spec of a folder with this config.json."""
    (folder / "config.json").write_text(json.dumps(config))
    full = read_config(folder)
    return family_of(full["model_type"]).spec_from_hf(full)


@functools.cache
def config_of(family):
    """What transformers would write for a family's twin."""
    config = twin_config(FIRST[family])
    return config.to_diff_dict() | {"model_type": family}


@pytest.fixture(scope="module")
def plain_spec(tmp_path_factory):
    """family -> the spec of its twin's config alone."""
    folder = tmp_path_factory.mktemp("plain")
    return functools.cache(lambda family: spec_of(folder, config_of(family)))


def test_every_family_has_a_twin_and_a_foreign_attribute():
    assert set(FIRST) == set(FAMILIES) == {family for family, _, _ in FOREIGN}
    kinds = {raw["model_type"] for _, raw in PUBLISHED.values()}
    assert kinds <= set(FAMILIES) | WRAPPERS


@pytest.mark.parametrize("value", cases([3, False, {"a": 1}], True, "yes", [1], 0.0))
@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_does_not_define_is_passed_over(
    tmp_path, caplog, plain_spec, family, value
):
    config, plain = config_of(family), plain_spec(family)
    with caplog.at_level(logging.DEBUG, logger="helix_jax"):
        assert spec_of(tmp_path, config | {"made_up_switch": value}) == plain
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{family}: ignored config attributes that")
    assert line.endswith("made_up_switch")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_reads_of_any_config_is_not_passed_over(
    tmp_path, plain_spec, family
):
    config = config_of(family)
    plain_spec(family)  # is accepted
    # Where a class defines one, the walk over its attributes is its test.
    names = [name for name in READ_ANYWAY if not hasattr(config_class(family), name)]
    assert names
    for name in names:
        value = {"is_causal": not family_of(family).causal}.get(name, {"0": {"a": 1}})
        with pytest.raises(CheckpointError, match=name) as caught:
            spec_of(tmp_path, config | {name: value})
        assert "emove" not in str(caught.value)


@functools.cache
def names_read(file: Path) -> frozenset[str]:
    """Attributes of configs that a Python file reads."""

    def of_config(node) -> bool:
        name = getattr(node, "id", getattr(node, "attr", ""))
        return name.endswith("config")

    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and of_config(node.value):
            found.add(node.attr)
        asked = getattr(getattr(node, "func", None), "id", "") in ("getattr", "hasattr")
        if asked and of_config(node.args[0]) and isinstance(node.args[1], ast.Constant):
            found.add(node.args[1].value)
    return frozenset(found)


# Read of configs whose class does not define them, and not by a forward pass over text:
# by classifiers, vision towers, decoders of several tokens at once, quantisation.
READ_ELSEWHERE = frozenset(
    """
    chain_hidden_post_norm classifier_dropout embedding_size get_mtp_config
    hidden_dropout image_size image_token_id layer_norm_eps logits_mup_width_multiplier
    mm_tokens_per_image mtp_hidden_states_first patch_size rms_norm_eps
    summary_first_dropout summary_last_dropout summary_proj_to_labels
    token_classification_bias unpadded_vocab_size vision_config
    _is_quantized
    """.split()
)
# Of the half of t5 that is not read.
OF_THE_DECODER = set(
    "decoder_start_token_id scale_decoder_outputs tie_word_embeddings".split()
)
# Read where a family has a rotary embedding; the families themselves see to that.
ROTARY = {"head_dim", "max_position_embeddings", "rope_parameters"}
GENERAL = "masking_utils cache_utils modeling_rope_utils modeling_layers".split()


# transformers runs these with llama's classes.
LLAMAS = ("internlm3", "iquestcoder")


@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_transformers_reads_is_known(tmp_path, plain_spec, family):
    """Also what its sources read of a config whose class does not define it."""
    folder, kind = Path(transformers.__file__).parent, config_class(family)

    def undefined(file):
        names = names_read(folder / f"{file}.py")
        kinds = (kind, *kind.sub_configs.values())
        names = {name for name in names if not any(hasattr(k, name) for k in kinds)}
        return names - set(kind.attribute_map) - READ_ELSEWHERE - set(READ_ANYWAY)

    assert set().union(*map(undefined, GENERAL)) <= ROTARY
    source = config_class("llama") if family in LLAMAS else kind
    module = source.__module__.replace("configuration", "modeling").split(".", 1)[1]
    config, plain = config_of(family), plain_spec(family)
    other = {"head_dim": 20, "attention_layers": ["local", "global", "global"]}
    other |= {"dense_act_fn": "silu", "is_gated_act": not plain.gated}
    names = undefined(module.replace(".", "/"))
    for name in names - (OF_THE_DECODER if family in ("t5", "mt5") else set()):
        try:
            spec = spec_of(tmp_path, config | {name: other[name]})
        except CheckpointError as error:
            spec = str(error)
        assert spec != plain, f"{name} has no effect"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_called_inert_is_defined_somewhere(family):
    """The list holds no word for what would be passed over anyway."""
    assert all(
        any(is_defined(one, name) for one in FAMILIES) or name == "model_type"
        for name in INERT
    )


# Keys of configs that transformers wrote after it had read a GGUF file, and of others.
BOOKKEEPING = {
    "_model_name_or_path": "Smollm2 135M 8k Lc100K Mix1 Ep2",
    "unk_token_id": 0,
    "_sliding_window_pattern": 6,
    "general_name": "a model",
    "transformers.js_config": {"dtype": "q4"},
    "unsloth_version": "2025.1",
    "model_max_length": 2048,
    "max_sequence_length": 2048,
    "sep_token_id": 5,
    "torchscript": False,
    "use_bfloat16": True,
    "tie_encoder_decoder": False,
    "cross_attention_hidden_size": None,
    "rotary_dim": 64,
    "n_ctx": 1024,
    "gradient_checkpointing": True,
    "_commit_hash": "0" * 40,
    "language": "en",
    "license": "apache-2.0",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "neftune_noise_alpha": 5,
    "vocab_type": "bpe",
    "_attn_implementation": "flash_attention_2",
    "_attn_implementation_autoset": True,
    "attn_implementation": "sdpa",
    "num_labels": 3,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_bookkeeping_of_published_folders_changes_nothing(tmp_path, family):
    config = config_of(family)
    left = dict(BOOKKEEPING)
    if is_defined(family, "rotary_dim"):  # a switch there
        del left["rotary_dim"]
    assert spec_of(tmp_path, config | left) == spec_of(tmp_path, config)


ADVICE = [
    ("llama", "is_causal", False, "its states would be wrong"),
    (
        "bert",
        "is_causal",
        True,
        "only False, None is supported: its attention has another",
    ),
    (
        "qwen2",
        "quantization_config",
        INT4,
        "weights are quantised, which the JAX engine does not read; use --engine=tor",
    ),
    ("gpt2", "auto_map", {"AutoModel": "m.M"}, "its authors' code, which is never"),
    ("phi3", "auto_map", {"AutoModel": "m.M"}, "its authors' code, which is never"),
]


@pytest.mark.parametrize(("family", "name", "value", "message"), ADVICE)
def test_what_is_said_of_switches_that_must_not_be_removed(
    tmp_path, family, name, value, message
):
    config = config_of(family) | {name: value}
    with pytest.raises(CheckpointError, match=message) as caught:
        spec_of(tmp_path, config)
    assert "emove" not in str(caught.value)


def test_code_of_the_tokenizer_is_not_the_models(tmp_path):
    config = config_of("llama")
    code = {"auto_map": {"AutoTokenizer": ["tokenization_other.Other", None]}}
    assert spec_of(tmp_path, config | code) == spec_of(tmp_path, config)


@pytest.mark.parametrize(
    ("family", "names", "known"),
    [
        ("llama", ["LlamaBidirectionalModel"], False),
        ("llama", ["LlamaEncoderModel", "LlamaForCausalLM"], False),
        ("qwen2", ["Qwen2ForRewardModel"], False),
        ("mistral", ["MistralBiModel"], False),
        ("gpt2", ["GPTNeoForCausalLM"], False),
        ("bert", ["RobertaModel"], False),
        ("gemma3_text", ["Gemma3BidirectionalModel"], False),
        ("llama", ["LLaMAForCausalLM"], True),
        ("llama", ["LlamaForSequenceClassification"], True),
        ("gpt2", ["GPT2DoubleHeadsModel"], True),
        ("bert", ["BertForPreTraining"], True),
        ("gemma3_text", ["Gemma3TextModel"], True),
        ("internlm3", ["LlamaModel"], True),  # whose classes run it
        ("roberta", [], True),
        ("roberta", None, True),
    ],
)
def test_architectures(tmp_path, family, names, known):
    config = config_of(family) | {"architectures": names}
    if known:
        spec_of(tmp_path, config)
        return
    with pytest.raises(CheckpointError, match=rf"architecture {names[0]}.*is no class"):
        spec_of(tmp_path, config)


def test_a_gemma3_config_without_a_text_config(tmp_path):
    """transformers takes its defaults, and so do we."""
    vision = {"model_type": "siglip_vision_model"}
    spec = spec_of(tmp_path, {"model_type": "gemma3", "vision_config": vision})
    theirs = transformers.Gemma3Config(vision_config=vision).text_config
    assert spec.width == theirs.hidden_size
    assert spec.num_layers == theirs.num_hidden_layers
    assert spec == spec_of(tmp_path, theirs.to_dict())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_configs_with_a_byte_order_mark(tmp_path, encoding):
    config = config_of("llama")
    plain = spec_of(tmp_path, config)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding=encoding)
    full = read_config(tmp_path)
    assert family_of("llama").spec_from_hf(full) == plain


@pytest.mark.parametrize(("family", "name", "value"), FOREIGN)
def test_a_foreign_attribute_is_refused(tmp_path, family, name, value):
    config = config_of(family)
    with pytest.raises(CheckpointError, match=name):
        spec_of(tmp_path, config | {name: value})


@pytest.mark.parametrize("family", FAMILIES)
def test_harmless_attributes_change_nothing(tmp_path, family):
    config = config_of(family)
    assert spec_of(tmp_path, config | HARMLESS) == spec_of(tmp_path, config)


@pytest.mark.parametrize("name", [*PUBLISHED, *ENCODERS])
def test_published_configs(tmp_path, name):
    """Every parameter is there: the shapes add up to the published number."""
    count, config = (PUBLISHED | ENCODERS)[name]
    spec = spec_of(tmp_path, config)
    shapes = parameter_shapes(spec)
    stacked = sum(math.prod(shapes[path][1:]) for path, _ in unstored(spec))
    assert sum(math.prod(shape) for shape in shapes.values()) - stacked == count


def test_windows_that_look_both_ways(tmp_path):
    """As transformers' masks: 64 tokens on each side, and 256 with the token itself."""
    modernbert = spec_of(tmp_path, ENCODERS["answerdotai/ModernBERT-base"][1])
    (gemma,) = (raw for name, (_, raw) in ENCODERS.items() if "embeddinggemma" in name)
    assert modernbert.windows[:4] == (0, 65, 65, 0)
    assert spec_of(tmp_path, gemma).windows[4:6] == (257, 0)


def test_two_bases_of_the_rotary_embedding(tmp_path):
    config = config_of("llama") | {"rope_theta": 1.0}
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 2.0}
    with pytest.raises(CheckpointError, match=r"rope_theta as 1\.0 and as 2\.0"):
        spec_of(tmp_path, config)


@pytest.mark.parametrize("kind", ["proportional", "made_up"])
def test_unknown_kinds_of_rotary_embedding(tmp_path, kind):
    config = config_of("llama")
    config["rope_parameters"] = {
        "rope_type": kind,
        "rope_theta": 100.0,
        "factor": 2.0,
        "original_max_position_embeddings": 32,
    }
    with pytest.raises(CheckpointError, match=f"rope_type '{kind}' is not supported"):
        spec_of(tmp_path, config)


def rope(kind, **others):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 100.0} | others}


LONG = {"original_max_position_embeddings": 8, "short_factor": [1.0] * 4}
UNFIT = [
    ("llama", rope("linear", factor="x"), "factor 'x'; expected a number from"),
    ("llama", rope("linear", factor=True), "factor True; expected a number"),
    ("llama", rope("linear", factor=-1.0), r"factor -1\.0; expected a number"),
    ("llama", rope("default", rope_theta=[1]), r"rope_theta \[1\]; expected a number"),
    ("llama", rope("default", rope_theta=math.nan), "rope_theta nan"),
    (
        "llama",
        rope("yarn", factor=4.0, original_max_position_embeddings=0),
        "division by zero",
    ),
    (
        "llama",
        rope("yarn", factor=4.0, rope_theta=1.0, original_max_position_embeddings=8),
        "cannot be used for heads of",
    ),
    ("llama", rope("longrope", long_factor=[1.0] * 3, **LONG), "cannot be used for"),
    ("llama", rope("longrope", long_factor=["a"] * 4, **LONG), "long_factor .*list of"),
    (
        "llama",
        rope(
            "longrope",
            long_factor=[1.0] * 4,
            **LONG | {"original_max_position_embeddings": -1},
        ),
        "ngs -1; expe",
    ),
    ("gpt_neox", rope("default", partial_rotary_factor=2.0), "from 0 to 1"),
    ("stablelm", rope("default", partial_rotary_factor="x"), "r 'x'; expected a num"),
    ("phi", rope("default", partial_rotary_factor=0.4), "rotates 3; expected an even"),
    ("gptj", {"rotary_dim": 0}, "'rotary_dim' is 0; expected an integer from 1"),
    ("falcon", {"num_kv_heads": 3, "new_decoder_architecture": True}, "cannot share 3"),
    ("gpt_neox", {"hidden_size": 0}, "'hidden_size' is 0; expected an integer from 1"),
    ("gpt2", {"n_head": -1}, "'n_head' is -1; expected an integer"),
    ("gpt2", {"n_embd": 3}, "4 attention heads cannot share a hidden size of 3"),
    ("gpt2", {"layer_norm_epsilon": math.nan}, "'layer_norm_epsilon' is nan"),
    ("gpt_neo", {"window_size": 10**30}, "'window_size' is 1000"),
    ("gpt_neo", {"attention_types": ["x", None]}, "not a valid gpt_neo config"),
    ("mistral", {"sliding_window": -5}, "'sliding_window' is -5"),
    ("llama", {"head_dim": 0}, "'head_dim' is 0"),
    ("llama", {"num_key_value_heads": 3}, "4 num_attention_heads cannot share 3"),
    ("llama", {"dtype": ["x", None]}, "not a valid llama config"),
    ("gemma2", {"query_pre_attn_scalar": 0}, "'query_pre_attn_scalar' is 0"),
    ("roberta", {"pad_token_id": 10**30}, "'pad_token_id' is 1000"),
    ("roberta", {"pad_token_id": 63}, "'pad_token_id' is 63"),
]


@pytest.mark.parametrize(("family", "changes", "message"), UNFIT)
def test_numbers_that_no_model_can_have(tmp_path, family, changes, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        spec_of(tmp_path, config_of(family) | changes)
    assert "\n" not in str(caught.value)


def test_a_partial_rotation_beside_parameters_that_do_not_take_it_up(tmp_path):
    """transformers takes it up later, for some types alone."""
    config = config_of("gemma3_text")
    one = rope("longrope", long_factor=[1.0] * 8, **LONG | {"short_factor": [1.0] * 8})
    one = one["rope_parameters"]
    config["rope_parameters"] = {"full_attention": one, "sliding_attention": one}
    spec_of(tmp_path, config | {"partial_rotary_factor": 1.0})
    with pytest.raises(CheckpointError, match=r"partial_rotary_factor 0\.5 "):
        spec_of(tmp_path, config | {"partial_rotary_factor": 0.5})
