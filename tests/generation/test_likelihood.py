"""Likelihoods against lm-evaluation-harness's definition, written with torch."""

import copy

import numpy as np
import pytest
import torch
import transformers

from helix_jax import assets
from helix_jax.generation import native
from helix_jax.generation.likelihood import _asked, continuation_nats, rolling_nats
from helix_jax.models import load_model, load_tokenizer
from helix_jax.text.token_bytes import token_bytes
from tests.text.tokenizers import join_pieces

PAIRS = [
    ("", " The array"),
    ("", "The"),
    ("  ", " The array"),
    ("\n", "x"),
    ("The function returns", " a new array."),
    ("The function returns ", "a new"),
    ("Return the arr", "ay of values"),
    ("see numpy.lin", "alg.norm here"),
    ("a \U0001f600", "\U0001f680 \u00e9t\u00e9"),
    ("", "\U0001f600\U0001f680"),
    ("one\n\n", "  two\n"),
    ("word and " * 200, "the values"),
    ("<|endoftext|>The", " array"),
    ("", "<|endoftext|>The array"),
]


@pytest.fixture(scope="module")
def pebble():
    """Model, tokenizer, torch twin of pebble-llama, with and without its own BOS."""
    folder = str(assets.model_path("pebble-llama"))
    twin = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )
    tokenizer = load_tokenizer(folder)
    return load_model(folder), tokenizer, plain(tokenizer), twin.eval()


def plain(tokenizer):
    """The same tokenizer without a beginning of its own."""
    record = tokenizer.backend_tokenizer.to_str()
    core = type(tokenizer.backend_tokenizer).from_str(record)
    core.post_processor = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, add_bos_token=False
    ).backend_tokenizer.post_processor
    name = "<|endoftext|>"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=name, eos_token=name
    )


def harness_nats(twin, tokenizer, context, continuation, longest=256):
    """The definition: `_encode_pair`, the empty context, and the cut at the left."""
    encode = tokenizer.encode
    spaces = len(context) - len(context.rstrip())
    if spaces:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    prefix = tokenizer.bos_token_id
    if context == "":
        continuation = encode(continuation, add_special_tokens=False)
        context = [prefix]
        if continuation[0] == prefix:
            context, continuation = continuation[:1], continuation[1:]
    else:
        special = not context.startswith(tokenizer.decode(prefix))
        whole = encode(context + continuation, add_special_tokens=special)
        context = encode(context, add_special_tokens=special)
        continuation = whole[len(context) :]
    ids = (context + continuation)[-(longest + 1) :]
    with torch.no_grad():
        logits = twin(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    count = len(continuation)
    rows, labels = logits[-count:], torch.tensor(ids[-count:])
    return -float(rows[range(count), labels].sum()), bool(
        (rows.argmax(-1) == labels).all()
    )


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.slow
def test_endings_as_the_harness_scores_them(pebble, own):
    model, with_bos, without, twin = pebble
    tokenizer = with_bos if own else without
    nats, greedy = continuation_nats(native(model), tokenizer, tokenizer, *zip(*PAIRS))
    for pair, one, best in zip(PAIRS, nats, greedy):
        want, likeliest = harness_nats(twin, tokenizer, *pair)
        assert one == pytest.approx(want, abs=2e-3), pair
        assert best == likeliest


def test_the_prefix_is_what_a_first_token_is_predicted_from(pebble):
    """Neither by the state that has read it, nor left out."""
    model, _, tokenizer, twin = pebble
    nats, _ = continuation_nats(native(model), tokenizer, tokenizer, [""], [" The new"])
    ids = tokenizer(" The new")["input_ids"]
    with torch.no_grad():
        logits = twin(torch.tensor([ids])).logits[0].log_softmax(-1)
    seen = -sum(float(logits[max(i - 1, 0), one]) for i, one in enumerate(ids))
    without = -sum(float(logits[i - 1, ids[i]]) for i in range(1, len(ids)))
    assert abs(nats[0] - seen) > 0.1
    assert nats[0] > without + 0.1


def test_end_of_text_is_the_prefix_where_no_beginning_is_named(pebble):
    model, _, tokenizer, _ = pebble
    other = copy.deepcopy(tokenizer)
    other.bos_token = None
    want, _ = continuation_nats(native(model), tokenizer, tokenizer, [""], ["The"])
    found, _ = continuation_nats(native(model), other, other, [""], ["The"])
    assert found == want
    other.eos_token = None
    with pytest.raises(ValueError, match="neither a beginning nor an end of text"):
        continuation_nats(native(model), other, other, [""], ["The"])
    assert np.isfinite(continuation_nats(native(model), other, other, ["A"], [" b"])[0])


def test_endings_without_a_token_and_too_long_ones(pebble):
    model, tokenizer, _, _ = pebble
    parts = native(model)
    for prompt, ending in (("The functio", "n"), ("The", "")):
        with pytest.raises(ValueError, match="has no separate token"):
            continuation_nats(parts, tokenizer, tokenizer, [prompt], [ending])
    with pytest.raises(ValueError, match="needs 400 tokens, and the models read 256"):
        continuation_nats(parts, tokenizer, tokenizer, ["word"], [" word" * 400])


def test_a_closing_special_token_is_no_part_of_an_ending(pebble):
    model, tokenizer, _, _ = pebble
    core = type(tokenizer.backend_tokenizer).from_str(
        tokenizer.backend_tokenizer.to_str()
    )
    name = "<|endoftext|>"
    closing = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=name,
        eos_token=name,
        add_bos_token=True,
        add_eos_token=True,
    )
    want = continuation_nats(native(model), tokenizer, tokenizer, ["A"], [" new array"])
    found = continuation_nats(native(model), closing, closing, ["A"], [" new array"])
    assert found == want


