"""Folders of sentence-transformers: vectors equal to those of its own `encode`.

Tolerance: 1e-5 absolute, on vectors of unit length. Observed: below 5e-7.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from helix_jax.activations import Extraction, store_fingerprint
from helix_jax.activations.pooling import pool
from helix_jax.activations.recipe import choose_recipe, recipe_of, width_after
from helix_jax.errors import CheckpointError
from helix_jax.models import load_model, load_tokenizer
from helix_jax.models.engines import load_model_by
from helix_jax.models.sentence import POOLING_MODES
from helix_jax.types import Text

from ..hub_server import Repository, load_in_process, serve
from .made import WORDS, extracted, make_tokenizer

# Imported where it is used: for collecting tests it takes too long.
if importlib.util.find_spec("sentence_transformers") is None:
    pytest.skip("sentence-transformers is not installed", allow_module_level=True)

WRITTEN = ["the small cat sleeps", "  a  house ", " ".join(WORDS * 3), "Tree"]
TEXTS = [Text(f"t/{i}", text) for i, text in enumerate(WRITTEN)]
PROMPTS = {"query": "a red bird: ", "document": "old "}
AUTO = {"pooling": "auto", "max_tokens": None}


@pytest.fixture(scope="session")
def gemma(tmp_path_factory):
    """A folder like EmbeddingGemma's: both ways, mean, two dense, unit length."""
    from sentence_transformers import SentenceTransformer, models

    base, folder = (tmp_path_factory.mktemp("st") / name for name in ("base", "all"))
    config = transformers.Gemma3TextConfig(
        vocab_size=96,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=6,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
        use_bidirectional_attention=True,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    transformers.Gemma3TextModel(config).save_pretrained(base)
    make_tokenizer().save_pretrained(base)
    whole = SentenceTransformer(
        modules=[
            models.Transformer(str(base), max_seq_length=20),
            models.Pooling(16, "mean"),
            models.Dense(16, 40, bias=False, activation_function=torch.nn.Identity()),
            models.Dense(40, 12, activation_function=torch.nn.Tanh()),
            models.Normalize(),
        ],
        prompts=PROMPTS,
        device="cpu",
    )
    whole.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def loaded(gemma):
    return load_model(str(gemma)), load_tokenizer(str(gemma))


@pytest.fixture
def changed(gemma, tmp_path):
    """A copy of the folder with one of its JSON files edited."""

    def edit(file, change):
        folder = Path(shutil.copytree(gemma, tmp_path / "m"))
        record = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(change(record)))
        return folder

    return edit


def recipe_in(folder, model, **wanted):
    return choose_recipe(model.spec, folder, Extraction(**AUTO | wanted), name="m")


def vectors(model, tokenizer, path, texts=TEXTS, **options):
    store = extracted(model, tokenizer, texts, path, text_fingerprint="t", **options)
    return store.read(), store.fingerprint


