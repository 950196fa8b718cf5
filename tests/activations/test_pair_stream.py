"""Moments of states that no store holds: equal to a store's, in any number, resumed."""

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helix_jax.activations import Extraction, PairStream, join
from helix_jax.activations.extractor import make_extractor
from helix_jax.alignment import Moments, accumulate, identity_map
from helix_jax.errors import ProcessError, StoreError
from helix_jax.processes import ALONE, meet
from helix_jax.text.hashing import SPLITS
from helix_jax.transfer.pair_fit import fit_pairs
from helix_jax.transfer.renewals import fit_renewal
from helix_jax.transfer.search import Migration
from helix_jax.transfer.stream_fit import (
    fit_streams,
    moments_and_rows,
    row_errors,
    stream_moments,
)
from helix_jax.transfer.ways import Way

from .made import extracted, make_model, make_texts, make_tokenizer, store_bytes

TEXTS = make_texts(120)
WANTED = Extraction(max_tokens=12, window=8)


@pytest.fixture(scope="module")
def sides():
    """Two random models and their tokenizer."""
    return make_model(seed=1), make_model(seed=2), make_tokenizer()


def stream(sides, folder, texts=TEXTS, processes=ALONE):
    x, y = (
        make_extractor(model, sides[2], WANTED, text_fingerprint="made")
        for model in sides[:2]
    )
    return PairStream(x, y, lambda: iter(texts), folder, len(texts), processes)


@pytest.fixture(scope="module")
def stored(sides, tmp_path_factory):
    """The same pairs in two stores."""
    folder = tmp_path_factory.mktemp("stores")
    options = {"total": len(TEXTS)}  # the layout depends on it
    return join(
        *(
            extracted(
                model, sides[2], TEXTS, folder / name, **WANTED._asdict(), **options
            )
            for model, name in zip(sides, "xy")
        )
    )


def equal(a: Moments, b: Moments, error: float) -> None:
    for name, left, right in zip(Moments._fields, a, b):
        left, right = np.asarray(left), np.asarray(right)
        assert np.abs(left - right).max() <= error * np.abs(right).max(), name


