"""Loading and saving folders: every layout comes in, every damage is refused."""

import copy
import json
import os
import pickle
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import flatten, load_model, save_model

from .twins import TWINS, VOCABULARY, auto_class, plain_attention, twin_states

TOKENS = np.random.default_rng(3).integers(3, VOCABULARY, (2, 9))


@pytest.fixture
def folder(twin, tmp_path):
    """A copy of a saved llama, to be damaged."""
    _, model = twin("llama")
    return Path(shutil.copytree(model.folder, tmp_path / "llama"))


def equal(a, b) -> bool:
    """Whether two parameter pytrees are equal, bit by bit."""
    a, b = dict(flatten(a)), dict(flatten(b))
    return a.keys() == b.keys() and all(
        a[path].dtype == b[path].dtype and np.array_equal(a[path], b[path])
        for path in a
    )


def rewrite(folder: Path, change) -> None:
    """Change the tensors of model.safetensors."""
    file = folder / "model.safetensors"
    tensors = change(load_file(file))
    save_file(tensors, file, metadata={"format": "pt"})


def rewrite_config(folder: Path, **changes) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    config = {key: value for key, value in config.items() if value is not None}
    file.write_text(json.dumps(config))


# --- there and back


@pytest.mark.parametrize("name", TWINS)
def test_saved_models_are_what_transformers_reads(twin, tmp_path, name):
    """save_model is the inverse of load_model, for us and for transformers."""
    theirs, model = twin(name)
    folder = save_model(
        tmp_path / name, model.params, model.spec, theirs.config, dtype="float32"
    )
    again = load_model(str(folder))
    assert again.spec == model.spec
    assert equal(again.params, model.params)
    back, info = auto_class(TWINS[name][0]).from_pretrained(
        folder,
        output_loading_info=True,
        attn_implementation=plain_attention(theirs.config),
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    mask = np.ones(TOKENS.shape, bool)
    np.testing.assert_array_equal(
        twin_states(back.eval(), TOKENS, mask)[1], twin_states(theirs, TOKENS, mask)[1]
    )


def test_saving_replaces_a_folder_and_leaves_nothing_behind(twin, tmp_path):
    theirs, model = twin("llama")
    for scale in (1.0, 2.0):
        params = jax.tree.map(lambda leaf: scale * leaf, model.params)  # noqa: B023
        save_model(tmp_path / "m", params, model.spec, theirs.config, dtype="bfloat16")
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == ["config.json", "m", "model.safetensors"]
    embed = load_model(str(tmp_path / "m")).params["embed"]
    twice = (2 * model.params["embed"]).astype(jnp.bfloat16)
    assert np.array_equal(embed, twice.astype(jnp.float32))
    assert json.loads((tmp_path / "m/config.json").read_text())["dtype"] == "bfloat16"
    assert theirs.config.dtype != "bfloat16"


def test_saving_refuses_foreign_parameters(twin, tmp_path):
    theirs, model = twin("llama")
    params = {k: v for k, v in model.params.items() if k != "embed"}
    with pytest.raises(CheckpointError, match="not the parameters of the spec"):
        save_model(tmp_path / "m", params, model.spec, theirs.config, dtype="float32")
    assert list(tmp_path.iterdir()) == []


# --- layouts


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "phi3", "bert"])
def test_shards_and_torch_files(twin, tmp_path, name):
    theirs, model = twin(name)
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert equal(load_model(str(tmp_path / "shards")).params, model.params)

    state = {k: v for k, v in theirs.state_dict().items()}
    for zipped in (True, False):
        folder = tmp_path / f"torch{zipped}"
        folder.mkdir()
        shutil.copy(model.folder / "config.json", folder)
        torch.save(
            state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
        )
        assert equal(load_model(str(folder)).params, model.params)

    folder = tmp_path / "torch_shards"
    folder.mkdir()
    shutil.copy(model.folder / "config.json", folder)
    names = sorted(state)
    files = {name: f"pytorch_model-{i % 3}-of-3.bin" for i, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: state[name] for name in names if files[name] == file}
        torch.save(part, folder / file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert equal(load_model(str(folder)).params, model.params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("layout", ["safetensors", "bin"])
def test_half_precision_files(twin, tmp_path, dtype, layout):
    theirs, model = twin("qwen3")
    kind = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    state = {k: v.to(getattr(torch, dtype)) for k, v in theirs.state_dict().items()}
    shutil.copy(model.folder / "config.json", tmp_path)
    if layout == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        from safetensors.torch import save_file as save_torch

        save_torch(state, tmp_path / "model.safetensors")
    rounded = jax.tree.map(lambda x: np.asarray(x).astype(kind), model.params)
    same = load_model(str(tmp_path), dtype=dtype)
    assert equal(same.params, rounded)
    wide = load_model(str(tmp_path))
    assert equal(wide.params, jax.tree.map(lambda x: x.astype(np.float32), rounded))
    assert same.fingerprint != wide.fingerprint


BASES = ["llama", "gpt2", "gpt_neox", "opt_350m", "gemma3", "bert", "roberta"]


@pytest.mark.parametrize("name", BASES)
def test_base_models_without_prefix_and_head(twin, tmp_path, name):
    """As embedding models are saved: the config may still name the full model."""
    theirs, model = twin(name)
    architectures = list(theirs.config.architectures)
    copy.deepcopy(theirs.base_model).save_pretrained(tmp_path)
    bare = load_model(str(tmp_path))
    assert bare.spec.head is None
    wanted = {k: v for k, v in model.params.items() if not k.startswith("head")}
    wanted.pop("embed_out", None) if name != "opt_350m" else None
    assert equal(bare.params, wanted)
    rewrite_config(tmp_path, architectures=architectures)
    full = load_model(str(tmp_path))
    # A tied head needs no tensor of its own; any other is absent.
    linear = model.spec.tied and model.spec.causal
    assert full.spec.head == ("linear" if linear else None)
    assert equal(full.params, wanted)


def test_a_classifier_on_top_is_no_part_of_the_states(twin, tmp_path):
    theirs, model = twin("qwen2")
    classifier = transformers.Qwen2ForSequenceClassification(theirs.config)
    classifier.model.load_state_dict(theirs.model.state_dict())
    classifier.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.spec.head is None
    assert np.array_equal(loaded.params["embed"], model.params["embed"])


def test_tied_heads_may_be_stored_but_must_be_equal(twin, tmp_path):
    _, model = twin("gpt2")
    folder = Path(shutil.copytree(model.folder, tmp_path / "gpt2"))
    embed = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    rewrite(folder, lambda t: t | {"lm_head.weight": embed})
    assert equal(load_model(str(folder)).params, model.params)
    rewrite(folder, lambda t: t | {"lm_head.weight": embed + 1})
    with pytest.raises(CheckpointError, match=r"ties the output head.*lm_head\.weight"):
        load_model(str(folder))


# --- fingerprints


def test_fingerprint_changes_with_weights_config_and_dtype(folder):
    first = load_model(str(folder)).fingerprint
    assert first["model"] == "llama"
    assert first["revision"] is None
    assert load_model(str(folder)).fingerprint == first
    assert load_model(str(folder), dtype="bfloat16").fingerprint["dtype"] == "bfloat16"
    rewrite_config(folder, rms_norm_eps=1e-3)
    second = load_model(str(folder)).fingerprint
    assert {k for k in first if first[k] != second[k]} == {"config"}
    rewrite(folder, lambda t: {k: v * 1.5 for k, v in t.items()})
    third = load_model(str(folder)).fingerprint
    assert {k for k in first if second[k] != third[k]} == {"weights"}


# --- damage


def damage_nothing(folder):
    rewrite_config(folder, transformers_version="4.40.0")


def drop_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def lfs_pointer(folder):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(text)


def no_bytes(folder):
    (folder / "model.safetensors").write_bytes(b"")


def damaged_torch(folder):
    drop_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 no archive")


def nested_torch(folder):
    drop_weights(folder)
    torch.save({"model": {"w": torch.ones(2)}}, folder / "pytorch_model.bin")


def missing_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-1-of-2.safetensors")
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))


