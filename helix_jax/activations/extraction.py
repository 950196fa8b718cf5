"""What to extract from texts, and how: one record, filled from flags."""

from collections.abc import Sequence
from typing import NamedTuple

from helix_jax import kinds


class Extraction(NamedTuple):
    """Options of an extraction; checked where they are first used.

    Attributes:
      layers: 0 is the embedding, i the output of block i, -1 the last.
      final_norm: apply the model's final norm to every layer.
      pooling: "mean", "last", "cls", "weighted_mean", "max", "mean_sqrt", or "token"
        for every token; "auto": the whole recipe of a sentence encoder's folder, or
        "mean" for other models (`choose_recipe`).
      max_tokens: longer texts are truncated and counted; at most the model's context.
        None: as the folder says with "auto", otherwise 512.
      prompt_name: one of the folder's prompts, put before every text; "": its default
        prompt with "auto", otherwise none.
      dtype: of the stored rows, float32, bfloat16 or float16; pooling is in float32.
      token_budget: tokens per batch, padding included; "auto" chooses by model, device
        and memory; "measure" times several on the device. Recorded in the store.
      window: texts between two save points; None: chosen.
      on_empty: what to do with a text without tokens, "error" or "skip".
    """

    layers: Sequence[int] = (-1,)
    final_norm: bool = True
    pooling: str = "mean"
    max_tokens: int | None = 512
    prompt_name: str = ""
    dtype: str = "float32"
    token_budget: int | str = "auto"
    window: int | None = None
    on_empty: str = "error"


DEFAULT = Extraction()
EXTRACTION = kinds.record(
    "Extraction", "Extraction(layers=(-1,), pooling='mean')", dict="Extraction(**{})"
)
