r"""Train a small causal language model from scratch, tokenizer included.

    python -m experiments.pretrain --workdir=runs/llama --family=llama \
      --data=docstrings --part=0 --parts=3 --tokens=20000000

The model is written to WORKDIR/model in Hugging Face folder format, with a model card.
Killed at any moment and started again with the same flags, it ends with the same
weights. `test/perplexity` is on held-out documents of all the data; the trigram
beside it is Kneser-Ney smoothed and trained on the same tokens.

Cost: two cores, the defaults: about 9,000 tokens a second.
"""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared.about import about, short_data, show, show_saved
from experiments.shared.options import limit_option, seed_option, workdir_option
from helix_jax.atomic import replaced_files
from helix_jax.errors import RunError
from helix_jax.models import FAMILIES, family_of, load_tokenizer, save_model
from helix_jax.models.checkpoint import DTYPES
from helix_jax.models.spec import ModelSpec
from helix_jax.progress import Progress, bar, stage
from helix_jax.reports import Table
from helix_jax.runs import (
    finish_run,
    is_done,
    log_metrics,
    open_run,
    option,
    prepare_config,
    read_summary,
    truncate_metrics,
    write_atomically,
)
from helix_jax.runs.inputs import check_inputs
from helix_jax.runs.program import start_program
from helix_jax.text.corpora import load_corpus
from helix_jax.text.hashing import document_of, part_of
from helix_jax.text.ngram import fit_trigram, token_log_probabilities
from helix_jax.training import (
    cross_entropy,
    init_state,
    load_snapshot,
    make_optimizer,
    make_step,
    pack_documents,
    save_snapshot,
    unpack_windows,
    window_batch,
)
from helix_jax.training.card import model_card
from helix_jax.training.hf_config import hf_config
from helix_jax.training.vocabulary import train_tokenizer

DECODERS = tuple(sorted(set(FAMILIES) - {"bert", "roberta"}))


