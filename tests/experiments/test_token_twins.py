"""Headline numbers of the token experiments against transformers and numpy."""

import json

import numpy as np
import pytest
import torch
import transformers

from experiments import extract, fit_tokens, generate, layers
from experiments.shared.sides import open_corpus
from helix_jax import assets
from helix_jax.activations import open_store
from helix_jax.alignment import load_map
from helix_jax.generation.choices import Question
from helix_jax.runs import Run
from helix_jax.text.docstrings import read_docstrings

MAX_TOKENS = 48
ALL = 100_000  # more token pairs than there are
NAMES = {"source": "pebble-llama", "target": "pebble-qwen3"}


class Twin:
    """An embedded model and its tokenizer in transformers, float32."""

    def __init__(self, name):
        folder = str(assets.model_path(name))
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        ).eval()

    def read(self, text):
        """Ids [T], states of every layer [L + 1, T, D], log p [T, V] of a text."""
        given = self.tokenizer(
            text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS
        )
        with torch.no_grad():
            out = self.model(given["input_ids"], output_hidden_states=True)
        states = torch.stack(out.hidden_states)[:, 0].double().numpy()
        log_p = torch.log_softmax(out.logits[0].double(), -1).numpy()
        return given["input_ids"][0].numpy(), states, log_p

    def head(self, states):
        """Log p [T, V] of states [T, D] after the final norm."""
        with torch.no_grad():
            logits = self.model.lm_head(torch.tensor(states, dtype=torch.float32))
        return torch.log_softmax(logits.double(), -1).numpy()


@pytest.fixture(scope="module")
def twins():
    return {side: Twin(name) for side, name in NAMES.items()}


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """Flags that both programs have, over 120 texts of as many documents."""
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    lines = [
        json.dumps({"id": f"d{number}", "text": text.text})
        for number, text in enumerate(read_docstrings()[:3600:30])
    ]
    path.write_text("\n".join(lines))
    sides = {side: str(assets.model_path(name)) for side, name in NAMES.items()}
    counts = {"pairs": ALL, "select_pairs": ALL, "test_pairs": ALL, "resamples": 20}
    return {"data": str(path), "max_tokens": MAX_TOKENS, "workdir": "none"} | (
        sides | counts
    )


@pytest.mark.slow
def test_a_token_map_is_scored_as_transformers_scores_it(twins, flags, tmp_path):
    config = fit_tokens.FitTokensConfig(**flags)
    report = fit_tokens.compute(config, Run(tmp_path))
    report.files["map"](tmp_path / "map")
    affine, _ = load_map(tmp_path / "map")
    kernel, bias = np.asarray(affine.kernel), np.asarray(affine.bias)
    sums = dict.fromkeys(("kl", "top1", "top5", "mapped", "target", "source"), 0.0)
    tokens = 0
    for text in open_corpus(config).read("test"):
        ids, x, log_source = twins["source"].read(text.text)
        _, _, log_target = twins["target"].read(text.text)
        mapped = twins["target"].head(x[-1] @ kernel + bias)
        rows, following = np.arange(len(ids) - 1), ids[1:]
        log_source, log_target, log_mapped = (
            log_p[:-1] for log_p in (log_source, log_target, mapped)
        )
        first = log_target.argmax(1)
        best = np.argsort(-log_mapped, axis=1)[:, :5]
        sums["kl"] += (np.exp(log_target) * (log_target - log_mapped)).sum()
        sums["top1"] += (best[:, 0] == first).sum()
        sums["top5"] += (best == first[:, None]).any(1).sum()
        for name, log_p in (
            ("mapped", log_mapped),
            ("target", log_target),
            ("source", log_source),
        ):
            sums[name] -= log_p[rows, following].sum()
        tokens += len(rows)
    means = {name: total / tokens for name, total in sums.items()}
    want = {
        "kl_nats": means["kl"],
        "agreement_top1": means["top1"],
        "agreement_top5": means["top5"],
        "perplexity_mapped": np.exp(means["mapped"]),
        "perplexity_native_target": np.exp(means["target"]),
        "perplexity_native_source": np.exp(means["source"]),
        "perplexity_ratio": np.exp(means["mapped"] - means["target"]),
    }
    numbers = report.numbers
    assert numbers["generation/tokens"] == tokens
    for name, value in want.items():
        found = numbers[f"generation/{name}"].value
        assert found == pytest.approx(value, rel=1e-4), name


