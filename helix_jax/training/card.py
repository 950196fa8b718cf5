"""A trained model as a folder, with a card of its recipe, data and results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helix_jax.atomic import replaced_files, write_file
from helix_jax.errors import RunError
from helix_jax.models.checkpoint import save_model
from helix_jax.models.spec import ModelSpec


def save_trained(
    folder: Path,
    *,
    params: dict,
    spec: ModelSpec,
    config: Any,
    dtype: str,
    tokenizer: Any,
    card: str,
    results: Mapping[str, float],
) -> None:
    """Write a folder that transformers loads, with README.md and results.json.

    Args:
      folder: to write to.
      params, spec, config, dtype: as for `save_model`.
      tokenizer: a transformers tokenizer.
      card: from `model_card`.
      results: name -> number.

    Raises:
      CheckpointError: as `save_model`.
      RunError: the folder cannot be written.
    """
    save_model(folder, params, spec, config, dtype=dtype)
    with replaced_files(folder, raises=RunError) as new:
        tokenizer.save_pretrained(new)
    write_file(folder / "README.md", card, raises=RunError)
    write_file(
        folder / "results.json", json.dumps(results, indent=2) + "\n", raises=RunError
    )


SCRATCH = (
    "Trained from scratch by `experiments/pretrain.py` of helix_jax, for tests and "
    "demonstrations of linear alignment between independently trained models. It "
    "knows little; do not use it for anything else."
)
TUNED = (
    "Fine-tuned briefly by `experiments/finetune.py` of helix_jax from the model "
    "below, whose licence applies, to give two models that differ in training alone."
)


def model_card(
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
    results: Mapping[str, float],
    *,
    said: str = SCRATCH,
) -> str:
    """Markdown with the recipe (flags), the data and the results."""
    shown = {k: v for k, v in recipe.items() if k not in ("workdir", "tiny")}
    for name in {"data", "tokenizer", "model"} & recipe.keys():
        # the name of the data, not where it was stored
        shown[name] = ",".join(Path(one).name for one in recipe[name].split(","))
    rows = "\n".join(
        f"| {name} | {value:,} |"
        if isinstance(value, int)
        else f"| {name} | {value:.4g} |"
        for name, value in results.items()
    )
    return (
        f"# A small {recipe['family']} language model\n\n{said}\n\n"
        "## Results on held-out documents\n\n"
        f"| measure | value |\n|---|---|\n{rows}\n\n"
        f"## Recipe\n\n```json\n{json.dumps(shown, indent=2)}\n```\n\n"
        "## Data\n\nThe weights are shipped, the text is not.\n\n"
        f"```json\n{json.dumps(data, indent=2)}\n```\n"
    )
