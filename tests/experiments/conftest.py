"""A small real corpus with tiny models trained on it, and planted embeddings."""

import json

import numpy as np
import pytest

from helix_jax.text.docstrings import CLASSES, read_docstrings


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """A JSONL file of 1,200 docstrings of four packages."""
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    wanted = [CLASSES.index(name) for name in ("jax", "pandas", "scipy", "optax")]
    chosen = [
        text
        for label in wanted
        for text in [one for one in read_docstrings() if one.label == label][:300]
    ]
    path.write_text(
        "".join(
            json.dumps({"id": t.id, "text": t.text, "label": CLASSES[t.label]}) + "\n"
            for t in chosen
        )
    )
    return path


@pytest.fixture(scope="session")
def models(texts, made_once):
    """Folders of two models trained for some steps: llama and gpt_neox."""
    from experiments.pretrain import PretrainConfig, run

    families = "llama", "gpt_neox"

    def make(folder):
        for seed, family in enumerate(families):
            config = PretrainConfig(
                workdir=str(folder / family),
                family=family,
                data=str(texts),
                tiny=True,
                part=seed,
                parts=2,
                seed=seed,
            )
            run(config)

    folder = made_once("trained", make)
    return {family: folder / family / "model" for family in families}


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """Two files of embeddings with a common part, and their labelled texts."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    ids = [f"doc{i // 2}#{i % 2}" for i in range(900)]
    labels = rng.integers(3, size=900)
    shared = rng.normal(size=(900, 4)) + 3 * np.eye(3, 4)[labels]
    for name, width in (("a", 7), ("b", 5)):
        rows = shared @ rng.normal(size=(4, width)) + rng.normal(size=(900, width))
        np.savez(folder / f"{name}.npz", ids=np.array(ids), embeddings=rows)
    lines = [
        f'{{"id": "{i}", "text": "text {i}", "label": "{c}"}}\n'
        for i, c in zip(ids, labels)
    ]
    np.save(folder / "labels.npy", labels)
    (folder / "texts.jsonl").write_text("".join(lines))
    return folder
