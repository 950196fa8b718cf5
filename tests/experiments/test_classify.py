"""Classification end to end on real text and small trained models."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.classify import ClassifyConfig, run
from experiments.shared.sides import load_side, open_corpus, states_of, with_stores
from helix_jax.errors import RunError
from helix_jax.transfer.task import compare_arms
from tests.experiments.told import require_told

pytestmark = pytest.mark.slow  # its fixtures take seconds

REQUIRED = {
    f"test/{arm}_accuracy{end}"
    for arm in ("target", "mapped", "source", "shuffled", "random", "majority")
    for end in ("", "_low", "_high")
} | {"similarity/linear_cka", "fit/r2"}


def config_of(models, texts, workdir, **flags):
    return ClassifyConfig(
        workdir=str(workdir),
        source=str(models["llama"]),
        target=str(models["gpt_neox"]),
        data=str(texts),
        max_tokens=64,
        resamples=200,
        seeds=2,
        **flags,
    )


@pytest.fixture(scope="module")
def done(models, texts, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("classify") / "w"
    config = config_of(
        models, texts, workdir, public="docstrings", public_limit=500, few_shot=(32,)
    )
    return config, run(config)


def test_the_summary_has_every_arm_with_its_interval(done):
    config, summary = done
    assert summary.keys() >= REQUIRED
    written = json.loads(Path(config.workdir, "summary.json").read_text())
    assert written == summary
    for name, value in summary.items():
        if name.endswith("_accuracy"):
            assert summary[f"{name}_low"] <= value <= summary[f"{name}_high"], name
    assert {
        "test/public_accuracy",
        "test/public_32_accuracy",
        "test/few_shot_32_accuracy",
    } <= summary.keys()


def test_the_map_carries_the_classifier_and_the_controls_do_not(done):
    _, summary = done
    mapped = summary["test/mapped_accuracy"]
    for control in ("shuffled", "random", "majority"):
        assert mapped > summary[f"test/{control}_accuracy_high"], control
    assert summary["fit/r2"] > 0.2
    assert summary["test/target_accuracy"] >= mapped - 0.1


def test_it_is_not_computed_again_and_refuses_other_flags(done, models, texts):
    config, summary = done
    assert run(config) == summary
    require_told(config.workdir, "llama", "gpt_neox", "texts.jsonl", "to test on")
    with pytest.raises(ValueError, match="--pooling: 'auto' there, 'last' now"):
        run(config_of(models, texts, config.workdir, pooling="last"))


def test_imported_embeddings_give_the_same_numbers(done, models, texts, tmp_path):
    """The source's own states, written to a file with ids, in the model's place."""
    config, summary = done
    options = with_stores(config)
    corpus = open_corpus(options)
    side = load_side(config.source, options)
    stores = [states_of(side, corpus, split, options) for split in corpus.splits]
    np.savez(
        tmp_path / "source.npz",
        embeddings=np.concatenate([store.read() for store in stores]),
        ids=np.array([one for store in stores for one in store.ids]),
    )
    again = run(
        ClassifyConfig(
            workdir=str(tmp_path / "w"),
            source=f"embeddings:{tmp_path}/source.npz",
            target=config.target,
            data=config.data,
            max_tokens=64,
            resamples=200,
            seeds=2,
            stores=options.stores,
        )
    )
    for name in sorted(REQUIRED):
        assert again[name] == pytest.approx(summary[name], abs=1e-6), name


def test_embeddings_that_lack_a_text_are_refused(models, texts, tmp_path):
    np.savez(
        tmp_path / "few.npz", embeddings=np.ones((2, 3), np.float32), ids=["a", "b"]
    )
    config = ClassifyConfig(
        workdir=str(tmp_path / "w"),
        source=f"embeddings:{tmp_path}/few.npz",
        target=str(models["llama"]),
        data=str(texts),
    )
    with pytest.raises(ValueError, match=r"lacks \d+ of \d+ texts"):
        run(config)


def test_text_without_labels_is_refused(models, tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text(
        "\n\n".join(f"Paragraph number {i} of a text. " * 9 for i in range(99))
    )
    with pytest.raises(ValueError, match="needs class labels"):
        run(config_of(models, path, tmp_path / "w"))


def test_required_flags_are_named():
    with pytest.raises(ValueError, match=r"missing: --source .* and --target"):
        run(ClassifyConfig(workdir="w"))


def test_two_arms_are_compared_on_the_same_texts(done):
    config, summary = done
    loss = compare_arms(config.workdir, "target", "mapped", resamples=200)
    arms = (summary[f"test/{arm}_accuracy"] for arm in ("target", "mapped"))
    first, second = arms
    assert float(loss.value) == pytest.approx(first - second)
    assert float(loss.low) <= float(loss.value) <= float(loss.high)
    width = float(loss.high - loss.low)
    apart = sum(
        summary[f"test/{arm}_accuracy_high"] - summary[f"test/{arm}_accuracy_low"]
        for arm in ("target", "mapped")
    )
    assert width < apart  # what makes a text hard for both cancels
    with pytest.raises(RunError, match="no arm 'teacher'"):
        compare_arms(config.workdir, "teacher", "mapped")
