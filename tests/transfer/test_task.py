"""What a task says of maps, draws and few shots, beside numpy and scikit-learn."""

import numpy as np
import pytest

from helix_jax.alignment import AffineMap, from_batch
from helix_jax.errors import RunError
from helix_jax.transfer.few_shot import few_shot_arms, public_arms
from helix_jax.transfer.task import compare_arms, draw_texts
from tests import twins


def right(logits, labels):
    return np.mean(np.asarray(logits).argmax(1) == labels)


def test_maps_have_their_r2_and_the_accuracy_of_the_targets_probe(task, rows):
    kernel = np.linalg.lstsq(rows.x["fit"], rows.y["fit"], rcond=None)[0]
    affine = AffineMap(kernel.astype(np.float32), np.zeros(4, np.float32))
    scores = task.score_maps({"plain": affine})
    mapped, labels = rows.x["test"] @ kernel, rows.labels["test"]
    logits = mapped @ task.target_probe.kernel + task.target_probe.bias
    assert scores["r2"]["plain"].value == pytest.approx(
        twins.r2(rows.y["test"], mapped), abs=1e-5
    )
    assert scores["accuracy"]["plain"].value == right(logits, labels)
    select = rows.x["select"] @ kernel
    logits = select @ task.target_probe.kernel + task.target_probe.bias
    chosen_on = task.accuracy(task.read_mapped(affine, "select"), "select")
    assert chosen_on.value == right(logits, rows.labels["select"])
    own = task.probe_accuracies()
    plain = rows.x["test"] @ task.source_probe.kernel + task.source_probe.bias
    assert own["source_probe"].value == right(plain, labels)
    largest = np.bincount(rows.labels["fit"]).argmax()
    assert right(task.name_largest(), labels) == np.mean(labels == largest)


def test_arms_are_compared_on_the_same_texts(task, rows, tmp_path):
    own = task.read_own()
    draws = [own["target"], task.name_largest()]
    task.save_right(tmp_path / "right.npz", {"two": draws, "one": [own["target"]]})
    labels = rows.labels["test"]
    halfway = np.mean([right(logits, labels) for logits in draws])
    difference = compare_arms(tmp_path, "one", "two", resamples=50)
    assert difference.value == pytest.approx(right(own["target"], labels) - halfway)
    with pytest.raises(RunError, match="no arm 'teacher'"):
        compare_arms(tmp_path, "teacher", "one")


def test_draws_depend_on_id_and_seed_alone():
    ids = [f"text/{i}" for i in range(50)]
    first = draw_texts(ids, 10, seed=0)
    back = draw_texts(ids[::-1], 10, seed=0)
    assert {ids[i] for i in first} == {ids[::-1][i] for i in back}
    assert set(first) != set(draw_texts(ids, 10, seed=1))
    with pytest.raises(RunError, match="needs a larger fit split than 50 texts"):
        draw_texts(ids, 50, seed=0)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_few_texts_have_their_share_of_the_weight(task, rows, share):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(300, 5))
    y = x @ generator.normal(size=(5, 4)) + generator.normal(size=(300, 4))
    public = {"fit": from_batch(x[:200], y[:200]), "select": from_batch(x, y)}
    arms = public_arms(task, public, counts=(20,), share=share, seeds=2)
    assert list(arms) == ["public", "public_20"]
    for seed, logits in enumerate(arms["public_20"]):
        few = draw_texts(task.ids["fit"], 20, seed=seed)
        copies = 10 if share < 1 else 1  # 20 texts weigh as much as the 200 others
        own = [np.repeat(z["fit"][few], copies, axis=0) for z in (rows.x, rows.y)]
        whole = own if share == 1 else [np.r_[x[:200], own[0]], np.r_[y[:200], own[1]]]
        ridge = twins.best_ridge(*whole, x, y)
        mapped = ridge.predict(rows.x["test"])
        wanted = mapped @ task.target_probe.kernel + task.target_probe.bias
        np.testing.assert_allclose(logits, wanted, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.slow
def test_few_shots_are_those_of_scikit_learn(task, rows):
    (logits,) = few_shot_arms(task, counts=(32,), seeds=1)["few_shot_32"]
    few = draw_texts(task.ids["fit"], 32, seed=0)
    x, labels = rows.x["fit"][few], rows.labels["fit"][few]
    twin = twins.best_probe(x[8:], labels[8:], x[:8], labels[:8])
    named = np.asarray(logits).argmax(1)
    np.testing.assert_array_equal(named, twin.predict(rows.x["test"]))
    same = {split: np.zeros_like(z) for split, z in rows.labels.items()}
    with pytest.raises(RunError, match=r"32 few-shot texts .* are of one class"):
        few_shot_arms(task._replace(labels=same), counts=(32,), seeds=1)
