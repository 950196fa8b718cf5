"""A client's program against a provider's: two processes, two models' states."""

import json

import numpy as np
import pytest

from experiments import query
from helix_jax.private.search import save_index
from helix_jax.reports import load_blocks
from helix_jax.text.corpora import load_corpus

from ..net.services import serving

CLASSES, WIDTHS = ("a", "b", "c"), (20, 16)


@pytest.fixture(scope="module")
def two_sides(tmp_path_factory):
    """A corpus, the client's states of it, and a provider's service.

    The states of both sides are linear in the same hidden numbers, so that a right map
    reads nearly every label and a wrong one a third of them.
    """
    pytest.importorskip("Pyfhel")
    folder, generator = tmp_path_factory.mktemp("sides"), np.random.default_rng(5)
    labels = generator.integers(0, 3, 400)
    texts = [
        {"id": f"doc{i}", "text": f"text {i}", "label": CLASSES[labels[i]]}
        for i in range(400)
    ]
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(text) + "\n" for text in texts))
    hidden = generator.normal(size=(3, 6))[labels] + 0.3 * generator.normal(
        size=(400, 6)
    )
    x, y = (
        hidden @ generator.normal(size=(6, width))
        + 0.05 * generator.normal(size=(400, width))
        for width in WIDTHS
    )
    ids = [text["id"] for text in texts]
    np.savez(folder / "x.npz", embeddings=x.astype(np.float32), ids=np.array(ids))
    fit = [
        ids.index(text.id)
        for text in load_corpus(str(corpus), id_column="id").read("fit")
    ]
    np.savez(folder / "y.npz", y=y[fit], ids=np.array(ids)[fit])
    means = np.stack([y[fit][labels[fit] == label].mean(axis=0) for label in (2, 0, 1)])
    np.savez(
        folder / "head.npz",
        kernel=means.T,
        bias=-(means**2).sum(axis=1) / 2,
        classes=np.array([CLASSES[label] for label in (2, 0, 1)]),
    )
    save_index(
        folder / "index",
        y,
        model={"name": "y"},
        ids=ids,
        texts=[t["text"] for t in texts],
    )
    words = [
        f"--{what}=own={folder / name}"
        for what, name in (
            ("heads", "head.npz"),
            ("rows", "y.npz"),
            ("indexes", "index"),
        )
    ]
    with serving(folder / "state", *words) as one:
        yield folder, one.url


def config(folder, url, workdir, **flags):
    return query.QueryConfig(
        workdir=str(workdir),
        url=url,
        plain_http=True,
        source=f"embeddings:{folder / 'x.npz'}",
        data=str(folder / "corpus.jsonl"),
        id_column="id",
        **flags,
    )


@pytest.mark.slow
def test_a_map_is_fitted_and_the_classifier_and_the_index_are_asked(
    two_sides, tmp_path
):
    folder, url = two_sides
    summary = query.run(config(folder, url, tmp_path / "w", index="own", queries=20))
    assert summary["query/accuracy"] >= 0.9
    assert summary["query/search_bits"] == pytest.approx(5 * 400 * 12, rel=0.05)
    _, answers, hits = load_blocks(tmp_path / "w")
    assert len(answers.items) == len(hits.items) == 5
    own = sum(item["text"] in item["found"] for item in hits.items)
    assert own >= 3  # of five texts, whose states are mapped and of 400


@pytest.mark.slow
def test_a_run_that_was_killed_after_the_fit_does_not_fit_again(two_sides, tmp_path):
    folder, url = two_sides
    query.run(config(folder, url, tmp_path / "w", queries=2))
    (tmp_path / "w" / "DONE").unlink()
    summary = query.run(config(folder, url, tmp_path / "w", queries=2))
    assert "query/fit_seconds" not in summary


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"head": "other"}, "--head=other: .* serves own"),
        ({"index": "other"}, "--index=other: .* serves own"),
        ({"rows": "other"}, "--rows=other: .* serves own"),
    ],
)
def test_what_is_not_served_is_refused_by_name(two_sides, tmp_path, flags, message):
    folder, url = two_sides
    with pytest.raises(ValueError, match=message):
        query.run(config(folder, url, tmp_path / "w", **flags))
