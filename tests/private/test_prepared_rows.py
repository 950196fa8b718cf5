"""Rows prepared block by block against all of them at once; kept, damaged, shared."""

import hashlib
import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from helix_jax.errors import StoreError
from helix_jax.private import (
    Client,
    FitClient,
    FitProvider,
    Privacy,
    fit_plan,
    prepare_rows,
    unit_rows,
)
from helix_jax.private.internals import integer_rows

PRIVACY = Privacy(4.0, 1e-6)


def draw(rows, width, seed=0):
    """Rows with means away from zero and columns of very different size."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(rows, width)) * np.logspace(2, -3, width) + 5


def tricky():
    """A constant column, one of signs, one of zeros; rows that repeat; few values."""
    generator = np.random.default_rng(1)
    y = draw(60, 9)[np.repeat(np.arange(60), 5)]
    y[:, 3], y[:, 4], y[:, 5] = 0.1, 0.0, generator.choice([-2.0, 2.0], 300)
    return y


class Reader:
    """Rows of a matrix by slices, as a store has them; and how many were read."""

    def __init__(self, y):
        self.y, self.shape, self.read = y, y.shape, 0

    def __getitem__(self, rows):
        self.read += len(self.y[rows])
        return self.y[rows]


def hash_whole(y, ids):
    """The twin of the hashes: every row's at once."""
    each = [hashlib.sha256(row.tobytes()).digest() for row in y]
    begin = str(y.shape).encode()
    return (
        hashlib.sha256(begin + ids + b"".join(each)).digest(),
        hashlib.sha256(begin + b"".join(sorted(each))).digest(),
    )


def prepare_whole(y):
    """The twin of the integers: rows, exponents, means in units, energy."""
    means = y.mean(axis=0)
    y = y - means
    largest = np.abs(y).max(axis=0)
    constant = largest <= 2.0**-40 * np.abs(means)
    y[:, constant], largest[constant] = 0.0, 0.0
    exponents = np.full(len(means), -fit_plan.MAX_EXPONENT)
    for values, bits in ((largest, 15), (np.abs(means), 24)):
        seen = values > 0
        own = np.frexp(values[seen])[1] - bits
        exponents[seen] = np.maximum(exponents[seen], own)
    rows = np.rint(np.ldexp(y, -exponents))
    return rows, exponents, np.ldexp(means, -exponents), float((y**2).sum() / len(y))


def count_bits(rows):
    """The twin of `held_bits`."""

    def entropy(times):
        shares = times / times.sum()
        return float(-(shares * np.log2(shares)).sum())

    (count, width), total = rows.shape, 0.0
    for column in rows.T:
        times = np.unique(column, return_counts=True)[1]
        total += entropy(times) if len(times) <= count / 2 else 15
    repeats = Counter((row + 0.0).tobytes() for row in rows)
    different = len(repeats) * width * 15
    different += count * entropy(np.array(list(repeats.values())))
    spread = np.linalg.eigvalsh(rows.T @ rows if count >= width else rows @ rows.T)
    rank = int((spread > spread[-1] * 4.0**-12).sum())
    return min(count * total, different, rank * (count + width - rank) * 15)


