r"""Train a small causal language model from scratch, tokenizer included.

    python -m experiments.pretrain --workdir=runs/llama --family=llama \
      --data=docstrings --part=0 --parts=3 --tokens=20000000

The model is written to WORKDIR/model in Hugging Face folder format, with a model card.
A run that is killed at any moment and started again with the same flags ends with the
same weights. `test/perplexity` is on held-out documents of all the data; the trigram
that it is compared with is Kneser-Ney smoothed and trained on the same tokens.

Cost: two cores, the defaults: about 9,000 tokens a second.
"""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared.about import about, short_data
from experiments.shared.options import limit_option, seed_option, workdir_option
from helix_jax.errors import RunError
from helix_jax.models import ModelSpec
from helix_jax.models.dtypes import DTYPES
from helix_jax.processes import current
from helix_jax.progress import stage
from helix_jax.reports import Quantity, quantity_table
from helix_jax.runs import (
    Report,
    Run,
    Specs,
    experiment,
    log_metrics,
    option,
    truncate_metrics,
)
from helix_jax.training import (
    encode_documents,
    held_out_windows,
    pack_documents,
    read_documents,
)
from helix_jax.training.hf_config import DECODERS

if __name__ != "__main__":  # slow, and flags are read without
    import jax

    from helix_jax.devices import devices_for
    from helix_jax.models import family_of, load_tokenizer
    from helix_jax.text.corpora import load_corpus
    from helix_jax.training import TrainState, make_optimizer
    from helix_jax.training.card import model_card, save_trained
    from helix_jax.training.hf_config import hf_config
    from helix_jax.training.train import Schedule, held_out_numbers, train
    from helix_jax.training.vocabulary import kept_tokenizer

