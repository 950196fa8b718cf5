"""Measures of generated text: closeness to both native texts, repetition, variety.

    cosine_target    cos(embedding of the text, embedding of the target's own text)
    cosine_source    the same for the source's own text
    repetition       share of word 4-grams that occurred earlier in the text
    distinct_2       distinct word pairs divided by word pairs, over all texts together
    words            words per text

Embeddings are the token states of a sentence encoder, averaged and normalised.

Reference: Reimers and Gurevych 2019, arXiv 1908.10084 (mean pooling); Li et al. 2016,
  arXiv 1510.03055, section 5.3 (distinct-n); Welleck et al. 2020, arXiv 1908.04319,
  section 6 (repetition of 4-grams); cosine to native text: arXiv 2603.18908.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from helix_jax.activations.batching import length_ladder, plan_batches
from helix_jax.activations.forward import pooled_states
from helix_jax.activations.gather import gather_states
from helix_jax.models import Model, load_model, load_tokenizer
from helix_jax.progress import stage
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.text.tokens import encode_texts, private_tokenizer


def embed_texts(
    model: Model,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_tokens: int = 256,
    token_budget: int = 8192,
) -> np.ndarray:
    """Sentence embeddings: the mean over token states, scaled to length one.

    Args:
      model: an encoder such as all-MiniLM-L6-v2; any model works.
      tokenizer: of the model.
      texts: N texts; an empty one gives zero.
      max_tokens: longer texts are truncated.
      token_budget: tokens per forward pass, padding included.

    Returns:
      [N, D] float32.
    """
    max_tokens = min(max_tokens, model.spec.max_tokens)
    backend = private_tokenizer(tokenizer, max_tokens=max_tokens)
    ids = encode_texts(backend, list(texts)).ids
    held = [row for row, text in enumerate(texts) if text.strip() and ids[row]]
    found = np.zeros((len(texts), model.spec.width), np.float32)
    if held:
        ids = [ids[row] for row in held]
        batches = plan_batches(
            np.array(list(map(len, ids))),
            ladder=length_ladder(max_tokens, growth=1.6),
            token_budget=token_budget,
        )
        mean_states = partial(
            pooled_states,
            model.params,
            spec=model.spec,
            layers=(model.spec.num_layers,),
            final_norm=True,
            pooling="mean",
            dtype=np.dtype(np.float32),
        )
        found[held] = gather_states(mean_states, ids, batches)[0]
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norms > 0, norms, 1)


def repetition_rate(text: str, *, n: int = 4) -> float:
    """Share of word n-grams that occurred earlier in the text; 0 for short texts."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_n(texts: Sequence[str], *, n: int = 2) -> float:
    """Distinct word n-grams divided by word n-grams, over all texts; 0 without any."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def text_scores(
    arms: Mapping[str, Sequence[str]],
    *,
    encoder: Model,
    encoder_tokenizer: Any,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Measures of generated texts, compared with what both models write alone.

    Args:
      arms: writer -> N texts, for the same prompts; "native_source" and "native_target"
        are required, and measured like the others.
      encoder, encoder_tokenizer: the sentence encoder.
      resamples: of the bootstrap over prompts.

    Returns:
      Intervals generation/cosine_source, cosine_target, repetition, words, and the
      number generation/distinct_2, each followed by _ARM except for "mapped".

    Raises:
      ValueError: a native model is missing, arms have different numbers of texts, or
        there are fewer than two.
    """
    counts = {arm: len(texts) for arm, texts in arms.items()}
    if not counts.keys() >= {"native_source", "native_target"}:
        raise ValueError(
            "text_scores: needs the texts of native_source and native_target, got "
            f"those of {', '.join(counts) or 'nobody'}."
        )
    if len(set(counts.values())) > 1:
        raise ValueError(
            "text_scores: needs one text of each kind for every prompt, got "
            f"{', '.join(f'{count} of {arm}' for arm, count in counts.items())}."
        )
    embedded = {
        arm: embed_texts(encoder, encoder_tokenizer, texts)
        for arm, texts in arms.items()
    }
    numbers: dict[str, float | Interval] = {}
    for arm, texts in arms.items():
        suffix = "" if arm == "mapped" else f"_{arm}"
        columns = {
            "cosine_source": np.sum(embedded[arm] * embedded["native_source"], axis=1),
            "cosine_target": np.sum(embedded[arm] * embedded["native_target"], axis=1),
            "repetition": np.array([repetition_rate(text) for text in texts]),
            "words": np.array([len(text.split()) for text in texts], float),
        }
        numbers[f"generation/distinct_2{suffix}"] = distinct_n(texts)
        for name, values in columns.items():
            numbers[f"generation/{name}{suffix}"] = bootstrap_interval(
                values, np.arange(len(values)), resamples=resamples
            )
    return numbers


def compare_samples(
    samples: Sequence[Mapping[str, Any]],
    encoder: str,
    writers: Sequence[str],
    *,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Compare every writer's texts with both native ones; see `text_scores`.

    Args:
      samples: one per prompt, as from `continue_prompts`: writer -> text.
      encoder: folder or hub id of a sentence encoder.
      writers: names as from `arms_of`; "text" is the mapped head.
      resamples: of the bootstrap.
    """
    with stage("loading the sentence encoder"):
        model, tokenizer = load_model(encoder), load_tokenizer(encoder)
    arms = {
        "mapped" if name == "text" else name: [sample[name] for sample in samples]
        for name in writers
    }
    with stage("comparing the arms' texts"):
        return text_scores(
            arms, encoder=model, encoder_tokenizer=tokenizer, resamples=resamples
        )


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