CASES = {
    "small": lambda: draw(150, 12),
    "wide": lambda: draw(40, 300),
    "narrow": lambda: draw(500, 1),
    "tricky": tricky,
    "two blocks": lambda: draw(2500, 512),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_blocks_of_rows_give_what_all_rows_at_once_do(case, tmp_path):
    y = CASES[case]()
    rows, exponents, means, energy = prepare_whole(y)
    made = prepare_rows(Reader(y), folder=tmp_path / "rows")
    np.testing.assert_array_equal(made.rows[0 : len(y)], rows)
    np.testing.assert_array_equal(made.targets.exponents, exponents)
    np.testing.assert_array_equal(made.targets.means, means)
    assert made.targets.energy == pytest.approx(energy, rel=2.0**-11)
    assert made.targets.norm == np.linalg.norm(rows, axis=0).max()
    assert made.longest == np.linalg.norm(y, axis=1).max()
    assert made.hashes == hash_whole(y, bytes(32))
    assert made.held_bits == count_bits(rows)


def test_an_array_a_reader_and_a_file_are_prepared_alike(tmp_path):
    y = np.asfortranarray(tricky()).astype(np.float32)
    ids = [f"text-{number}" for number in range(len(y))]
    made = [
        prepare_rows(y.tolist(), ids=ids),
        prepare_rows(Reader(y), ids=ids),
        prepare_rows(y, ids=ids, folder=tmp_path / "new" / "rows"),
    ]
    for other in made[1:]:
        assert other.hashes == made[0].hashes
        assert other.held_bits == made[0].held_bits
        np.testing.assert_array_equal(other.rows[7:90], made[0].rows[7:90])
        assert repr(other.targets) == repr(made[0].targets)
    assert (tmp_path / "new" / "rows").stat().st_mode & 0o077 == 0
    reversed_names = prepare_rows(y, ids=ids[::-1])
    assert reversed_names.hashes.subject == made[0].hashes.subject
    assert reversed_names.hashes.fingerprint != made[0].hashes.fingerprint


def test_kept_rows_are_used_again_without_a_look_at_a_source_of_their_name(tmp_path):
    y = draw(200, 8)
    first = prepare_rows(Reader(y), folder=tmp_path, source_name="a")
    again = Reader(y)
    second = prepare_rows(again, folder=tmp_path, source_name="a")
    assert again.read == 0
    assert second.held_bits == first.held_bits
    assert repr(second.targets) == repr(first.targets)
    assert second.hashes == first.hashes
    assert second.longest == first.longest
    np.testing.assert_array_equal(second.rows[0:200], first.rows[0:200])
    nameless = tmp_path / "nameless"
    prepare_rows(y, folder=nameless)
    again = Reader(y)
    prepare_rows(again, folder=nameless)
    assert again.read == 200  # hashed, and not made again


@pytest.mark.parametrize(
    "change",
    [
        {"source": draw(200, 8, seed=1), "source_name": "b"},
        {"source": draw(201, 8)},
        {"ids": [str(number) for number in range(200)]},
        {"privacy": PRIVACY},
    ],
    ids=lambda change: " ".join(change),
)
def test_kept_rows_of_another_source_name_or_privacy_are_made_anew(change, tmp_path):
    y = draw(200, 8) / 1e4
    prepare_rows(y, folder=tmp_path, source_name="a")
    asked = {"source": y, "source_name": "a"} | change
    found = prepare_rows(**asked, folder=tmp_path)
    expected = prepare_rows(**asked)
    assert found.hashes == expected.hashes
    assert found.privacy == expected.privacy
    np.testing.assert_array_equal(found.rows[0:300], expected.rows[0:300])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "integers"),
        lambda folder: (folder / "integers").write_bytes(b"short"),
        lambda folder: (folder / "integers").unlink(),
        lambda folder: flip(folder / "rows.npz"),
        lambda folder: (folder / "rows.npz").write_bytes(b""),
        lambda folder: np.savez(folder / "rows.npz", version=1, ids=np.zeros(3)),
        lambda folder: np.savez(folder / "rows.npz", version=99),
    ],
    ids=["bit", "cut", "gone", "record", "empty record", "other arrays", "version"],
)
def test_kept_rows_that_are_damaged_are_made_anew(damage, tmp_path):
    y = draw(200, 8)
    prepare_rows(y, folder=tmp_path, source_name="a")
    before = (tmp_path / "integers").read_bytes()
    damage(tmp_path)
    found = prepare_rows(y, folder=tmp_path, source_name="a")
    np.testing.assert_array_equal(found.rows[0:200], prepare_whole(y)[0])
    assert (tmp_path / "integers").read_bytes() == before


