"""Texts that a model writes while its states are changed at a layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from helix_jax.alignment import StateMap
from helix_jax.generation.generate import generate_ids
from helix_jax.generation.sampling import Sampling
from helix_jax.models import Model
from helix_jax.monitors.steering import edited
from helix_jax.types import Array

NUCLEUS = Sampling(temperature=1.0, top_p=0.9)


def write_edited(
    model: Model,
    tokenizer: Any,
    layer: int,
    edit: StateMap,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    key: Array,
    sampling: Sampling = NUCLEUS,
) -> list[str]:
    """Continue prompts under an edit; with one key, all edits share the random draws.

    Args:
      model, tokenizer: who writes.
      layer: where its states are changed.
      edit: how, such as from `shift_by`.
      prompts: token ids, special tokens included.
      max_new_tokens: of each text; special tokens are never chosen, so every text
        reaches that length.
      key: jax.random key.
      sampling: how tokens are chosen.

    Returns:
      The text written after each prompt.

    Raises:
      ValueError: as `edited` and `generate_ids`.
    """
    parts = edited(model, layer, edit)
    size = model.spec.vocab_size
    special = [index for index in tokenizer.all_special_ids if index < size]
    # Rows of the embedding that the tokenizer has no token for.
    beyond = np.arange(len(tokenizer), size).tolist()
    written = generate_ids(
        parts,
        prompts,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        key=key,
        suppressed=[*special, *beyond],
    )
    return tokenizer.batch_decode([one.tokens for one in written])