def index_elsewhere(folder):
    drop_weights(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))


def damaged_index(folder):
    drop_weights(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ')


def tensor(name, value):
    return lambda folder: rewrite(folder, lambda t: t | {name: value})


def without(name):
    return lambda folder: rewrite(
        folder, lambda t: {k: v for k, v in t.items() if k != name}
    )


def retyped(name, kind):
    return lambda folder: rewrite(folder, lambda t: t | {name: t[name].astype(kind)})


def config(**changes):
    return lambda folder: rewrite_config(folder, **changes)


Q = "model.layers.1.self_attn.q_proj.weight"
ONES = np.ones((48, 32), np.float32)
DAMAGES = {
    "no weights": (drop_weights, r"has no weights: expected model\.safetensors"),
    "cut file": (cut_weights, r"model\.safetensors is damaged or incomplete"),
    "empty file": (no_bytes, r"model\.safetensors is damaged or incomplete"),
    "lfs pointer": (lfs_pointer, r"Git LFS pointer.*git lfs pull"),
    "damaged bin": (damaged_torch, r"pytorch_model\.bin is damaged"),
    "nested bin": (nested_torch, r"flat dict of tensors.*state_dict"),
    "missing shard": (missing_shard, r"shards that are missing.*model-2-of-2"),
    "index elsewhere": (index_elsewhere, r"must name files beside it"),
    "damaged index": (damaged_index, r"index\.json is damaged"),
    "extra tensor": (
        tensor("model.layers.0.extra", ONES),
        r"'model\.layers\.0\.extra'"
        r" \[48, 32\] matches no rule of family 'llama'",
    ),
    "extra layer": (
        tensor(Q.replace("1", "7"), ONES),
        r"is layer 7, but the config has 3",
    ),
    "bias not in config": (
        tensor(Q.replace("weight", "bias"), ONES[:, 0]),
        r"config says this model does not have",
    ),
    "set twice": (tensor(Q.removeprefix("model."), ONES), r"sets 'layers/q/kernel' tw"),
    "missing tensor": (without(Q), r"1 parameters .* no tensor: layers/q/kernel\[1\]"),
    "missing head": (without("lm_head.weight"), r"no tensor: head/kernel"),
    "wrong shape": (
        tensor(Q, ONES[:40]),
        r"q_proj.*\[40, 32\] has the wrong shape: "
        r"it gives \[\(32, 40\)\], the config needs \[\(32, 48\)\]",
    ),
    "integers": (retyped(Q, np.int8), r"is I8, expected float32.*Quantised"),
    "other model": (config(num_hidden_layers=4), r"9 parameters of the config have no"),
    "other family": (config(model_type="olmo2"), r"names the architecture LlamaForCau"),
    "other family, unnamed": (
        config(model_type="olmo2", architectures=None),
        r"input_layernorm.* matches no rule of family 'olmo2'",
    ),
    "unknown family": (
        config(model_type="mamba"),
        r"'mamba' is not supported by the JAX engine; supp",
    ),
    "no family": (config(model_type=None), r"names no model_type"),
    "bad value": (config(hidden_size="wide"), r"not a valid llama config"),
    "bad rope": (config(rope_parameters={"rope_type": "llama3"}), r"not a valid llama"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(folder, name):
    change, message = DAMAGES[name]
    change(folder)
    with pytest.raises(CheckpointError, match=message):
        load_model(str(folder))


def test_a_harmless_change_is_not_refused(folder):
    damage_nothing(folder)
    load_model(str(folder))


def test_eight_bit_floats_are_quantised(folder):
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    file = folder / "model.safetensors"
    tensors = load_torch(file)
    tensors[Q] = tensors[Q].to(torch.float8_e4m3fn)
    save_torch(tensors, file)
    with pytest.raises(CheckpointError, match="is F8_E4M3, expected float32"):
        load_model(str(folder))


def test_values_beyond_float16(folder):
    rewrite(folder, lambda t: t | {Q: t[Q] * 1e6})
    load_model(str(folder), dtype="bfloat16")
    with pytest.raises(
        CheckpointError, match="too large for float16; load it as bfloat16"
    ):
        load_model(str(folder), dtype="float16")


class Harm:
    """Pickled, it would make a folder when it is read."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_malicious_pickle_is_not_run(folder, tmp_path):
    drop_weights(folder)
    target = tmp_path / "harm"
    torch.save({"w": Harm(target)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than weights, which is nev"):
        load_model(str(folder))
    assert not target.exists()
    # The file is a working attack: read without care, it does its harm.
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert target.exists()


def test_a_plain_pickle_is_not_run(folder, tmp_path):
    drop_weights(folder)
    target = tmp_path / "harm"
    with (folder / "pytorch_model.bin").open("wb") as stream:
        pickle.dump({"w": Harm(target)}, stream)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        load_model(str(folder))
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such/folder/here", "neither a folder here nor a hub id"),
        ("weights.safetensors", "neither a folder here nor a hub id"),
    ],
)
def test_names_that_are_nothing(name, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(name)


def test_an_empty_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_model(str(tmp_path))


def touch(*names):
    def make(folder):
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"")

    return make


OTHER_FOLDERS = {
    "gguf": (
        touch("model-Q4_K_M.gguf", "README.md"),
        r"holds GGUF weights.*gguf_file='model-Q4_K_M\.gguf'\)\.save_pretrained",
    ),
    "authors' format": (
        touch("params.json", "consolidated.00.pth"),
        r"but params\.json: weights in the format of the model's auth",
    ),
    "diffusion": (touch("model_index.json", "unet/config.json"), "a diffusion pipelin"),
    "runs of a trainer": (
        touch("checkpoint-50/config.json", "trainer_state.json"),
        r"its folders checkpoint-50 have one; name one of them",
    ),
    "weights alone": (touch("model.safetensors"), r"but model\.safetensors; fetch con"),
    "empty": (touch(), r"is it a model folder\? Name one with config\.json"),
}


@pytest.mark.parametrize("name", OTHER_FOLDERS)
def test_folders_that_are_something_else(tmp_path, name):
    make, message = OTHER_FOLDERS[name]
    make(tmp_path)
    with pytest.raises(CheckpointError, match=f"has no config\\.json.*{message}"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["tf_model.h5", "flax_model.msgpack", "model.fp16.safetensors", "x.gguf"]
)
def test_weights_under_other_names_are_not_read(folder, name):
    drop_weights(folder)
    (folder / name).write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=rf"has no weights: expected.*found {name}"
    ):
        load_model(str(folder))


def test_which_of_several_weight_files_is_read(twin, folder):
    """One safetensors file before shards, safetensors before .bin, as transformers."""
    _, model = twin("llama")
    wrong = {"model.embed_tokens.weight": torch.zeros(61, 32)}
    torch.save(wrong, folder / "pytorch_model.bin")
    save_file({"w": ONES}, folder / "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"weight_map": {"w": "model-00001-of-00001.safetensors"}})
    )
    save_file({"w": ONES}, folder / "model.fp16.safetensors")
    assert equal(load_model(str(folder)).params, model.params)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    embed = theirs.model.embed_tokens.weight.detach().numpy()
    assert np.array_equal(embed, model.params["embed"])


def test_one_tensor_in_two_shards(folder):
    tensors = load_file(folder / "model.safetensors")
    drop_weights(folder)
    for number in (1, 2):
        part = tensors if number == 1 else {Q: tensors[Q] + 1}
        save_file(part, folder / f"model-{number}-of-2.safetensors")
    files = dict.fromkeys(tensors, "model-1-of-2.safetensors")
    files["other"] = "model-2-of-2.safetensors"
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    with pytest.raises(CheckpointError, match=r"q_proj.* sets 'layers/q/kernel' twice"):
        load_model(str(folder))


def test_unknown_dtype(folder):
    with pytest.raises(CheckpointError, match=r"dtype must be one of.*'int4'"):
        load_model(str(folder), dtype="int4")