def test_rows_that_are_open_stay_when_others_take_their_place(tmp_path):
    y = draw(200, 8)
    held = prepare_rows(y, folder=tmp_path)
    prepare_rows(draw(200, 8, seed=1), folder=tmp_path)
    np.testing.assert_array_equal(held.rows[0:200], prepare_whole(y)[0])
    file = tmp_path / "integers"
    cut = prepare_rows(y, folder=tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"cut short .* made again"):
        cut.rows[0:200]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Beside blocks, some hashes a row; a row of float64 has 2,048 bytes here."""

    class Drawn:
        def __init__(self, rows):
            self.shape = rows, 256

        def __getitem__(self, rows):
            start, stop, _ = rows.indices(self.shape[0])
            return np.random.default_rng(start).normal(size=(stop - start, 256))

    peaks = []
    for rows in (8192, 16384):  # two blocks and four
        tracemalloc.start()
        prepare_rows(Drawn(rows), folder=tmp_path / str(rows))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 8192 < 400


@pytest.mark.slow
def test_many_fits_share_prepared_rows(tmp_path):
    pytest.importorskip("Pyfhel")
    x, y = draw(150, 30, seed=2), draw(150, 12)
    ids = [f"text-{number}" for number in range(150)]
    prepared = prepare_rows(y, ids=ids, folder=tmp_path)
    client = Client("guarded")
    rows, exponents = prepare_whole(y)[:2]
    truth = (x - x.mean(axis=0)).T @ np.ldexp(rows, exponents) / len(x)
    providers = [
        FitProvider(prepared, precision=None, share=math.inf) for _ in range(2)
    ]
    fits = []
    for provider in providers:
        provider.register(client.public_bundle())
        fits.append(FitClient(client, provider.offer.to_bytes(), x, ids=ids))
    for messages in zip(*(fit.chunks() for fit in fits)):
        for provider, message in zip(providers, messages):
            provider.absorb(message)
    for provider, fit in zip(providers, fits):
        fit.read_mean(provider.mean_message())
        for message in provider.results():
            fit.read(message)
        error = np.abs(np.asarray(fit.moments().cov_xy) - truth)
        scale = np.outer(x.std(axis=0), y.std(axis=0))
        assert (error <= 2e-5 * scale + 6 * fit.noise).all()
    np.testing.assert_array_equal(integer_rows(providers[0]), rows)


def test_an_offer_of_prepared_rows_is_that_of_the_array(tmp_path):
    y = draw(150, 12)
    white = unit_rows(draw(80, 12, seed=3)).apply(y)
    for rows, privacy in ((y, None), (white, PRIVACY)):
        prepared = prepare_rows(rows, privacy=privacy, folder=tmp_path)
        found = FitProvider(prepared).offer.to_bytes()
        expected = FitProvider(rows, privacy=privacy).offer.to_bytes()
        own = [n for n, pair in enumerate(zip(found, expected)) if len({*pair}) > 1]
        assert own[-1] - own[0] < 16  # the number of the fit


def test_what_cannot_be_prepared_is_refused():
    y = draw(20, 3)
    for wrong, message in (
        (y[:1], r"y needs shape \[n, d_y\], got \(1, 3\)"),
        (y[:, 0], r"needs shape .* got \(20,\)"),
        (y[:, :0], r"needs shape .* got \(20, 0\)"),
        (np.where(y > 5, np.nan, y), "must be finite"),
        (y * 1e200, "scale y to numbers near 1"),
        (y * 1e-200, "scale y to numbers near 1"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare_rows(wrong)
    with pytest.raises(TypeError, match="real numbers"):
        prepare_rows(y.astype(str))
    with pytest.raises(ValueError, match=r"norm 1 at most, the longest is"):
        prepare_rows(y, privacy=PRIVACY)
    with pytest.raises(ValueError, match="give both to prepare_rows"):
        FitProvider(prepare_rows(y), ids=["a"] * 20)
