"""Searches, and texts written, through a service: as in the clear."""

import numpy as np
import pytest

from experiments import remote_generation
from helix_jax.alignment import AffineMap, save_map
from helix_jax.generation import generate, stitch
from helix_jax.generation.stitch import native
from helix_jax.models import load_model, load_tokenizer
from helix_jax.private.search import save_index
from helix_jax.reports import load_blocks

from ..experiments.told import require_answered
from .services import serving

ROWS, WIDTH = 300, 16
MODEL = "pebble-llama"


@pytest.fixture(scope="module")
def vectors():
    found = np.random.default_rng(11).normal(size=(ROWS, WIDTH))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def searched(vectors, tmp_path_factory):
    """A service with two indexes of the same rows, and an output head."""
    pytest.importorskip("Pyfhel")
    folder = tmp_path_factory.mktemp("indexes")
    texts = [f"text number {i} é" * (i % 3) for i in range(ROWS)]
    about = {"model": {"name": "made up"}, "texts": texts}
    save_index(folder / "scores", vectors, **about)
    save_index(
        folder / "clusters", vectors, clusters=True, block_rows=32, probes=4, **about
    )
    words = (
        f"--indexes=flat={folder / 'scores'},parted={folder / 'clusters'}",
        f"--heads=words=lm_head:{MODEL}",
        f"--config={folder / 'provider.toml'}",
    )
    (folder / "provider.toml").write_text(
        '[heads.words]\npath = "unused"\npolicy = "logits"\ninput_norm = 200.0\n'
    )
    with serving(folder / "state", *words) as one:
        yield one


@pytest.mark.parametrize("index", ["flat", "parted"])
@pytest.mark.slow
def test_hits_are_those_of_the_clear_search(searched, vectors, index):
    x = vectors[17] + 0.01
    with searched.connect() as provider:
        hits = provider.search(index, x, k=3)
        found = provider.read(index, hits[0])
        spent = provider.account()["indexes"][index]
    assert found.id == "17"
    assert found.text == "text number 17 é" * 2
    assert hits[0].score == pytest.approx(x @ vectors[17] / np.linalg.norm(x), abs=0.01)
    if index == "flat":
        best = np.sort(vectors @ x / np.linalg.norm(x))[::-1][:3]
        np.testing.assert_allclose([hit.score for hit in hits], best, atol=0.01)
    assert spent["bits"] > 0
    assert spent["text_bits"] > 0


@pytest.mark.slow
def test_a_text_is_written_as_in_the_clear(searched):
    model, tokenizer = load_model(MODEL), load_tokenizer(MODEL)
    width = model.spec.width
    same = AffineMap(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    parts, tokenizers = stitch(model, model, same), (tokenizer, tokenizer)
    prompt = "Return the indices of"
    (clear,) = generate(parts, *tokenizers, [prompt], max_new_tokens=3)
    with searched.connect() as provider:
        found = provider.generate(
            "words", parts.source, parts.map, tokenizers, prompt, max_new_tokens=3
        )
        with pytest.raises(ValueError, match="no heads 'other'"):
            provider.generate("other", parts.source, same, tokenizers, prompt)
    assert found.tokens == clear.tokens


@pytest.mark.slow
def test_the_program_writes_what_the_clear_text_is(searched, tmp_path):
    model = load_model(MODEL)
    width = model.spec.width
    same = AffineMap(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    of = {"name": MODEL}
    save_map(tmp_path / "map", same, source=of, target=of, penalty=None, split="fit")
    flags = {"source": MODEL, "target_tokenizer": MODEL, "map": str(tmp_path / "map")}
    prompt = "Return the indices of"
    config = remote_generation.RemoteGenerationConfig(
        workdir=str(tmp_path / "w"),
        url=searched.url,
        plain_http=True,
        prompts=(prompt,),
        max_new_tokens=2,
        **flags,
    )
    summary = remote_generation.run(config)
    (clear,) = generate(
        native(model), *[load_tokenizer(MODEL)] * 2, [prompt], max_new_tokens=2
    )
    _, texts = load_blocks(tmp_path / "w")
    assert summary["remote/tokens"] == 2
    speed, bits = summary["remote/tokens_per_second"], summary["remote/spent_bits"]
    require_answered(tmp_path / "w", "2", f"{speed:.3g}", f"{bits:,.0f}")
    assert texts.items[0]["text"] == clear.text
