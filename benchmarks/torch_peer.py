"""The peer of `benchmarks.extraction`: transformers on torch."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

RANDOM = {
    "random:tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
    },
    "random:100m": {
        "hidden_size": 768,
        "num_hidden_layers": 14,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "intermediate_size": 2048,
    },
    "random:1b": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
    },
}
RANDOM_VOCABULARY = 8192


def make_random_model(name: str, folder: Path, texts: Sequence[str]) -> str:
    """Save a random llama and a tokenizer trained on the texts; return the folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=RANDOM_VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<s>"],
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    vocabulary = -(-core.get_vocab_size() // 128) * 128
    config = LlamaConfig(
        vocab_size=vocabulary,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        **RANDOM[name],
    )
    dtype = torch.bfloat16 if name == "random:1b" else torch.float32
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    return str(folder)


Peer = Callable[[Sequence[str], int], np.ndarray]
"""A function of texts and a batch size that gives one vector a text."""


def torch_peer(folder: str, tokenizer: Any, max_tokens: int, dtype: str) -> Peer:
    """transformers' AutoModel: mean-pooled last states."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit("JAX has a GPU here, torch has none; install torch for GPUs.")
    device = "cuda" if on_gpu else "cpu"
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.eval().to(device)
    options = {} if model.config.model_type == "bert" else {"use_cache": False}

    def run(texts: Sequence[str], batch: int) -> np.ndarray:
        ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)[
            "input_ids"
        ]
        order = np.argsort([len(own) for own in ids], kind="stable")[::-1]
        rows = np.empty((len(texts), model.config.hidden_size), np.float32)
        pending = []
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                padded = tokenizer.pad(
                    {"input_ids": [ids[row] for row in part]}, return_tensors="pt"
                )
                mask = padded["attention_mask"].to(device)
                tokens = padded["input_ids"].to(device)
                states = model(input_ids=tokens, attention_mask=mask, **options)
                weights = mask[..., None].float()
                sums = (states.last_hidden_state.float() * weights).sum(1)
                pending.append((part, sums / weights.sum(1)))
            for part, pooled in pending:
                rows[part] = pooled.cpu().numpy()
        return rows

    return run


def sentence_peer(folder: str, max_tokens: int) -> Peer | None:
    """sentence-transformers' own encode, if the folder holds a sentence encoder."""
    if not (Path(folder) / "modules.json").is_file():
        return None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder)
    model.max_seq_length = max_tokens

    def run(texts: Sequence[str], batch: int) -> np.ndarray:
        return model.encode(list(texts), batch_size=batch, show_progress_bar=False)

    return run
