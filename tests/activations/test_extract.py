"""Extraction against one forward pass a text, and what happens when things go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helix_jax.activations import (
    Extraction,
    length_ladder,
    open_store,
    store_fingerprint,
)
from helix_jax.activations.batching import batch_shapes
from helix_jax.activations.forward import pooled_states
from helix_jax.activations.window_texts import windows_written
from helix_jax.errors import CheckpointError, CorpusError, FingerprintError, StoreError
from helix_jax.fingerprint import fingerprint
from helix_jax.models import apply_model
from helix_jax.storage import open_folder
from helix_jax.types import Text

from .made import extracted, make_model, make_texts, make_tokenizer, store_bytes

TEXTS = make_texts(50)
LIMIT = 12  # two rungs of the ladder, to compile little


def run(model_and_tokenizer, texts, path, **options):
    options = {"window": 16, "max_tokens": LIMIT, **options}
    return extracted(*model_and_tokenizer, texts, path, **options)


def alone(model, tokenizer, texts, limit):
    """[layers + 1, T, D] of each text by itself, without padding or pooling."""
    forward = jax.jit(apply_model, static_argnames=("spec", "layers", "final_norm"))
    states = []
    for text in texts:
        ids = tokenizer(text.text, truncation=True, max_length=limit)["input_ids"]
        tokens = jnp.asarray([ids], jnp.int32)
        every = tuple(range(model.spec.num_layers + 1))
        output = forward(model.params, spec=model.spec, tokens=tokens, layers=every)
        states.append(np.asarray(output.hidden)[:, 0])
    return states


@pytest.fixture(scope="module")
def tiny_alone(tiny):
    """Rows of some texts, of three lengths, and their states."""
    lengths = [len(tiny[1](text.text)["input_ids"]) for text in TEXTS]
    rows = [row for row, length in enumerate(lengths) if length in (3, 6, 10)]
    assert {lengths[row] for row in rows} == {3, 6, 10}
    return rows, alone(*tiny, [TEXTS[row] for row in rows], LIMIT)


REDUCE = {
    "mean": lambda h: h.mean(0),
    "last": lambda h: h[-1],
    "cls": lambda h: h[0],
    "weighted_mean": lambda h: np.average(h, axis=0, weights=np.arange(len(h)) + 1),
}


@pytest.mark.parametrize("method", list(REDUCE))
def test_equals_each_text_alone(tmp_path, tiny, tiny_alone, method):
    store = run(
        tiny,
        TEXTS,
        tmp_path / "s",
        layers=(0, -1),
        pooling=method,
        window=64,
        token_budget=4096,
    )
    assert store.layers == (0, 2)
    for layer in store.layers:
        rows, states = tiny_alone
        want = np.stack([REDUCE[method](own[layer]) for own in states])
        np.testing.assert_allclose(store.read(layer)[rows], want, atol=2e-5)
    assert store.ids == [text.id for text in TEXTS]
    assert store.labels.tolist() == [
        -1 if text.label is None else text.label for text in TEXTS
    ]


def test_tokens_equal_each_text_alone(tmp_path, tiny, tiny_alone):
    store = run(tiny, TEXTS, tmp_path / "s", pooling="token")
    got = store.read()
    for row, states in zip(*tiny_alone):
        own = got[store.row_starts[row] : store.row_starts[row + 1]]
        np.testing.assert_allclose(own, states[2], atol=2e-5)
    assert store.lengths.sum() == len(store) == len(got)


def test_before_the_final_norm(tmp_path, tiny):
    raw = run(tiny, TEXTS[:4], tmp_path / "raw", pooling="last", final_norm=False)
    normed = run(tiny, TEXTS[:4], tmp_path / "normed", pooling="last")
    h = raw.read()
    scale = np.sqrt((h**2).mean(1, keepdims=True) + tiny[0].spec.norm_epsilon)
    np.testing.assert_allclose(normed.read(), h / scale, atol=1e-5)
    assert raw.fingerprint["final_norm"] is False


def test_real_model(tmp_path, real, real_texts):
    store = run(real, real_texts[:8], tmp_path / "s", max_tokens=16)
    states = alone(*real, real_texts[:8], 16)
    want = np.stack([own[-1].mean(0) for own in states])
    np.testing.assert_allclose(store.read(), want, atol=1e-4)
    assert store.fingerprint["model"] == "stories260K"


@pytest.mark.slow
def test_encoder(tmp_path, minilm, real_texts):
    store = run(minilm, real_texts[:8], tmp_path / "s", max_tokens=16, pooling="cls")
    want = np.stack([own[-1][0] for own in alone(*minilm, real_texts[:8], 16)])
    np.testing.assert_allclose(store.read(), want, atol=1e-4)


@pytest.mark.slow
def test_windows_and_budget_do_not_change_the_states(tmp_path, tiny):
    stores = [
        run(
            tiny,
            TEXTS,
            tmp_path / f"{window}-{budget}",
            window=window,
            token_budget=budget,
        )
        for window, budget in [(7, 24), (16, 64), (64, 4096)]
    ]
    for store in stores[1:]:
        assert store.ids == stores[0].ids
        np.testing.assert_allclose(store.read(), stores[0].read(), atol=2e-5)


def test_compilations_are_bounded_by_the_ladder(tmp_path):
    fresh = make_model(max_tokens=LIMIT), make_tokenizer()  # a spec of its own
    before = pooled_states._cache_size()
    ladder = length_ladder(LIMIT)
    shapes = batch_shapes(ladder, 40)
    assert len(shapes) <= 2 * len(ladder) == 4
    for seed, window in [(0, 16), (1, 50), (2, 5)]:
        texts = make_texts(50, seed=seed)
        run(fresh, texts, tmp_path / f"{seed}", window=window, token_budget=40)
    assert 1 < pooled_states._cache_size() - before <= len(shapes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stored_dtype(tmp_path, tiny, dtype):
    full = run(tiny, TEXTS, tmp_path / "full").read()
    store = run(tiny, TEXTS, tmp_path / "half", dtype=dtype)
    assert store.fingerprint["stored_dtype"] == dtype
    precision = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    np.testing.assert_allclose(store.read(), full, rtol=precision, atol=1e-4)
    assert np.abs(store.read() - full).max() > 0


def test_bfloat16_model_is_pooled_in_float32(tmp_path, tiny):
    model, tokenizer = tiny
    half = model._replace(
        params=jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model.params),
        fingerprint={**model.fingerprint, "dtype": "bfloat16"},
    )
    rows = run((half, tokenizer), TEXTS, tmp_path / "s").read()
    as_bfloat16 = np.asarray(rows, jnp.bfloat16).astype(np.float32)
    assert (rows != as_bfloat16).mean() > 0.5  # means have more bits than the states
    np.testing.assert_allclose(rows, run(tiny, TEXTS, tmp_path / "f").read(), atol=0.2)


def test_truncation_is_counted_and_stated(tmp_path, tiny, caplog):
    _, tokenizer = tiny
    lengths = [len(tokenizer(text.text)["input_ids"]) for text in TEXTS]
    store = run(tiny, TEXTS, tmp_path / "s", max_tokens=6)
    longer = sum(length > 6 for length in lengths)
    assert 0 < longer < len(TEXTS)
    assert store.counts["truncated"] == longer
    assert store.counts["tokens"] == sum(min(length, 6) for length in lengths)
    assert store.lengths.max() == 6
    assert f"{longer} of 50 texts were longer than 6 tokens" in caplog.text


def test_context_limits_max_tokens(tmp_path):
    pair = make_model(max_tokens=10), make_tokenizer()
    store = run(pair, TEXTS, tmp_path / "s", max_tokens=4096)
    assert store.fingerprint["max_tokens"] == 10 == store.lengths.max()
    assert store.counts["truncated"] > 0


def test_empty_texts(tmp_path, tiny):
    texts = [*TEXTS[:20], Text("void", " \n", 1), *TEXTS[20:]]
    with pytest.raises(CorpusError, match=r"'void' is empty .* on_empty='skip'"):
        run(tiny, texts, tmp_path / "a")
    with pytest.raises(StoreError, match=r"incomplete \(16 rows"):
        open_store(tmp_path / "a")
    store = run(tiny, texts, tmp_path / "b", on_empty="skip")
    assert store.counts["empty"] == 1
    assert store.ids == [text.id for text in TEXTS]
    whole = run(tiny, TEXTS, tmp_path / "c").read()
    np.testing.assert_allclose(store.read(), whole, atol=2e-5)
    with pytest.raises(StoreError, match="gave no text at all"):
        run(tiny, [], tmp_path / "d")


def test_nan_names_text_layer_and_model(tmp_path, tiny):
    model, tokenizer = tiny
    letter = tokenizer("é")["input_ids"][-1]
    embed = model.params["embed"].at[letter].set(jnp.nan)
    broken = model._replace(params={**model.params, "embed": embed})
    texts = [*TEXTS[:20], Text("accent", "the é cat", None), *TEXTS[20:]]
    for pooling in ("mean", "token"):
        path = tmp_path / pooling
        with pytest.raises(
            StoreError, match=r"tiny-0: layer 1 of the text 'accent' has NaN"
        ):
            run((broken, tokenizer), texts, path, layers=(1, 2), pooling=pooling)
        assert windows_written(open_folder(path)) == [0]  # the window before


def test_overflow_of_the_stored_dtype(tmp_path, tiny):
    model, tokenizer = tiny
    scale = model.params["final_norm"]["scale"] * 1e6
    loud = model._replace(params={**model.params, "final_norm": {"scale": scale}})
    with pytest.raises(StoreError, match=r"NaN or infinite .* overflows at 65,504"):
        run((loud, tokenizer), TEXTS, tmp_path / "s", dtype="float16")


def test_resume_after_an_error_in_the_corpus(tmp_path, tiny):
    whole = run(tiny, TEXTS, tmp_path / "whole")

    def broken():
        yield from TEXTS[:37]
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        run(tiny, broken(), tmp_path / "s")
    with pytest.raises(StoreError, match=r"incomplete \(32 rows so far\)"):
        open_store(tmp_path / "s")
    resumed = run(tiny, iter(TEXTS), tmp_path / "s", token_budget="auto")
    assert store_bytes(tmp_path / "s") == store_bytes(tmp_path / "whole")
    assert resumed.throughput["tokens"] < whole.throughput["tokens"]


def test_complete_store_is_returned_as_it_is(tmp_path, tiny):
    run(tiny, TEXTS, tmp_path / "s")
    before = store_bytes(tmp_path / "s")
    again = run(tiny, iter([]), tmp_path / "s")
    assert len(again) == 50
    assert again.throughput == {}
    assert store_bytes(tmp_path / "s") == before


@pytest.mark.parametrize("field", ["id", "text", "label"])
def test_resume_with_another_corpus(tmp_path, tiny, field):
    texts = [*TEXTS, TEXTS[0]]  # stops at the repeated id of the last window
    with pytest.raises(CorpusError, match=r"'made/0' more than once"):
        run(tiny, texts, tmp_path / "s")
    changed = TEXTS[3]._replace(**{field: 5 if field == "label" else "other"})
    with pytest.raises(StoreError, match="texts of another corpus, from window 0 on"):
        run(tiny, [*TEXTS[:3], changed, *TEXTS[4:]], tmp_path / "s")
    with pytest.raises(StoreError, match="texts of another corpus, from window 1 on"):
        run(tiny, TEXTS[:30], tmp_path / "s")
    assert len(run(tiny, TEXTS, tmp_path / "s")) == 50


def test_resume_with_other_settings(tmp_path, tiny):
    with pytest.raises(CorpusError):
        run(tiny, [*TEXTS, TEXTS[0]], tmp_path / "s", token_budget=64)
    with pytest.raises(StoreError, match=r"begun with token_budget=64, .* has 128"):
        run(tiny, TEXTS, tmp_path / "s", token_budget=128)
    with pytest.raises(StoreError, match=r"begun with window_texts=16, .* has 8"):
        run(tiny, TEXTS, tmp_path / "s", window=8)
    with pytest.raises(FingerprintError, match=r"pooling: 'mean' against 'last'"):
        run(tiny, TEXTS, tmp_path / "s", pooling="last")
    with pytest.raises(FingerprintError, match=r"model: 'tiny-0' against 'tiny-1'"):
        run((make_model(seed=1), tiny[1]), TEXTS, tmp_path / "s")
    # What is not insisted on is taken from the store.
    assert len(run(tiny, TEXTS, tmp_path / "s", window=None)) == 50


def test_fingerprint_is_known_beforehand(tmp_path, tiny):
    wanted = Extraction(layers=(-2,), max_tokens=LIMIT)
    record = store_fingerprint(*tiny, wanted, text_fingerprint="made")
    store = run(tiny, TEXTS, tmp_path / "s", layers=(-2,))
    assert store.fingerprint == record
    assert record["layers"] == [1]
    open_store(tmp_path / "s", expect=record)


def test_what_a_fingerprint_is_of(tiny):
    """Stores of earlier versions are found by it."""
    wanted = Extraction((-2, 0), final_norm=False, pooling="last", max_tokens=100)
    wanted = wanted._replace(dtype="bfloat16", window=16, token_budget=64)
    record = store_fingerprint(*tiny, wanted, text_fingerprint={"split": "fit"})
    assert len(record.pop("tokenizer")) == 16  # of what the tokenizers library writes
    assert record == {
        "model": "tiny-0",
        "revision": None,
        "dtype": "float32",
        "weights": "seed 0",
        "layers": [1, 0],
        "final_norm": False,
        "pooling": "last",
        "stored_dtype": "bfloat16",
        "max_tokens": 64,
        "text": {"split": "fit"},
    }
    assert fingerprint(record) == "63d0d4e98bf1d2d3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, "pooling must be one of"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"on_empty": "ignore"}, "on_empty must be 'error' or 'skip'"),
        ({"layers": (3,)}, "layers must be from -3 to 2"),
        ({"token_budget": 8}, r"at least max_tokens \(12\).* got 8"),
        ({"token_budget": "big"}, "'auto' or 'measure', got 'big'"),
        ({"window": 0}, "window must be at least 1"),
        ({"max_tokens": 1}, "exceed the tokenizer's 1 special"),
    ],
)
def test_bad_options_leave_nothing_behind(tmp_path, tiny, options, message):
    with pytest.raises(ValueError, match=message):
        run(tiny, TEXTS, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_tokenizer_of_another_model(tmp_path, tiny):
    message = "has 96 entries and the model tiny-0 has 64"
    with pytest.raises(CheckpointError, match=message):
        run((make_model(64), tiny[1]), TEXTS, tmp_path / "s")


def test_a_token_beyond_the_embedding(tmp_path, tiny):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    text = Text("picture", "the <image> cat", None)
    with pytest.raises(CorpusError, match=r"'picture' holds '<image>', token 96 of a"):
        run((tiny[0], tokenizer), [*TEXTS[:8], text], tmp_path / "s")
    assert run((tiny[0], tokenizer), TEXTS[:8], tmp_path / "t").ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Text("broken", "a \ud800 b", None), "'broken' is not valid Unicode"),
        (Text(7, "a", None), "must have an id and a text that are strings"),
    ],
)
def test_what_is_not_text(tmp_path, tiny, text, message):
    with pytest.raises(CorpusError, match=message):
        run(tiny, [*TEXTS, text], tmp_path / "s")