def together(count, work):
    """What `work(processes)` gives or raises in each of some, one a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    def run(index):
        processes, failure = meet(address, count, index), ""
        try:
            found = work(processes)
        except (ProcessError, ValueError) as error:
            found, failure = error, str(error)
        with contextlib.suppress(ProcessError):
            processes.leave(failure)
        return found

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.slow
def test_moments_and_errors_are_those_of_the_stores(tmp_path, sides, stored):
    pair = stream(sides, tmp_path)
    moments = stream_moments(pair)
    equal(moments, accumulate(stored.rows()), 1e-12)  # 4e-16 was seen
    maps = {"identity": identity_map(16, 16)}
    found, want = (row_errors(one, maps, moments) for one in (pair, stored))
    assert found.ids == want.ids
    np.testing.assert_allclose(
        found.errors["identity"], want.errors["identity"], rtol=1e-6
    )
    np.testing.assert_allclose(found.deviations, want.deviations, rtol=1e-6)


@pytest.mark.slow
def test_rows_that_are_kept_are_those_of_the_stores_and_calibrate_alike(
    tmp_path, sides, stored
):
    pair = stream(sides, tmp_path)
    moments, kept = moments_and_rows(pair)
    equal(moments, accumulate(stored.rows()), 1e-12)
    assert kept.ids == stored.ids
    for own, wanted in zip(kept.rows, stored.read()):
        np.testing.assert_array_equal(own, wanted)
    _, few = moments_and_rows(pair, most=64)
    assert 0 < len(few.ids) <= 64
    assert set(few.ids) < set(stored.ids)
    x = dict(zip(stored.ids, stored.read()[0]))
    np.testing.assert_array_equal(few.rows[0], [x[name] for name in few.ids])
    streamed = fit_streams(dict.fromkeys(SPLITS, pair), seed=0).confidence()
    wanted = fit_pairs(dict.fromkeys(SPLITS, stored)).confidence()
    for name, array in wanted.arrays().items():
        np.testing.assert_allclose(
            streamed.arrays()[name], array, rtol=1e-3, atol=1e-4, err_msg=name
        )


def test_a_renewal_needs_rows_that_are_stored(tmp_path, sides):
    pair = stream(sides, tmp_path)
    fitted = fit_streams(dict.fromkeys(SPLITS, pair), seed=0)
    x, y = np.ones((2, 16)), np.zeros(16)
    test = Migration(x, x, x[:1], x[:1], y, y, ["d"], np.array([-1, -1]))
    with pytest.raises(TypeError, match="fit the map on stores, not on a stream"):
        fit_renewal(Way(backward=True), fitted, test, seed=0, draws=1)


def test_two_of_which_one_fails_and_three_that_go_on_give_the_same_bits(
    tmp_path, sides
):
    whole = stream_moments(stream(sides, tmp_path / "whole"))
    shared = tmp_path / "shared"

    def fail_in_the_middle(pair):
        def reduction(piece, rows):
            if piece == 5:
                raise ValueError("the device is gone.")
            return accumulate((one.x, one.y) for one in rows)._asdict()

        return list(pair.reduce(reduction, record="moments", title="moments"))

    def of(processes):
        return stream(sides, shared, processes=processes)

    found = together(2, lambda processes: fail_in_the_middle(of(processes)))
    assert str(found[1]) == "the device is gone."
    assert "process 1 has failed: the device is gone. This process" in str(found[0])
    kept = {path.name: path.stat().st_mtime_ns for path in shared.rglob("*.npz")}
    assert 0 < len(kept) < 15
    found = together(3, lambda processes: stream_moments(of(processes)))
    for moments in found:
        equal(moments, whole, 0.0)
    files = {path.name: path.stat().st_mtime_ns for path in shared.rglob("*.npz")}
    assert len(files) == 15
    assert kept.items() <= files.items()  # what was there is not computed again


def test_texts_that_have_changed_are_refused(tmp_path, sides):
    stream_moments(stream(sides, tmp_path))
    changed = [*TEXTS[:100], TEXTS[100]._replace(text="other"), *TEXTS[101:]]
    with pytest.raises(StoreError, match="of another corpus, from window 12 on"):
        stream_moments(stream(sides, tmp_path, changed))


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_three_fill_one_store_whose_rows_are_not_known_before(tmp_path, sides, pooling):
    """A row is a token, or texts without tokens are left out: windows share chunks."""
    empty = [TEXTS[0]._replace(id=f"empty {row}", text=" ") for row in range(9)]
    texts = [
        text for row in range(0, 120, 30) for text in TEXTS[row : row + 30] + empty
    ]
    texts = [text._replace(id=f"{row}") for row, text in enumerate(texts)]
    wanted = WANTED._replace(pooling=pooling, on_empty="skip")._asdict()

    def run(name, processes=ALONE):
        model, tokenizer = sides[0], sides[2]
        return extracted(
            model, tokenizer, texts, tmp_path / name, processes=processes, **wanted
        )

    run("alone")
    for store in together(3, lambda processes: run("shared", processes)):
        assert store.counts["empty"] == 36
    assert store_bytes(tmp_path / "shared") == store_bytes(tmp_path / "alone")


def test_processes_with_other_texts_or_weights_are_named(tmp_path, sides):
    def run(processes):
        model = sides[processes.index]
        return extracted(
            model,
            sides[2],
            TEXTS,
            tmp_path / "s",
            processes=processes,
            **WANTED._asdict(),
        )

    for error in together(2, run):
        assert "process 1 differs from process 0 in what is extracted to" in str(error)
        assert "weights is 'seed 1' on process 0 and 'seed 2' on process 1" in str(
            error
        )
    assert not (tmp_path / "s").exists()

    def cut(processes):
        texts = TEXTS[: 120 - processes.index]
        return extracted(
            sides[0],
            sides[2],
            texts,
            tmp_path / "t",
            processes=processes,
            **WANTED._asdict(),
        )

    for error in together(2, cut):
        assert "process 1 differs from process 0 in the texts of" in str(error)