SAID = {
    "train/parameters": "parameters",
    "train/tokens": "tokens trained on, epochs included",
    "train/distinct_tokens": "distinct tokens to train on",
    "train/seconds": "training, s",
    "test/tokens": "held-out tokens predicted",
    "test/loss_nats": "held-out loss, nats a token",
    "test/perplexity": "held-out perplexity",
    "test/bits_per_character": "held-out bits a character",
    "test/trigram_loss_nats": "the trigram's loss, nats a token",
    "test/trigram_perplexity": "the trigram's perplexity",
}


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Flags of the experiment."""

    workdir: str = workdir_option("work directory; the model is in WORKDIR/model")
    family: str = option("llama", "a decoder family", choices=DECODERS)
    data: str = option(
        "docstrings",
        "corpora by name, file or folder, comma-separated",
        names="corpora",
        required=True,
    )
    limit: int = limit_option()
    part: int = option(0, "train on this part of the documents", least=0)
    parts: int = option(1, "number of disjoint parts", least=1)
    tokenizer: str = option(
        "", "model whose tokenizer to use; empty: train one", names="tokenizer"
    )
    vocab_size: int = option(4096, "tokens of a newly trained tokenizer", least=260)
    width: int = option(128, "D", least=2)
    num_layers: int = option(4, "L", least=1)
    num_heads: int = option(4, "H", least=1)
    ffn_width: int = option(344, "F", least=1)
    context: int = option(256, "T, tokens a training window", least=2)
    batch: int = option(16, "windows a step", least=1)
    microbatch: int = option(
        0, "windows a gradient, a divisor of --batch; 0: all", least=0
    )
    tokens: int = option(20_000_000, "training tokens in all, epochs included", least=1)
    optimizer: str = option("adamw", "of the weights", choices=("adamw", "muon"))
    learning_rate: float = option(4e-3, "peak learning rate", above=0)
    warmup_steps: int = option(200, "steps of linear warm-up", least=0)
    weight_decay: float = option(0.1, "decoupled weight decay of matrices", least=0)
    seed: int = seed_option("of the initial weights and the order of the windows")
    dtype: str = option("bfloat16", "of the written weights", choices=DTYPES)
    held_out_tokens: int = option(
        200_000, "held-out tokens to evaluate on, at most", least=1
    )
    log_every: int = option(50, "steps between lines of metrics.jsonl", least=1)
    snapshot_every: int = option(200, "steps between snapshots", least=1)
    tiny: bool = option(False, "a model of 2 layers and 20,000 tokens, in seconds")


TINY = {
    "vocab_size": 512,
    "width": 32,
    "num_layers": 2,
    "num_heads": 2,
    "ffn_width": 64,
    "context": 64,
    "batch": 8,
    "tokens": 20_480,
    "warmup_steps": 5,
    "held_out_tokens": 4_096,
    "log_every": 10,
    "snapshot_every": 10,
    "limit": 600,
}


def check_sizes(config: PretrainConfig) -> None:
    """Raise where numbers of the flags do not go together."""
    if config.part >= config.parts:
        raise RunError(
            f"--part={config.part} counts from 0 and must be below --parts="
            f"{config.parts}."
        )
    if config.microbatch and config.batch % config.microbatch:
        raise RunError(
            f"--microbatch={config.microbatch} must divide --batch={config.batch}."
        )
    if config.width % config.num_heads or (config.width // config.num_heads) % 2:
        raise RunError(
            f"--width={config.width} must be an even multiple of --num_heads="
            f"{config.num_heads}."
        )


def run(config: PretrainConfig) -> dict[str, float]:
    """Train, evaluate, write the model; see the module docstring."""
    config = prepare_config(config, tiny=TINY)
    check_sizes(config)
    check_inputs(config)
    directory = open_run(config.workdir, config)
    if is_done(directory):
        show_saved(directory)
        return read_summary(directory)
    folder = directory.folder
    with stage(f"reading {config.data}"):
        corpus = load_corpus(config.data, limit=config.limit or None)
    with stage("training the tokenizer"):
        tokenizer = _tokenizer(config, corpus, folder)
    with stage("text to windows of tokens"):
        try:
            train = _windows(config, corpus, tokenizer)
        except RunError:  # with flags that must change, and the tokenizer with them
            shutil.rmtree(folder / "tokenizer", ignore_errors=True)
            raise
        held_out, characters = _held_out(config, corpus, tokenizer)
    hf = hf_config(
        config.family,
        vocab_size=len(tokenizer),
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        ffn_width=config.ffn_width,
        context=config.context,
    )
    spec = family_of(config.family).spec_from_hf(hf.to_dict())
    state, seconds = _train(config, spec, train, directory)
    # What is written is what is measured: weights rounded to the stored dtype.
    rounded = jax.tree.map(
        lambda leaf: leaf.astype(config.dtype).astype(leaf.dtype), state.params
    )
    loss = _evaluate(rounded, spec, held_out, config.batch)
    with stage("the trigram beside it"):
        trigram = fit_trigram(unpack_windows(train), vocab_size=spec.vocab_size)
        trigram_loss = -float(
            np.mean(token_log_probabilities(trigram, unpack_windows(held_out))[1:])
        )
    predicted = held_out.shape[0] * (held_out.shape[1] - 1)
    summary = {
        "train/parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "train/tokens": config.batch * config.context * _steps(config),
        "train/distinct_tokens": train.shape[0] * config.context,
        "train/seconds": seconds,
        "test/tokens": predicted,
        "test/loss_nats": loss,
        "test/perplexity": math.exp(loss),
        "test/bits_per_character": loss * predicted / characters / math.log(2),
        "test/trigram_loss_nats": trigram_loss,
        "test/trigram_perplexity": math.exp(trigram_loss),
    }
    save_model(folder / "model", state.params, spec, hf, dtype=config.dtype)
    with replaced_files(folder / "model", raises=RunError) as new:
        tokenizer.save_pretrained(new)
    card = model_card(dataclasses.asdict(config), corpus.fingerprint, summary)
    write_atomically(folder / "model" / "README.md", card)
    results = json.dumps(summary, indent=2) + "\n"
    write_atomically(folder / "model" / "results.json", results)
    said = about(
        config.family,
        short_data(config.data),
        f"{summary['train/tokens']:,} tokens to train on",
        f"{summary['test/tokens']:,} held-out tokens to test on",
    )
    show(directory, [Table("The trained model", *result_rows(summary))], said)
    return finish_run(directory, summary)


def result_rows(summary: dict[str, float]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of all numbers."""
    rows = [[said, summary[name]] for name, said in SAID.items() if name in summary]
    return ["measure", "value"], rows