@pytest.mark.parametrize("repeat", [1, 40])
def test_rolling_texts_as_the_harness_windows_them(pebble, repeat):
    model, with_bos, tokenizer, twin = pebble
    text = "Return the indices of the elements that are non-zero. \U0001f600 " * repeat
    ids, longest = tokenizer(text)["input_ids"], 256
    total, done = 0.0, 0
    while done < len(ids):  # get_rolling_token_windows with one token of context
        end = min(done + longest, len(ids))
        inputs = [tokenizer.bos_token_id, *ids][max(0, end - longest) : end]
        with torch.no_grad():
            logits = twin(torch.tensor([inputs])).logits[0].log_softmax(-1)
        rows = logits[-(end - done) :]
        total -= float(rows[range(end - done), ids[done:end]].sum())
        done = end
    for one in (tokenizer, with_bos):
        found = rolling_nats(native(model), one, one, [text, ""])
        assert found[0] == pytest.approx(total, rel=1e-5)
        assert found[1] == 0


TEXTS = [
    "a\U0001f600\U0001f680b \u00e9t\u00e9 \u6f22\u5b57",
    " x\n \n\ty  \n ",
    "it's 3.14",
    "Hello world",
    "\U0001f600",
    "\u2581a",
    "tokenization's  end. ",
]


@pytest.fixture(scope="module")
def tokenizers(shared):
    """Tokenizers of five kinds, and the bytes of their tokens."""
    places = {
        "neox": shared / "tokenizers" / "gpt-neox-20b_pythia",
        "llama2": shared / "tokenizers" / "llama2",
        "stories": shared / "models" / "stories260K",
        "pebble-neox": assets.model_path("pebble-neox"),
        "pebble-llama": assets.model_path("pebble-llama"),
    }
    found = {}
    for name, place in places.items():
        tokenizer = load_tokenizer(str(place))
        tokenizer.bos_token = tokenizer.bos_token or "<|endoftext|>"
        found[name] = tokenizer, token_bytes(tokenizer)
    return found


@pytest.mark.parametrize("source", ["pebble-neox", "neox", "llama2"])
@pytest.mark.parametrize("target", ["pebble-llama", "stories", "neox"])
@pytest.mark.slow
def test_the_last_state_that_has_not_read_a_token_predicts_it(
    source, target, tokenizers
):
    """By bytes: source tokens read so far end where the target token begins, or before
    it, and with the next one they would not."""
    (x, x_bytes), (y, y_bytes) = tokenizers[source], tokenizers[target]
    for text in TEXTS:
        (one,) = _asked(x, y, [text], [[]])
        whole = y(text, add_special_tokens=False)["input_ids"]
        assert one.labels.tolist() == whole
        for number, place in enumerate(one.places):
            read = join_pieces(x_bytes, one.ids[: place + 1]).lstrip(b" ")
            before = join_pieces(y_bytes, whole[:number]).lstrip(b" ")
            assert before.startswith(read)
            more = join_pieces(x_bytes, one.ids[: place + 2]).lstrip(b" ")
            if before and text.isascii() and place + 1 < len(one.ids):
                assert not before.startswith(more)
