"""Folders that name code beside the weights, which is never run."""

import json

import pytest

from helix_jax.errors import CheckpointError
from helix_jax.models import flatten, load_model, read_spec

CODE = {
    "AutoConfig": "lab/nomic-bert--configuration_hf_nomic_bert.NomicBertConfig",
    "AutoModel": "lab/nomic-bert--modeling_hf_nomic_bert.NomicBertModel",
    "AutoModelForMaskedLM": "modeling_hf_nomic_bert.NomicBertForPreTraining",
}
# As that code spells them, beside transformers' own names.
SPELLINGS = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_inner": "intermediate_size",
    "layer_norm_epsilon": "layer_norm_eps",
}
SWITCHES = {
    "activation_function": "swiglu",
    "causal": False,
    "dense_seq_output": True,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "n_positions": 8192,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "use_flash_attn": True,
    "use_rms_norm": None,
}


@pytest.fixture
def published(twin, tmp_path):
    """A copy of nomic_bert's twin with a config as it was published, changed."""
    folder = twin("nomic_bert")[1].folder

    def make(**changes):
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        record = json.loads((folder / "config.json").read_text())
        own = {name: record[of] for name, of in SPELLINGS.items() if of in record}
        record |= own | SWITCHES | {"auto_map": CODE} | changes
        (tmp_path / "config.json").write_text(json.dumps(record))
        for name in ("configuration", "modeling"):
            file = tmp_path / f"{name}_hf_nomic_bert.py"
            file.write_text("raise SystemExit('run')")
        return str(tmp_path)

    return make


def test_a_published_folder_is_what_transformers_has_of_it(twin, published, caplog):
    plain, found = twin("nomic_bert")[1], load_model(published())
    assert found.spec == plain.spec
    want, got = dict(flatten(plain.params)), dict(flatten(found.params))
    assert want.keys() == got.keys()
    assert all((want[path] == got[path]).all() for path in want)
    assert "hf_nomic_bert.NomicBertForPreTraining) is not run" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_embd", 31, "'n_embd' is 31; only 32 is supported"),
        ("rotary_emb_fraction", 0.5, "'rotary_emb_fraction' is 0.5; only 1.0 is"),
        ("rotary_scaling_factor", 2, "'rotary_scaling_factor' is 2; it is not known"),
        ("rotary_emb_base", 10000, "rotary_emb_base as 10000 and as 1"),
        ("moe_top_k", 2, "'moe_top_k' is 2; it is not known, and the code"),
        ("auto_map", {"AutoModel": "my.Model"}, "auto_map.*never run here"),
    ],
)
def test_what_that_code_would_do_otherwise_is_refused(published, name, value, message):
    with pytest.raises(CheckpointError, match=message):
        read_spec(published(**{name: value}))


def test_a_class_of_the_same_name_says_nothing(twin, tmp_path):
    """As gte-Qwen2's Qwen2Model, which attends both ways; its config does not say."""
    record = json.loads((twin("qwen2")[1].folder / "config.json").read_text())
    record["auto_map"] = {"AutoModel": "modeling_qwen.Qwen2Model"}
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"auto_map.*never run here"):
        read_spec(str(tmp_path))
