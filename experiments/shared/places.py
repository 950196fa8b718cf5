"""Where third-party data and models are on a machine; none are included here.

`HELIX_SHARED` (default ../shared) has data/, corpora/, models/ and tokenizers/;
`HELIX_REAL` (default ~/.cache/helix_real) has pretrained models of general English as
Hugging Face folders. Callers leave out what is missing.
"""

import os
from pathlib import Path

# Folder of HELIX_REAL -> hub id of the same model.
REAL_MODELS = {
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "gemma3-270m": "google/gemma-3-270m",
    "mpnet-base": "sentence-transformers/all-mpnet-base-v2",
    "minilm-l6": "sentence-transformers/all-MiniLM-L6-v2",
}
REAL_DECODERS = ("smollm2-135m", "gemma3-270m")


def shared_folder(given: str = "") -> Path:
    """The folder of data, corpora, small models and tokenizers."""
    return Path(given or os.environ.get("HELIX_SHARED", "../shared"))


def small_models(given: str = "") -> list[Path]:
    """Folders of the small pretrained models in the shared folder."""
    found = shared_folder(given).glob("models/*/config.json")
    return sorted(path.parent for path in found)


def real_folder() -> Path:
    """The folder of pretrained models."""
    default = Path.home() / ".cache" / "helix_real"
    return Path(os.environ.get("HELIX_REAL", default))


def real_models() -> dict[str, str]:
    """Name -> folder of the pretrained models found here, in the table's order."""
    folder = real_folder()
    return {
        name: str(folder / name)
        for name in REAL_MODELS
        if (folder / name / "config.json").is_file()
    }