@pytest.mark.slow
def test_a_pair_of_layers_has_the_r2_of_ridge_in_numpy(twins, flags, tmp_path):
    config = layers.LayersConfig(**flags, source_layers=(1,), target_layers=(2, 0))
    report = layers.compute(config, Run(tmp_path))
    corpus = open_corpus(config)
    for target_layer in (2, 0):
        place = f"1-{target_layer}"
        x, y = {}, {}
        for split in ("fit", "test"):
            texts = [text.text for text in corpus.read(split)]
            x[split] = np.concatenate([twins["source"].read(t)[1][1] for t in texts])
            y[split] = np.concatenate(
                [twins["target"].read(t)[1][target_layer] for t in texts]
            )
        count, width = x["fit"].shape
        mean_x, mean_y = x["fit"].mean(0), y["fit"].mean(0)
        u, v = x["fit"] - mean_x, y["fit"] - mean_y
        penalty = report.numbers[f"{place}/fit/penalty"] * (u**2).sum() / width
        kernel = np.linalg.solve(u.T @ u + penalty * np.eye(width), u.T @ v)
        error = (x["test"] - mean_x) @ kernel + mean_y - y["test"]
        r2 = 1 - (error**2).sum() / ((y["test"] - y["test"].mean(0)) ** 2).sum()
        assert report.numbers[f"{place}/fit/pairs"] == count
        assert report.numbers[f"{place}/test/r2"] == pytest.approx(r2, abs=1e-5)
    for block in report.blocks[:-1]:
        assert (list(block.rows), list(block.columns)) == (["1"], ["0", "2"])


def test_extracted_states_are_means_of_those_of_transformers(twins, flags, tmp_path):
    config = extract.ExtractConfig(
        workdir=str(tmp_path),
        model=flags["source"],
        data=flags["data"],
        layers=(1, -1),
        splits=("test",),
        max_tokens=MAX_TOKENS,
    )
    report = extract.compute(config, Run(tmp_path))
    (place,) = (tmp_path / "stores").iterdir()
    store = open_store(place)
    texts = list(open_corpus(config).read("test"))
    read = [twins["source"].read(text.text) for text in texts]
    assert store.ids == [text.id for text in texts]
    model = twins["source"].model.model
    with torch.no_grad():  # of the last layer transformers gives states after the norm
        first = [model.norm(torch.tensor(s[1]).float()).mean(0) for _, s, _ in read]
    last = np.stack([states[-1].mean(0) for _, states, _ in read])
    # Seen: 7e-7 and 1.3e-6.
    np.testing.assert_allclose(store.read(1), np.stack(first), atol=5e-6)
    np.testing.assert_allclose(store.read(store.layers[-1]), last, atol=5e-6)
    assert report.numbers["test/tokens"] == sum(len(ids) for ids, _, _ in read)
    assert report.blocks[0].rows[0][1] == report.numbers["test/rows"] == len(texts)


@pytest.mark.slow
def test_a_model_alone_writes_what_transformers_writes(twins, tmp_path):
    twin, prompt = twins["source"], "Return the mean of the"
    asked = [
        ("The sum of the", ("elements", "zebra crossing"), 0),
        ("x", ("y", "z"), 1),
    ]
    lines = (json.dumps(dict(zip(Question._fields, one))) for one in asked)
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    config = generate.GenerateConfig(
        workdir="none",
        source=str(assets.model_path(NAMES["source"])),
        prompt=prompt,
        max_new_tokens=24,
        questions=str(tmp_path / "questions.jsonl"),
    )
    report = generate.compute(config, Run(tmp_path))
    given = twin.tokenizer(prompt, return_tensors="pt")
    written = twin.model.generate(**given, max_new_tokens=24, do_sample=False)[0]
    new = written[given["input_ids"].shape[1] :]
    answers, samples = report.blocks
    (sample,) = samples.items
    assert sample["mapped"] == twin.tokenizer.decode(new, skip_special_tokens=True)
    assert report.numbers["generation/written_tokens"] == len(new)
    for mode, column in (("letter", 1), ("text", 2)):
        right = np.mean([choose(twin, *one[:2], mode) == one[2] for one in asked])
        assert report.numbers[f"choices/{mode}_accuracy"].value == right
        assert answers.rows[0][column].startswith(f"{100 * right:.1f} [")
    assert report.numbers["choices/chance"] == 0.5


def choose(twin, question, choices, mode):
    """The choice that transformers finds likeliest, by letter or by its text."""
    endings = [f" {choice}" for choice in choices]
    if mode == "letter":
        lines = (f"{letter}. {text}" for letter, text in zip("AB", choices))
        question = "\n".join((question, *lines, "Answer:"))
        endings = [" A", " B"]
    before = len(twin.tokenizer(question)["input_ids"])
    nats = []
    for ending in endings:
        ids, _, log_p = twin.read(question + ending)
        rows = np.arange(before, len(ids))
        size = len(ending) if mode == "text" else 1
        nats.append(-log_p[rows - 1, ids[rows]].sum() / size)
    return int(np.argmin(nats))
