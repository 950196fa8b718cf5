"""The torch engine: every native family as the JAX engine has it, and what is refused.

Tolerance: 1e-5 of the largest number of a layer. Observed: below 2e-6.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from helix_jax.errors import CheckpointError
from helix_jax.models import load_model
from helix_jax.models.engines import choose_engine, load_model_by, read_spec_by
from helix_jax.models.layers import normalise
from helix_jax.models.torch_engine import load_torch_model, torch_states
from helix_jax.models.torch_engine.spec import UNBOUNDED

from ..conftest import slow_but
from ..without import without
from .test_parity import all_states, padded, random_tokens
from .twins import QUICK, TWINS, build_twin

RELATIVE = 1e-5
LENGTHS = (12, 7, 1, 4)


@pytest.mark.parametrize("name", slow_but(QUICK, TWINS))
def test_states_equal_those_of_the_engine_jax(twin, name):
    """Every layer, raw and after the final norm, beside padding."""
    _, ours = twin(name)
    model = load_torch_model(str(ours.folder))
    assert model.spec.width == ours.spec.width
    assert model.spec.num_layers == ours.spec.num_layers
    assert model.spec.max_tokens in (ours.spec.max_tokens, UNBOUNDED)
    mask = padded("right", LENGTHS)
    tokens = random_tokens(ours, mask, seed=3)
    raw = all_states(ours, tokens, mask).hidden
    normed = raw
    if ours.spec.final_norm:
        normed = normalise(ours.params.get("final_norm", {}), raw, ours.spec)
    layers = range(ours.spec.num_layers + 1)
    for final_norm, want in ((False, raw), (True, normed)):
        got = torch_states(
            model, tokens, np.array(LENGTHS), layers=layers, final_norm=final_norm
        )
        for layer in layers:
            own, other = got[layer][mask], np.asarray(want[layer])[mask]
            worst = np.abs(own - other).max() / np.abs(other).max()
            assert worst < RELATIVE, f"layer {layer}, final_norm {final_norm}"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A folder with a random llama."""
    folder = tmp_path_factory.mktemp("engine") / "llama"
    build_twin("llama").save_pretrained(folder)
    return folder