def _steps(config: PretrainConfig) -> int:
    return max(1, config.tokens // (config.batch * config.context))


def _documents(config: PretrainConfig, corpus: Any, split: str) -> Iterator[str]:
    """Texts of a split; those to train on are cut into disjoint parts by document."""
    for text in corpus.read(split):
        part = part_of(document_of(text.id), config.parts, salt="part")
        if split != "fit" or part == config.part:
            yield text.text


def _tokenizer(config: PretrainConfig, corpus: Any, folder: Path) -> Any:
    if config.tokenizer:
        return load_tokenizer(config.tokenizer)
    if not (folder / "tokenizer" / "tokenizer.json").exists():
        tokenizer = train_tokenizer(
            _documents(config, corpus, "fit"),
            vocab_size=config.vocab_size,
            context=config.context,
        )
        with replaced_files(folder / "tokenizer", raises=RunError) as new:
            tokenizer.save_pretrained(new)
    return load_tokenizer(str(folder / "tokenizer"))


def _windows(config: PretrainConfig, corpus: Any, tokenizer: Any) -> np.ndarray:
    ids = _encode(tokenizer, _documents(config, corpus, "fit"))
    windows = pack_documents(ids, context=config.context)
    if len(windows) < config.batch:
        raise RunError(
            f"pretrain: --data={config.data} (part {config.part} of {config.parts}) "
            f"gives {len(windows)} windows of {config.context} tokens, one step needs "
            f"{config.batch}; use more text, a shorter --context or a smaller --batch."
        )
    return windows


def _held_out(config, corpus, tokenizer) -> tuple[np.ndarray, int]:
    """Windows of held-out documents, and the characters that they predict."""
    texts = list(_documents(config, corpus, "test"))
    order = np.random.default_rng(0).permutation(len(texts))
    documents, total = [], 0
    for i in order:
        documents += _encode(tokenizer, [texts[i]])
        total += len(documents[-1])
        if total > config.held_out_tokens:
            break
    windows = pack_documents(documents, context=config.context)
    text = tokenizer.batch_decode(
        windows[:, 1:], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return windows, sum(map(len, text))


def _encode(tokenizer: Any, texts: Iterator[str]) -> list[list[int]]:
    ids: list[list[int]] = []
    chunk: list[str] = []
    for text in [*texts, None]:
        if text is not None:
            chunk.append(text)
        if chunk and (text is None or len(chunk) == 1024):
            ids += tokenizer(chunk, truncation=False, verbose=False)["input_ids"]
            chunk = []
    return ids


def _train(config, spec: ModelSpec, windows: np.ndarray, directory):
    steps = _steps(config)
    optimizer = make_optimizer(
        kind=config.optimizer,
        learning_rate=config.learning_rate,
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps // 2),
        weight_decay=config.weight_decay,
    )
    step = make_step(spec, optimizer, microbatch=config.microbatch or None)
    state = init_state(jax.random.key(config.seed), spec, optimizer)
    snapshot, seconds = directory.folder / "snapshot.safetensors", 0.0
    if snapshot.exists():
        state, clock = load_snapshot(snapshot, (state, np.zeros((), np.float64)))
        seconds = float(clock)
    truncate_metrics(directory, int(state.step))
    began = time.perf_counter() - seconds
    first = int(state.step)
    with Progress(
        f"training {config.family}", total=steps, done=first, unit="steps"
    ) as shown:
        for number in range(first, steps):
            batch = window_batch(
                windows, step=number, batch=config.batch, seed=config.seed
            )
            state, info = step(state, batch)
            shown.update()
            if (number + 1) % config.log_every == 0:
                loss = float(info["loss_nats"])
                if not math.isfinite(loss):
                    raise RunError(
                        f"pretrain: the loss is {loss} at step {number + 1}; lower "
                        "--learning_rate and start in a new --workdir."
                    )
                shown.update(0, note=f"loss {loss:.3f} nats")
                log_metrics(
                    directory,
                    number + 1,
                    {
                        "train/loss_nats": loss,
                        "train/gradient_norm": float(info["gradient_norm"]),
                    },
                )
            if (number + 1) % config.snapshot_every == 0:
                clock = np.asarray(time.perf_counter() - began)
                save_snapshot(snapshot, (state, clock))
    return state, time.perf_counter() - began


def _evaluate(params, spec: ModelSpec, windows: np.ndarray, batch: int) -> float:
    """Mean loss in nats over all windows; the last batch repeats a window unused."""
    loss = jax.jit(
        lambda params, rows: jax.vmap(
            lambda row: cross_entropy(params, spec, row[None])
        )(rows)
    )
    losses = []
    starts = range(0, len(windows), batch)
    for start in bar(starts, "held-out loss", unit="batches"):
        rows = windows[start : start + batch]
        padded = np.concatenate([rows, np.repeat(rows[:1], batch - len(rows), axis=0)])
        losses.append(np.asarray(loss(params, padded))[: len(rows)])
    return float(np.mean(np.concatenate(losses), dtype=np.float64))


if __name__ == "__main__":
    start_program(PretrainConfig, run)
