"""The model card of a trained model: recipe, data, results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def model_card(
    recipe: Mapping[str, Any], data: Mapping[str, Any], results: Mapping[str, float]
) -> str:
    """Markdown with the recipe (flags), what the data was, and the results."""
    shown = {k: v for k, v in recipe.items() if k not in ("workdir", "tiny")}
    for name in ("data", "tokenizer"):  # what it was, not where it lay
        shown[name] = ",".join(Path(one).name for one in recipe[name].split(","))
    rows = "\n".join(
        f"| {name} | {value:,} |"
        if isinstance(value, int)
        else f"| {name} | {value:.4g} |"
        for name, value in results.items()
    )
    return (
        f"# A small {recipe['family']} language model\n\n"
        "Trained from scratch by `experiments/pretrain.py` of helix_jax, for tests and "
        "demonstrations of linear alignment between independently trained models. It "
        "knows little; do not use it for anything else.\n\n"
        "## Results on held-out documents\n\n"
        f"| measure | value |\n|---|---|\n{rows}\n\n"
        f"## Recipe\n\n```json\n{json.dumps(shown, indent=2)}\n```\n\n"
        "## Data\n\nThe weights are shipped, the text is not.\n\n"
        f"```json\n{json.dumps(data, indent=2)}\n```\n"
    )