@pytest.fixture
def copy(llama, tmp_path):
    """A copy of it that may be changed."""
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def rewrite(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_record_says_which_engine_and_versions(llama):
    jax, by_torch = load_model(str(llama)), load_torch_model(str(llama))
    assert "engine" not in jax.fingerprint
    assert by_torch.fingerprint == jax.fingerprint | {
        "engine": {
            "name": "torch",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
    }


def test_low_precision_is_computed_as_asked(llama):
    tokens, lengths = np.array([[3, 9, 20, 31]]), np.array([4])
    whole, half = (
        torch_states(load_torch_model(str(llama), dtype=d), tokens, lengths, layers=[3])
        for d in ("float32", "bfloat16")
    )
    error = np.abs(whole - half).max() / np.abs(whole).max()
    assert 1e-4 < error < 0.05  # bfloat16 has 8 bits


def test_auto_takes_jax_for_native_families_and_torch_for_others(copy, caplog):
    assert choose_engine("auto", str(copy)) == ("jax", None)
    rewrite(copy, quantization_config={"quant_method": "fp8"})
    assert choose_engine("auto", str(copy)) == ("torch", "its weights are quantised.")
    with pytest.raises(CheckpointError, match=r"quantised.*use --engine=torch"):
        read_spec_by("jax", str(copy))
    config = transformers.RwkvConfig(
        vocab_size=61, hidden_size=16, num_hidden_layers=2, context_length=32
    )
    transformers.AutoModel.from_config(config).save_pretrained(copy / "rwkv")
    with pytest.raises(CheckpointError, match="'rwkv' is not supported by the JAX eng"):
        load_model_by("jax", str(copy / "rwkv"))
    model = load_model_by("auto", str(copy / "rwkv"))
    assert (
        "rwkv: run by the torch engine, since its model_type is 'rwkv', which is not "
        "native."
    ) in caplog.messages
    assert model.spec == read_spec_by("auto", str(copy / "rwkv"))
    with pytest.raises(CheckpointError, match="engine must be one of"):
        choose_engine("tensorflow", str(copy))


def test_auto_takes_torch_for_settings_that_a_native_family_does_not_have(copy, caplog):
    """As transformers runs them: is_causal False looks both ways. Observed: 0."""
    causal, inputs = transformers.AutoModel.from_pretrained(copy), [[3, 9, 20, 31]]
    rewrite(copy, is_causal=False)
    assert read_spec_by("auto", str(copy)).family == "llama"
    model = load_model_by("auto", str(copy))
    assert "run by the torch engine, since llama: config attrib" in caplog.messages[-1]
    assert "'is_causal': False" in caplog.messages[-1]
    got = torch_states(model, np.array(inputs), np.array([4]), layers=[3])[0, 0]
    theirs = transformers.AutoModel.from_pretrained(copy)
    for own in (theirs, causal):
        with torch.no_grad():
            want = own(torch.tensor(inputs)).last_hidden_state[0].numpy()
        same = np.allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())
        assert same == (own is theirs)


def test_auto_tells_both_reasons_where_neither_engine_runs_a_model(copy):
    rewrite(copy, is_causal=False, architectures=["MyModel"])
    for engine, message in (
        ("auto", "^(?!.*either).*names the architecture MyModel"),
        ("torch", "^(?!.*either).*names the architecture MyModel"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_spec_by(engine, str(copy))
    changes = {"is_causal": False, "architectures": None, "rope_parameters": None}
    rewrite(copy, **changes | {"hidden_act": "my_act"})
    with pytest.raises(
        CheckpointError, match=r"my_act.*JAX engine does not run it eit"
    ):
        read_spec_by("auto", str(copy))
    rewrite(copy, hidden_act="silu", auto_map={"AutoModel": "mine.Model"})
    with pytest.raises(CheckpointError, match=r"its authors' code.*never run here"):
        read_spec_by("auto", str(copy))


def test_code_of_a_model_is_never_run(copy):
    rewrite(copy, model_type="llama-mine", auto_map={"AutoModel": "mine.Model"})
    (copy / "mine.py").write_text("raise SystemExit('run')")
    with pytest.raises(CheckpointError, match=r"its authors' code.*never run here"):
        load_torch_model(str(copy))
    rewrite(copy, auto_map=None)
    with pytest.raises(CheckpointError, match="'llama-mine' is not one of transformer"):
        load_torch_model(str(copy))


def test_tensors_of_blocks_are_never_left_out(copy):
    """As those of bert's relative positions, which transformers has dropped."""
    tensors = load_file(copy / "model.safetensors")
    more = {"model.layers.1.self_attn.distance.weight": np.ones(3, np.float32)}
    file = copy / "model.safetensors"
    save_file(tensors | more, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors of its blocks unread: mod"):
        load_torch_model(str(copy))
    other = {"decoder.layers.1.up.weight": np.ones(3, np.float32)}  # a part not run
    save_file(tensors | other, file, metadata={"format": "pt"})
    load_torch_model(str(copy))


def test_parameters_are_never_left_at_random(copy):
    tensors = load_file(copy / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    rest = {name: value for name, value in tensors.items() if name != lost}
    save_file(rest, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 parameters.*layers.1.mlp.up_proj"):
        load_torch_model(str(copy))


def test_frequencies_never_grow_with_what_was_read(copy):
    """Dynamic ones do beyond the context, and transformers would keep them so."""
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    rewrite(copy, rope_parameters=rope, max_position_embeddings=8)
    model = load_torch_model(str(copy))
    tokens, lengths = np.full((2, 12), 7), np.array([8, 3])
    before = torch_states(model, tokens, lengths, layers=[3])
    with pytest.raises(ValueError, match="a context of 8 tokens, got a text of 12"):
        torch_states(model, tokens, np.array([12, 3]), layers=[3])
    assert np.isfinite(before).all()
    again = torch_states(model, tokens, lengths, layers=[3])
    np.testing.assert_array_equal(before, again)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    rewrite(copy, rope_parameters=plain)
    other = torch_states(load_torch_model(str(copy)), tokens, lengths, layers=[3])
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            before[0, row, :length], other[0, row, :length], atol=1e-5
        )


def test_packed_weights_need_their_package(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert choose_engine("auto", str(tmp_path)).engine == "torch"
    with pytest.raises(CheckpointError, match=r"m\.gguf (is GGUF.*pip install gguf|)"):
        load_torch_model(str(tmp_path))
    (tmp_path / "n.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"several GGUF files \(m.gguf, n.gguf\)"):
        load_torch_model(str(tmp_path))


def test_a_text_beside_padding_is_as_alone_where_the_model_would_see_padding(tmp_path):
    """fnet mixes all places, so texts of one length are run at a time."""
    config = transformers.FNetConfig(
        vocab_size=61, hidden_size=16, num_hidden_layers=2, intermediate_size=24
    )
    theirs = transformers.AutoModel.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    model = load_torch_model(str(tmp_path))
    assert not model.ending.padded
    tokens = np.random.default_rng(0).integers(5, 61, (3, 6))
    lengths = np.array([6, 2, 4])
    got = torch_states(model, tokens, lengths, layers=[2])[0]
    for row, length in enumerate(lengths):
        with torch.no_grad():
            alone = theirs(torch.tensor(tokens[row : row + 1, :length]))
        want = alone.last_hidden_state[0].numpy()
        np.testing.assert_allclose(got[row, :length], want, atol=1e-5)


WITHOUT_TORCH = (
    without("torch")
    + """
import importlib, json, pathlib, pkgutil
import helix_jax.activations, helix_jax.runs
from helix_jax.errors import CheckpointError
from helix_jax.models import load_tokenizer
from helix_jax.models.engines import load_model_by
from helix_jax.types import Text
for name in ("activations", "models"):
    package = importlib.import_module(f"helix_jax.{name}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
model, tokenizer = load_model_by("auto", "pebble-llama"), load_tokenizer("pebble-llama")
folder = pathlib.Path(sys.argv[1])
texts = [Text("a", "Some words."), Text("b", "More of them.")]
store = helix_jax.activations.extract(
    model, tokenizer, texts, folder / "store", text_fingerprint="x", progress=False
)
print(store.read().shape)
for config in ({"model_type": "mamba"}, {"model_type": "llama", "is_causal": False}):
    (folder / "config.json").write_text(json.dumps(config))
    for engine in ("auto", "torch"):
        try:
            load_model_by(engine, str(folder))
        except CheckpointError as error:
            print(error)
"""
)


@pytest.mark.slow
def test_all_but_this_engine_works_without_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "PyTorch was not found" not in done.stderr
    shape, *said = done.stdout.splitlines()
    assert shape == "(2, 128)"
    assert "not run by the JAX engine, since its model_type is 'mamba'" in said[0]
    assert "not run by the JAX engine, since llama: config attributes {'is_c" in said[2]
    assert "(--engine=torch), which is not installed" in said[2]
    assert len(said) == 4
    assert all("pip install 'helix_jax[torch]'" in one for one in said)
