"""Pretraining end to end: a folder that transformers loads, resumed after SIGKILL."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.pretrain import PretrainConfig, compute, run
from helix_jax.models import apply_model, load_model, load_tokenizer
from helix_jax.runs import Run
from helix_jax.text.corpora import load_corpus
from tests.experiments.told import require_told


@pytest.mark.slow
def test_the_model_has_transformers_logits(models):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in models.values():
        ours, tokenizer = load_model(str(folder)), AutoTokenizer.from_pretrained(folder)
        tokens = tokenizer(["Return the number of rows."], return_tensors="np")
        tokens = tokens["input_ids"]
        assert tokens[0, 0] == tokenizer.bos_token_id
        twin = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            expected = twin(torch.tensor(tokens)).logits.numpy()
        logits = apply_model(ours.params, ours.spec, tokens, logits=True).logits
        np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.slow
def test_the_measures_are_those_of_transformers_on_the_written_model(texts, tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = PretrainConfig(str(tmp_path), "gpt2", str(texts), tiny=True, tokens=2048)
    config = compute.prepare(config)
    report = compute(config, Run(tmp_path))
    report.files["model"](tmp_path / "model")
    twin = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    held = [t.text for t in load_corpus(str(texts), limit=600).read("test")]
    stream = []
    for place in np.random.default_rng(0).permutation(len(held)):
        stream += tokenizer(held[place])["input_ids"]
        if len(stream) > config.held_out_tokens:
            break
    count = (len(stream) - 1) // config.context
    losses = []
    for start in range(0, count * config.context, config.context):
        window = torch.tensor([stream[start : start + config.context + 1]])
        with torch.no_grad():
            logits = twin.eval()(window[:, :-1]).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits, window[0, 1:]).item())
    numbers = report.numbers
    loss, predicted = np.mean(losses), count * config.context
    assert numbers["test/tokens"] == predicted
    assert numbers["test/loss_nats"] == pytest.approx(loss, abs=2e-5)
    assert numbers["test/perplexity"] == pytest.approx(np.exp(loss), rel=2e-5)
    text = "".join(
        tokenizer.decode(
            stream[start + 1 : start + config.context + 1], skip_special_tokens=True
        )
        for start in range(0, predicted, config.context)
    )
    bits = loss / np.log(2) * predicted / len(text)
    assert numbers["test/bits_per_character"] == pytest.approx(bits, rel=2e-5)
    assert numbers["train/tokens"] == 2048
    weights = sum(leaf.numel() for leaf in twin.parameters())
    assert numbers["train/parameters"] == weights


def test_training_beats_a_uniform_guess_and_is_recorded(models):
    for folder in models.values():
        results = json.loads((folder / "results.json").read_text())
        vocab = load_tokenizer(str(folder)).vocab_size
        assert results["test/loss_nats"] < np.log(vocab) - 0.4
        card = (folder / "README.md").read_text()
        assert '"seed"' in card
        assert "test/perplexity" in card
        require_told(folder.parent, "texts.jsonl")


def test_a_given_tokenizer_is_what_its_file_says(models, tmp_path):
    from tokenizers import pre_tokenizers

    from experiments.pretrain import open_tokenizer

    core = load_tokenizer(str(next(iter(models.values())))).backend_tokenizer
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.save(str(tmp_path / "tokenizer.json"))
    declared = {"tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(declared))
    tokenizer = open_tokenizer(PretrainConfig(tokenizer=str(tmp_path)), None, tmp_path)
    assert tokenizer.tokenize(" 2024 2024") == ["\u0120", *"2024", "\u0120", *"2024"]


@pytest.mark.slow
def test_killed_and_started_again_it_ends_with_the_same_weights(
    models, texts, tmp_path
):
    whole = models["llama"].parent  # never killed
    flags = json.loads((whole / "config.json").read_text())
    line = [sys.executable, "-m", "experiments.pretrain"]
    line += [f"--workdir={tmp_path / 'killed'}", f"--data={texts}", "--tiny"]
    line += [f"--{name}={flags[name]}" for name in ("family", "part", "parts", "seed")]
    snapshot = tmp_path / "killed" / "snapshot.safetensors"
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not snapshot.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "DONE").exists()
    subprocess.run(line, check=True, capture_output=True, timeout=400)

    def result(folder):
        steps = [json.loads(x) for x in (folder / "metrics.jsonl").open()]
        return (folder / "model" / "model.safetensors").read_bytes(), steps

    assert result(tmp_path / "killed") == result(whole)


def test_too_little_text_is_refused(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("\n\n".join(f"Text number {i}. " * 20 for i in range(40)))
    with pytest.raises(ValueError, match="use more text"):
        run(PretrainConfig(workdir=str(tmp_path / "w"), data=str(path), batch=4000))