QUANTITIES = {
    "train/parameters": Quantity("parameters"),
    "train/tokens": Quantity("tokens trained on, epochs included"),
    "train/distinct_tokens": Quantity("distinct tokens to train on"),
    "train/seconds": Quantity("training, s"),
    "test/tokens": Quantity("held-out tokens predicted"),
    "test/loss_nats": Quantity("held-out loss, nats a token"),
    "test/perplexity": Quantity("held-out perplexity"),
    "test/bits_per_character": Quantity("held-out bits a character"),
    "test/trigram_loss_nats": Quantity("the trigram's loss, nats a token"),
    "test/trigram_perplexity": Quantity("the trigram's perplexity"),
}
ANSWER = (
    "The model has perplexity {test/perplexity} on held-out text, a trigram model of "
    "the same tokens {test/trigram_perplexity}."
)


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
    width: int = option(128, "D, width of the hidden states", least=2)
    num_layers: int = option(4, "L, number of layers", least=1)
    num_heads: int = option(4, "H, attention heads of a layer", least=1)
    ffn_width: int = option(344, "F, width of the feed-forward layers", least=1)
    context: int = option(256, "T, tokens per training window", least=2)
    batch: int = option(16, "windows per step", least=1)
    microbatch: int = option(
        0, "windows per gradient, a divisor of --batch; 0: all", least=0
    )
    tokens: int = option(20_000_000, "training tokens in all, epochs included", least=1)
    optimizer: str = option(
        "adamw", "optimizer of the weights", choices=("adamw", "muon")
    )
    learning_rate: float = option(4e-3, "peak learning rate", above=0)
    warmup_steps: int = option(200, "steps of linear warm-up", least=0)
    weight_decay: float = option(0.1, "decoupled weight decay of matrices", least=0)
    seed: int = seed_option("of the initial weights and the order of the windows")
    dtype: str = option("bfloat16", "dtype of the written weights", choices=DTYPES)
    held_out_tokens: int = option(
        200_000, "held-out tokens to evaluate on, at most", least=1
    )
    log_every: int = option(50, "steps between lines of metrics.jsonl", least=1)
    snapshot_every: int = option(200, "steps between snapshots", least=1)
    tiny: bool = option(False, "a model of 2 layers and 20,000 tokens, in seconds")

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return max(1, self.tokens // (self.batch * self.context))


def check_sizes(config: PretrainConfig, _: Specs) -> None:
    """Raise if sizes given by the flags do not fit together."""
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


@experiment(
    tiny={
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
    },
    check=check_sizes,
)
def compute(config: PretrainConfig, run: Run) -> Report:
    """Train, evaluate, write the model; see the module docstring."""
    with stage(f"reading {config.data}"):
        corpus = load_corpus(config.data, limit=config.limit or None)
    processes = current()
    if processes.count > 1 and not processes.share_devices:
        raise RunError(
            f"--processes={processes.count}: training cannot be divided by texts; add "
            "--share_devices, with which processes share every batch."
        )
    with stage("training the tokenizer"), processes.first_then_others("tokenizer"):
        tokenizer = open_tokenizer(config, corpus, run.folder)
    with stage("text to windows of tokens"):
        try:
            windows = training_windows(config, corpus, tokenizer)
        except RunError:  # the flags must change, and the tokenizer with them
            shutil.rmtree(run.folder / "tokenizer", ignore_errors=True)
            raise
        held_out, characters = held_out_windows(
            tokenizer,
            list(read_documents(corpus, "test")),
            context=config.context,
            tokens=config.held_out_tokens,
        )
    sizes = ("width", "num_layers", "num_heads", "ffn_width", "context")
    hf = hf_config(
        config.family,
        vocab_size=len(tokenizer),
        **{name: getattr(config, name) for name in sizes},
    )
    spec = family_of(config.family).spec_from_hf(hf.to_dict())
    state, seconds = train_model(config, spec, windows, run)
    numbers = {
        "train/parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "train/tokens": config.batch * config.context * config.steps,
        "train/distinct_tokens": windows[:, 1:].size,
        "train/seconds": seconds,
    } | held_out_numbers(
        state.params,
        spec,
        windows,
        held_out,
        characters=characters,
        batch=config.batch,
        dtype=config.dtype,
    )
    model = partial(
        save_trained,
        params=state.params,
        spec=spec,
        config=hf,
        dtype=config.dtype,
        tokenizer=tokenizer,
        card=model_card(dataclasses.asdict(config), corpus.fingerprint, numbers),
        results=numbers,
    )
    told = about(
        config.family,
        short_data(config.data),
        f"{numbers['train/tokens']:,} tokens to train on",
        f"{numbers['test/tokens']:,} held-out tokens to test on",
    )
    table = quantity_table("The trained model", numbers, QUANTITIES)
    answer = QUANTITIES["test/perplexity"].fill(ANSWER, numbers)
    return Report(numbers, [table], told, files={"model": model}, answer=answer)


def open_tokenizer(config: PretrainConfig, corpus: Any, folder: Path) -> Any:
    """The tokenizer of the flags, or one trained to FOLDER/tokenizer, once."""
    if config.tokenizer:
        return load_tokenizer(config.tokenizer)
    texts = read_documents(corpus, "fit", part=config.part, parts=config.parts)
    sizes = {"vocab_size": config.vocab_size, "context": config.context}
    return kept_tokenizer(folder / "tokenizer", texts, **sizes)


def training_windows(config: PretrainConfig, corpus: Any, tokenizer: Any) -> np.ndarray:
    """[N, T + 1] of the part of the text that the flags name.

    Raises:
      RunError: fewer windows than one step needs.
    """
    texts = read_documents(corpus, "fit", part=config.part, parts=config.parts)
    windows = pack_documents(encode_documents(tokenizer, texts), context=config.context)
    if len(windows) < config.batch:
        raise RunError(
            f"--data={config.data} (part {config.part} of {config.parts}) gives "
            f"{len(windows)} windows of {config.context} tokens, one step needs "
            f"{config.batch}; use more text, a shorter --context or a smaller --batch."
        )
    return windows


def train_model(
    config: PretrainConfig, spec: ModelSpec, windows: np.ndarray, run: Run
) -> tuple[TrainState, float]:
    """The state after all steps, resumed from the last snapshot; seconds in all."""
    optimizer = make_optimizer(
        kind=config.optimizer,
        learning_rate=config.learning_rate,
        steps=config.steps,
        warmup_steps=min(config.warmup_steps, config.steps // 2),
        weight_decay=config.weight_decay,
    )
    schedule = Schedule(
        config.steps,
        config.batch,
        config.seed,
        config.microbatch or None,
        config.log_every,
        config.snapshot_every,
    )
    return train(
        spec,
        optimizer,
        windows,
        schedule,
        snapshot=run.folder / "snapshot.safetensors",
        begin=partial(truncate_metrics, run),
        log=partial(log_metrics, run),
        devices=devices_for(config.microbatch or config.batch),
    )


run = compute.run

if __name__ == "__main__":
    compute.main()
