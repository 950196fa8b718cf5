"""Documents to windows: parts, chunks, held-out tokens and steps over them."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from helix_jax.models import family_of
from helix_jax.training import (
    cross_entropy,
    documents,
    encode_documents,
    held_out_loss,
    held_out_windows,
    init_state,
    make_optimizer,
    make_step,
    read_documents,
    run_steps,
    trigram_loss,
)
from helix_jax.training.hf_config import hf_config
from helix_jax.types import Text

SIZES = {"width": 8, "num_layers": 1, "num_heads": 2, "ffn_width": 8, "context": 4}


class Letters:
    """Ids of letters behind a 0, as a tokenizer has them."""

    def __call__(self, texts, truncation, verbose):
        assert not truncation
        return {"input_ids": [[0, *(ord(c) - 96 for c in text)] for text in texts]}

    def batch_decode(self, rows, **_):
        return ["".join(chr(96 + i) for i in row if i) for row in rows]


def corpus_of(texts):
    return SimpleNamespace(read=lambda split: iter(texts if split != "none" else []))


def test_parts_are_disjoint_whole_documents_and_cover_the_text():
    texts = [Text(f"d{i // 2}#{i}", f"text {i}", None) for i in range(120)]
    corpus = corpus_of(texts)
    parts = [list(read_documents(corpus, "fit", part=p, parts=3)) for p in range(3)]
    assert sorted(text for part in parts for text in part) == sorted(
        text.text for text in texts
    )
    assert min(map(len, parts)) > 20
    documents_of = [{int(t.split()[1]) // 2 for t in part} for part in parts]
    assert not documents_of[0] & documents_of[1]
    assert len(list(read_documents(corpus, "test", part=1, parts=3))) == 120


def test_texts_are_encoded_in_order_whatever_the_chunk(monkeypatch):
    monkeypatch.setattr(documents, "_AT_ONCE", 3)
    assert encode_documents(Letters(), iter(["ab", "c", "", "d"])) == [
        [0, 1, 2],
        [0, 3],
        [0],
        [0, 4],
    ]
    assert encode_documents(Letters(), []) == []


def test_held_out_windows_hold_so_many_tokens_and_count_their_characters():
    texts = ["abc", "de", "fghij", "k"]
    windows, characters = held_out_windows(Letters(), texts, context=3, tokens=7)
    stream = []
    for place in np.random.default_rng(0).permutation(4):
        stream += [0, *(ord(c) - 96 for c in texts[place])]
        if len(stream) > 7:
            break
    count = (len(stream) - 1) // 3
    assert windows.tolist() == [stream[3 * i : 3 * i + 4] for i in range(count)]
    assert characters == np.count_nonzero(windows[:, 1:])


@pytest.fixture(scope="module")
def model():
    config = hf_config("llama", vocab_size=12, **SIZES)
    spec = family_of("llama").spec_from_hf(config.to_dict())
    return spec, make_optimizer(learning_rate=0.1, steps=5, warmup_steps=1)


@pytest.mark.slow
def test_steps_go_on_from_any_state_to_the_same_weights(model):
    spec, optimizer = model
    windows = np.random.default_rng(0).integers(0, 12, (7, 5)).astype(np.int32)
    step, settings = make_step(spec, optimizer), {"steps": 5, "batch": 3, "seed": 1}

    def begin():
        return init_state(jax.random.key(0), spec, optimizer)

    whole = [
        (done, jax.tree.map(np.array, state), float(info["loss_nats"]))
        for done, state, info in run_steps(step, begin(), windows, **settings)
    ]
    assert [done for done, *_ in whole] == [1, 2, 3, 4, 5]
    middle = jax.tree.map(jax.numpy.asarray, whole[1][1])
    resumed = [
        (done, jax.tree.map(np.array, state), float(info["loss_nats"]))
        for done, state, info in run_steps(step, middle, windows, **settings)
    ]
    assert [(done, loss) for done, _, loss in resumed] == [
        (done, loss) for done, _, loss in whole[2:]
    ]
    jax.tree.map(np.testing.assert_array_equal, resumed[-1][1], whole[-1][1])


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_held_out_loss_is_that_of_all_windows(model, batch):
    spec, optimizer = model
    windows = np.random.default_rng(0).integers(0, 12, (7, 5)).astype(np.int32)
    params = init_state(jax.random.key(0), spec, optimizer).params
    loss = held_out_loss(params, spec, windows, batch=batch)
    assert loss == pytest.approx(float(cross_entropy(params, spec, windows)), abs=1e-6)


def test_the_trigram_knows_what_it_has_read():
    repeated = np.tile(np.arange(6, dtype=np.int32), (40, 1))
    strange = np.random.default_rng(0).integers(0, 12, (40, 6)).astype(np.int32)
    known = trigram_loss(repeated, repeated, vocab_size=12)
    assert (
        known < 0.2 < np.log(12) - 0.5 < trigram_loss(repeated, strange, vocab_size=12)
    )
