"""A small real corpus, labelled by package, and tiny models trained on it."""

import json

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
def models(texts, tmp_path_factory):
    """Folders of two models trained for some steps: llama and gpt_neox."""
    from experiments.pretrain import PretrainConfig, run

    folder = tmp_path_factory.mktemp("models")
    made = {}
    for seed, family in enumerate(("llama", "gpt_neox")):
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
        made[family] = folder / family / "model"
    return made
