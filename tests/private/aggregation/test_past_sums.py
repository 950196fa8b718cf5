"""The same rows enter no second sum: among sessions, restarts, forks and formats."""

import os
import subprocess
import sys

import numpy as np
import pytest

from helix_jax.alignment import Moments
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private.aggregation import MomentsFormat, Silo, encode, name_moments
from helix_jax.private.ledger import Ledger
from tests.private.aggregation.stage import MODULUS, Stage

VECTORS = [[k, 10 * k, 2**100 - k] for k in range(1, 5)]


@pytest.fixture
def ledgers(tmp_path):
    """One a silo, opened anew each time: as after a restart."""

    def opened(silos=range(1, 5)):
        return {k: Ledger(tmp_path / f"silo{k}.db") for k in silos}

    return opened


def test_control_two_totals_give_the_silo_that_left():
    """What the ledger is for: nothing in either sum is wrong."""
    first = Stage(VECTORS).play()
    second = Stage(VECTORS).play(leaves={2: "advertise"})
    gap = [(a - b) % MODULUS for a, b in zip(first.total(), second.total())]
    assert gap == VECTORS[1]


def test_rows_of_a_total_enter_no_other_session(ledgers):
    Stage(VECTORS, ledgers=ledgers()).play()
    with pytest.raises(ProtocolError, match="of member 1 were in a sum before"):
        Stage(VECTORS, ledgers=ledgers())
    # In another format, whose integers are others, too: rows have a name of their own.
    session = Stage([[0] * 7] * 3).session
    other = Stage([[0] * 7] * 3)
    with pytest.raises(ProtocolError, match="were in a sum before"):
        Silo(
            other.session,
            1,
            other.signing_keys[1],
            np.zeros((2, session.length), np.uint64),
            rows=str(VECTORS[0]).encode(),
            ledger=ledgers()[1],
        )
    Stage([[9, 9, 9], *VECTORS[:2]], ledgers={1: ledgers()[1]}).play()  # other rows


@pytest.mark.parametrize(("until", "free"), [("mask", True), ("confirm", False)])
def test_what_counts_is_that_the_masked_vector_left(ledgers, until, free):
    Stage(VECTORS, ledgers=ledgers()).play(until=until)
    if free:
        Stage(VECTORS, ledgers=ledgers()).play()
        return
    with pytest.raises(ProtocolError, match="were in a sum before"):
        Stage(VECTORS, ledgers=ledgers())


def test_a_repeated_sum_is_one_that_all_have_agreed_to(ledgers):
    Stage(VECTORS[:3], ledgers=ledgers()).play()
    # The fourth was in no sum, and is the one whose vector a repetition would give.
    stage = Stage(VECTORS, ledgers=ledgers(), again=(1, 2, 3))
    stage.act("advertise")
    stage.deliver("advertise")
    with pytest.raises(ProtocolError, match=r"silo 4: silos \[1, 2, 3\] say"):
        stage.silos[4].share(stage.answers["advertise"][4])
    agreed = Stage(VECTORS, ledgers=ledgers(), again=(1, 2, 3, 4)).play()
    assert agreed.total() == [sum(column) % MODULUS for column in zip(*VECTORS)]


def test_two_sessions_at_once(ledgers):
    """Both pass the first look; only one of them gets the masked vector."""
    stages = [Stage(VECTORS, ledgers=ledgers()).play(until="mask") for _ in range(2)]
    stages[0].act("mask")
    with pytest.raises(ProtocolError, match="have meanwhile left for the sum of this"):
        stages[1].act("mask")
    with pytest.raises(KeyRoleError, match="mask is next"):
        stages[1].silos[1].confirm(b"")


FORK = """
import os, sys
from helix_jax.errors import ProtocolError
from helix_jax.private.ledger import Ledger
from tests.private.aggregation.stage import Stage
stage = Stage([[1], [2], [3]], ledgers={1: Ledger(sys.argv[1])}).play(until="mask")
silo, message = stage.silos[1], stage.answers["share"][1]
child = os.fork()
if not child:
    try:
        silo.mask(message)
    except ProtocolError as error:
        os._exit(0 if "forked child" in str(error) else 2)
    os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stage.play()
print(stage.total())
"""


def test_a_forked_child_takes_no_step(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "ledger.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=os.getcwd(),
    )
    assert run.stdout == "[6]\n", run.stderr


def test_a_ledger_that_cannot_be_written_lets_nothing_leave(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    stage = Stage(VECTORS, ledgers={1: ledger}).play(until="mask")
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(ProtocolError, match="cannot be used"):
        stage.act("mask")


def moments_of(x, y, size):
    """Moments in float64, added up in batches of a size."""
    z, width = np.concatenate([x, y], axis=1), x.shape[1]
    parts = [z[start : start + size] for start in range(0, len(z), size)]
    mean = sum(part.sum(axis=0) for part in parts) / len(z)
    joint = sum((part - mean).T @ (part - mean) for part in parts) / len(z)
    blocks = joint[:width, :width], joint[:width, width:], joint[width:, width:]
    return Moments(float(len(z)), mean[:width], mean[width:], *blocks)


def test_names_of_moments():
    """Of the rows: not of how they were added up, nor of the format."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(3.0, 1.0, (600, 12)), rng.normal(0.0, 1e-3, (600, 5))
    x[:, 0], y = 1.0, y - y.mean(axis=0)
    order = rng.permutation(600)
    same = [moments_of(x, y, size) for size in (1, 7, 600)]
    same.append(moments_of(x[order], y[order], 7))
    assert all((one.cov_xx != same[0].cov_xx).any() for one in same[1:])
    names = {name_moments(one) for one in same}
    assert len(names) == 1
    layouts = [MomentsFormat(12, 5, silos=3, value_bits=bits) for bits in (8, 10)]
    first, second = (encode(same[0], layout) for layout in layouts)
    assert (first != second).any()
    other = x.copy()
    other[7] += 1.0
    for changed in ((other, y), (x[1:], y[1:]), (x, y * 1.001), (x + 1.0, y)):
        names.add(name_moments(moments_of(*changed, 600)))
    assert len(names) == 5