def encode(folder, texts=WRITTEN, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(texts, **options)


@pytest.mark.parametrize("engine", ["jax", "torch"])
@pytest.mark.parametrize("name", ["", "query"])
@pytest.mark.slow
def test_a_folder_is_what_it_says(gemma, tmp_path, name, engine):
    model = load_model_by(engine, str(gemma))
    found, record = vectors(
        model, load_tokenizer(str(gemma)), tmp_path / "s", prompt_name=name, **AUTO
    )
    wanted = encode(gemma, prompt_name=name or None)
    assert found.shape == (4, 12)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert record["modules"] == ["dense identity 40", "dense tanh 12", "normalize"]
    assert (record["pooling"], record["max_tokens"]) == ("mean", 20)
    assert record.get("prompt", "") == PROMPTS.get(name, "")
    other = vectors(model, load_tokenizer(str(gemma)), tmp_path / "m", max_tokens=12)
    assert other[0].shape == (4, 16)
    assert not {"modules", "modules_weights", "prompt"} & set(other[1])


def test_a_transformer_in_a_folder_of_its_own(gemma, tmp_path, changed):
    """As older versions of sentence-transformers wrote it."""
    apart = {"path": "0_Transformer"}
    root = changed("modules.json", lambda all_: [all_[0] | apart, *all_[1:]])
    (root / "0_Transformer").mkdir()
    beside = ("modules.json", "config_sentence_transformers.json")
    for file in root.iterdir():
        if file.is_file() and file.name not in beside:
            file.rename(root / "0_Transformer" / file.name)
    model, tokenizer = load_model(str(root)), load_tokenizer(str(root))
    found, record = vectors(model, tokenizer, tmp_path / "s", **AUTO)
    np.testing.assert_allclose(found, encode(root), atol=1e-5)
    assert record["model"] == root.name
    assert record["modules"] == ["dense identity 40", "dense tanh 12", "normalize"]
    assert record["max_tokens"] == 20
    shutil.rmtree(root / "0_Transformer")
    with pytest.raises(CheckpointError, match=r"but modules.json.*in a subfolder"):
        load_model(str(root))


@pytest.mark.parametrize("name", ["minilm-l6", "mpnet-base"])
@pytest.mark.slow
def test_pretrained_sentence_encoders(real_model, tmp_path, name):
    folder = real_model(name)
    written = ["A cat sat on the mat.", "Hi.", " Crème brûlée ½ 你好 "]
    written += ["GREAT " * 300] if name == "minilm-l6" else []
    texts = [Text(f"t/{i}", text) for i, text in enumerate(written)]
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    found, record = vectors(model, tokenizer, tmp_path / "s", texts, **AUTO)
    np.testing.assert_allclose(found, encode(folder, written), atol=1e-5)
    assert record["modules"] == ["normalize"]
    assert record["max_tokens"] == {"minilm-l6": 256, "mpnet-base": 384}[name]


@pytest.mark.parametrize("options", [{"layers": (0,)}, {"final_norm": False}])
def test_what_follows_the_pooling_is_of_the_last_layer(loaded, options):
    recipe = recipe_of(loaded[0], Extraction(**AUTO | options))
    assert not recipe.steps
    assert "need the last layer after the final norm" in recipe.notes[0]


def test_what_is_left_out_is_said_once_a_store(loaded, caplog, tmp_path):
    vectors(*loaded, tmp_path / "s", pooling="auto", layers=(0,))
    said = [one for one in caplog.messages if "need the last layer after the" in one]
    assert len(said) == 1


def test_flags_before_the_folder(loaded):
    plain = recipe_of(loaded[0], Extraction(pooling="cls", max_tokens=None))
    assert plain[:-1] == ("cls", 512, "", (), (), {})
    assert "pass through Dense, Dense after pooling" in plain.notes[0]
    prompted = recipe_of(
        loaded[0], Extraction(pooling="cls", max_tokens=7, prompt_name="query")
    )
    assert prompted.record == {"prompt": PROMPTS["query"]}
    assert (
        recipe_of(loaded[0], Extraction(pooling="auto", max_tokens=7)).max_tokens == 7
    )


def test_another_folder_keeps_its_record(tiny):
    model, tokenizer = tiny
    old = store_fingerprint(model, tokenizer, text_fingerprint="t")
    new = store_fingerprint(model, tokenizer, Extraction(**AUTO), text_fingerprint="t")
    assert list(old.items()) == list(new.items())


def test_the_default_prompt(loaded, changed):
    def default(record):
        return record | {"default_prompt_name": "document"}

    folder = changed("config_sentence_transformers.json", default)
    recipe = recipe_in(folder, loaded[0])
    assert recipe.prompt == recipe.record["prompt"] == "old "
    assert width_after(16, recipe.steps) == 12


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_modes_of_pooling(loaded, changed, mode):
    from sentence_transformers.models import Pooling

    folder = changed(
        "1_Pooling/config.json",
        lambda _: {"embedding_dimension": 16, "pooling_mode": mode},
    )
    states = np.random.default_rng(0).normal(size=(3, 5, 16)).astype(np.float32)
    mask = np.arange(5)[None, :] < np.array([[5], [1], [3]])
    theirs = Pooling(16, mode)
    wanted = theirs(
        {
            "token_embeddings": torch.tensor(states),
            "attention_mask": torch.tensor(mask.astype(np.int64)),
        }
    )["sentence_embedding"]
    found = pool(states, mask, method=recipe_in(folder, loaded[0]).pooling)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_an_older_spelling_of_the_mode(loaded, changed):
    old = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": False}
    folder = changed(
        "1_Pooling/config.json", lambda _: old | {"pooling_mode_lasttoken": True}
    )
    assert recipe_in(folder, loaded[0]).pooling == "last"


def with_module(kind):
    return lambda modules: [*modules, {"path": "5", "type": kind}]


REFUSED = [
    (
        "modules.json",
        with_module("sentence_transformers.models.LayerNorm"),
        "has a module LayerNorm, which is not supported",
    ),
    ("modules.json", with_module("own.Head"), "has a module own.Head, which"),
    ("modules.json", lambda modules: modules[:1], "begins with Transformer; expected"),
    ("modules.json", lambda _: ["Dense"], "must be a list of modules"),
    (
        "1_Pooling/config.json",
        lambda record: record | {"pooling_mode": ["cls", "mean"]},
        "its pooling is 'cls', 'mean'; supported is one of",
    ),
    (
        "1_Pooling/config.json",
        lambda record: record | {"pooling_mode": "attention"},
        "its pooling is 'attention'",
    ),
    (
        "sentence_bert_config.json",
        lambda record: record | {"max_seq_length": -1},
        "max_seq_length is -1; expected a number of tokens",
    ),
    (
        "2_Dense/config.json",
        lambda record: record | {"activation_function": "own.Swish"},
        "'activation_function' is 'own.Swish'; supported are",
    ),
    (
        "2_Dense/config.json",
        lambda record: record | {"use_residual": True},
        "'use_residual' is True",
    ),
    (
        "2_Dense/config.json",
        lambda record: record | {"out_features": 41},
        r"must hold a linear layer with \['weight'\], 16 -> 41",
    ),
    (
        "4_Normalize/config.json",
        lambda record: record | {"module_input_name": "token_embeddings"},
        "'module_input_name' is 'token_embeddings'",
    ),
    (
        "sentence_bert_config.json",
        lambda record: record | {"do_lower_case": True},
        "do_lower_case is True, but the tokenizer itself keeps capitals",
    ),
    (
        "sentence_bert_config.json",
        lambda record: record | {"transformer_task": "fill-mask"},
        "'transformer_task' is 'fill-mask'",
    ),
    (
        "sentence_bert_config.json",
        lambda record: record | {"unheard_of": 1},
        "'unheard_of' is 1, which is unknown",
    ),
    (
        "config_sentence_transformers.json",
        lambda record: record | {"default_prompt_name": "passage"},
        "default_prompt_name one of the names",
    ),
]


@pytest.mark.parametrize(("file", "change", "message"), REFUSED)
def test_what_is_not_known_is_refused(loaded, changed, file, change, message):
    folder = changed(file, change)
    with pytest.raises(CheckpointError, match=message):
        recipe_in(folder, loaded[0])
    if "list" not in message:
        assert recipe_in(folder, loaded[0], pooling="mean").pooling == "mean"


def test_prompts_that_there_are_not(loaded, tiny, changed):
    with pytest.raises(CheckpointError, match="no prompt 'passage'; it has document, "):
        recipe_of(loaded[0], Extraction(**AUTO, prompt_name="passage"))
    with pytest.raises(CheckpointError, match="no prompt 'query'; it has none"):
        recipe_of(tiny[0], Extraction(**AUTO, prompt_name="query"))
    folder = changed(
        "1_Pooling/config.json", lambda one: one | {"include_prompt": False}
    )
    assert recipe_in(folder, loaded[0]).prompt == ""
    with pytest.raises(CheckpointError, match="leaves the tokens of its prompt"):
        recipe_in(folder, loaded[0], prompt_name="query")


_EXTRACT = """
import json, sys, tempfile
from helix_jax.activations import Extraction, extract
from helix_jax.models import load_model, load_tokenizer
from helix_jax.types import Text
for name, prompt in json.loads(sys.argv[1]):
    model, tokenizer = load_model(name), load_tokenizer(name)
    store = extract(
        model, tokenizer, [Text("t/0", "a red bird sleeps")], tempfile.mkdtemp(),
        Extraction(pooling="auto", max_tokens=None, prompt_name=prompt),
        text_fingerprint="t",
    )
    print("RECORD", json.dumps([store.read().tolist(), store.fingerprint["prompt"]]))
"""


@pytest.mark.slow
def test_modules_come_from_the_hub_with_the_model(gemma, tmp_path):
    """And nothing of the folders that hold the model in other formats."""
    commit = "c" * 40
    (gemma / "onnx").mkdir(exist_ok=True)
    (gemma / "onnx" / "model.onnx").write_bytes(b"not needed")
    repository = Repository({commit: gemma}, {"main": commit})
    with serve({"lab/sentences": repository}) as (endpoint, requests):
        asked = [("lab/sentences", "query"), (str(gemma), "query")]
        hub, local = load_in_process(_EXTRACT, endpoint, tmp_path / "home", asked)
        assert hub == local
        assert np.linalg.norm(hub[0]) == pytest.approx(1, abs=1e-6)
        fetched = {
            line.split("/resolve/")[-1] for line in requests if "resolve" in line
        }
        assert any(name.endswith("2_Dense/model.safetensors") for name in fetched)
        assert not any("onnx" in name for name in fetched)
        offline = load_in_process(
            _EXTRACT, endpoint, tmp_path / "home", asked[:1], offline=True
        )
        assert offline == [hub]
