"""Answers of a fit on the disk: the same bytes after any end, charged once."""

import errno
import os

import numpy as np
import pytest

from helix_jax.errors import AnsweredError, BudgetError, ProtocolError
from helix_jax.private import FitClient, FitProvider, Ledger
from helix_jax.private.kept_answers import KeptAnswers

pytest.importorskip("Pyfhel")
NUMBER = bytes(range(16))


def test_an_answer_is_made_once_and_given_as_often_as_it_is_asked_for(tmp_path):
    made = []

    def make():
        made.append(1)
        return [b"first", b"second"]

    kept = KeptAnswers(tmp_path, NUMBER)
    assert not kept.has("results")
    for _ in range(2):
        files = KeptAnswers(tmp_path, NUMBER).keep("results", make)
        assert [file.read_bytes() for file in files] == [b"first", b"second"]
    assert made == [1]
    assert kept.has("results")
    assert not KeptAnswers(tmp_path, bytes(16)).has("results")


def test_what_was_not_whole_is_made_anew_and_never_shown(tmp_path):
    kept = KeptAnswers(tmp_path, NUMBER)

    def breaks():
        yield b"first"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ProtocolError, match="cannot be written"):
        kept.keep("results", breaks)
    assert not kept.has("results")
    # Of a process that was killed in between.
    left = tmp_path / f"answers-{NUMBER.hex()}" / ".results"
    left.mkdir()
    (left / "000000").write_bytes(b"of another mask")
    files = kept.keep("results", lambda: [b"first"])
    assert [file.read_bytes() for file in files] == [b"first"]
    assert not left.exists()


class Run:
    """A fit of one client, whose provider may end and come back."""

    def __init__(self, folder, client, *, share=100.0):
        generator = np.random.default_rng(2)
        self.x, self.y = (generator.normal(size=(40, 3)) for _ in range(2))
        self.folder, self.share, self.client = folder, share, client
        self.provider()  # makes the ledger
        first = self.provider()
        first.save(self.state)
        self.side = FitClient(self.client, first.offer.to_bytes(), self.x)
        for message in self.side.chunks():
            first.absorb(message)
        first.save(self.state)

    @property
    def state(self):
        return self.folder / "fit"

    def provider(self):
        """As a process that has just begun has it."""
        self.ledger = Ledger(self.folder / "ledger.db")
        found = FitProvider(
            self.y, ledger=self.ledger, identity="ada", share=self.share
        )
        found.register(self.client.public_bundle())
        found.restore(self.state)
        return found

    def charges(self):
        """Of the answers: how many, and their bits."""
        with self.ledger._use() as connection:
            return connection.execute("SELECT bits FROM charges").fetchall()


def read(files):
    return [file.read_bytes() for file in files]


@pytest.mark.slow
def test_kept_answers_are_the_same_after_a_new_start_and_charged_once(tmp_path, client):
    run = Run(tmp_path, client())
    one = run.provider()
    mean, results = one.keep_mean(run.state), one.keep_results(run.state)
    first = [mean.read_bytes(), *read(results)]
    assert len(run.charges()) == 2
    two = run.provider()
    again = [two.keep_mean(run.state).read_bytes(), *read(two.keep_results(run.state))]
    assert again == first
    assert len(run.charges()) == 2
    run.side.read_mean(first[0])
    for message in first[1:]:
        run.side.read(message)
    x, y = (rows - rows.mean(axis=0) for rows in (run.x, run.y))
    error = np.abs(np.asarray(run.side.moments().cov_xy) - x.T @ y / len(x))
    assert error.max() <= 6 * float(run.side.noise.max())


def test_killed_between_the_disk_and_the_ledger_it_is_charged_when_it_is_given(
    tmp_path, client
):
    run = Run(tmp_path, client())
    one = run.provider()
    # All that is done before the charge, and then the end.
    kept = KeptAnswers(run.state, one.offer.number)
    (file,) = kept.keep("mean", lambda: [one._mean()])
    before = file.read_bytes()
    assert run.charges() == []
    assert run.provider().keep_mean(run.state).read_bytes() == before
    assert len(run.charges()) == 1


def test_what_was_charged_and_is_not_there_is_never_made_with_other_noise(
    tmp_path, client
):
    run = Run(tmp_path, client())
    one = run.provider()
    one.keep_mean(run.state).unlink()
    (folder,) = run.state.glob("answers-*/mean")
    folder.rmdir()
    for file in one.keep_results(run.state):
        file.unlink()
    (folder,) = run.state.glob("answers-*/results-*")
    folder.rmdir()
    two = run.provider()
    with pytest.raises(AnsweredError, match=r"mean of fit .* are not kept"):
        two.keep_mean(run.state)
    with pytest.raises(AnsweredError, match=r"results of fit .* are not kept"):
        two.keep_results(run.state)
    assert len(run.charges()) == 2


def test_what_the_ledger_refuses_is_not_given_though_it_is_kept(tmp_path, client):
    run = Run(tmp_path, client())
    one = run.provider()
    one._account = one._account._replace(share=1e-9)
    for keep in (one.keep_mean, one.keep_results):
        with pytest.raises(BudgetError):
            keep(run.state)
        with pytest.raises(BudgetError):
            keep(run.state)
    assert run.charges() == []
