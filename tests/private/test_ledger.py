"""A ledger counts once, whoever asks at the same time, and forgets nothing."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest

from helix_jax.errors import ProtocolError
from helix_jax.private.ledger import Ledger

ROWS, OTHER = b"rows", b"other rows"


@pytest.fixture(params=["file", "memory"])
def ledger(request, tmp_path):
    return Ledger(tmp_path / "deep" / "ledger.db" if request.param == "file" else None)


def test_charges_add_up_by_subject_and_client(ledger):
    assert ledger.spent(ROWS, "a") == 0
    assert ledger.charge(ROWS, "a", 10, reference=b"1", budget=30) == 10
    assert ledger.charge(ROWS, "a", 20, reference=b"2", budget=30) == 30
    with pytest.raises(
        ProtocolError, match="has had 30 bits of this; 1 more are above"
    ):
        ledger.charge(ROWS, "a", 1, reference=b"3", budget=30)
    assert ledger.charge(ROWS, "b", 30, reference=b"3", budget=30) == 30
    assert ledger.charge(OTHER, "a", 5, reference=b"1", budget=None) == 5
    assert ledger.spent(ROWS, "a") == 30


def test_an_answer_is_charged_once(ledger):
    ledger.charge(ROWS, "a", 1, reference=b"one", budget=None)
    with pytest.raises(ProtocolError, match="6f6e65 was given to client 'a' before"):
        ledger.charge(ROWS, "a", 1, reference=b"one", budget=None)
    assert ledger.spent(ROWS, "a") == 1


def charges(ledger, name, count=25, budget=40.0):
    """How many charges of one bit were allowed."""
    done = 0
    for number in range(count):
        try:
            reference = f"{name} {number}".encode()
            ledger.charge(ROWS, "a", 1, reference=reference, budget=budget)
            done += 1
        except ProtocolError:
            pass
    return done


def test_threads_never_pass_the_budget(ledger):
    done = []
    threads = [
        threading.Thread(target=lambda n=n: done.append(charges(ledger, n)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 40 == ledger.spent(ROWS, "a")


def _charge_in_another(path, name, queue):
    queue.put(charges(Ledger(path), name))


def test_processes_and_restarts_share_a_file(tmp_path):
    path = tmp_path / "ledger.db"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    others = [
        context.Process(target=_charge_in_another, args=(path, name, queue))
        for name in range(3)
    ]
    for other in others:
        other.start()
    done = [queue.get(timeout=60) for _ in others]
    for other in others:
        other.join()
    assert sum(done) == 40 == Ledger(path).spent(ROWS, "a")


def forking(script, *arguments):
    """Lines of a program that forks; a process of its own has no threads."""
    head = "import os, sys\nfrom helix_jax.private.ledger import Ledger\n"
    words = [sys.executable, "-c", head + script, *map(str, arguments)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.split("\n")


FORK = """
ledger = Ledger(*sys.argv[1:])
ledger.charge(b"rows", "a", 1, reference=b"1", budget=None)
if not (child := os.fork()):
    try:
        ledger.charge(b"rows", "a", 1, reference=b"2", budget=None)
        print("charged", flush=True)
    except Exception as wrong:
        print(wrong, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(ledger.spent(b"rows", "a"))
"""


def test_a_fork_goes_on_with_a_file_and_is_refused_without(tmp_path):
    assert forking(FORK, tmp_path / "ledger.db")[:2] == ["charged", "2.0"]
    told, spent, *_ = forking(FORK)
    assert "lives in another process" in told
    assert spent == "1.0"


OUTLIVE = """
ledger = Ledger(sys.argv[1])
ledger.charge(b"rows", "a", 1, reference=b"1", budget=None)
(ready, tell), (wait, go) = os.pipe(), os.pipe()
if not (child := os.fork()):
    ledger.charge(b"rows", "a", 1, reference=b"2", budget=None)
    os.write(tell, b"x")
    os.read(wait, 1)
    for number in range(3):
        reference = f"late {number}".encode()
        ledger.charge(b"rows", "a", 100, reference=reference, budget=None)
    os._exit(0)
os.read(ready, 1)
del ledger
os.write(go, b"x")
os.waitpid(child, 0)
print(Ledger(sys.argv[1]).spent(b"rows", "a"))
"""


def test_charges_of_a_fork_outlive_the_parent_s_use(tmp_path):
    """SQLite forbids to carry a connection across a fork, so that none is kept."""
    assert forking(OUTLIVE, tmp_path / "ledger.db")[0] == "302.0"


def test_a_copy_of_the_file_is_whole(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.charge(ROWS, "a", 7, reference=b"1", budget=None)
    copy = shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert Ledger(copy).spent(ROWS, "a") == 7
    assert Ledger(copy).name == ledger.name != Ledger(tmp_path / "new.db").name


def test_a_reference_is_charged_once_whoever_asks(ledger):
    ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    with pytest.raises(ProtocolError, match="given to client 'a' before"):
        ledger.charge(ROWS, "b", 1, reference=b"1", budget=None)


@pytest.mark.parametrize(
    ("client", "bits"),
    [("a", -1.0), ("a", float("nan")), ("a", float("inf")), (None, 1), ("\ud800", 1)],
)
def test_charges_that_cannot_be(ledger, client, bits):
    with pytest.raises(ValueError, match=r"bits must be|must be printable text"):
        ledger.charge(ROWS, client, bits, reference=b"1", budget=None)
    assert ledger.charge(ROWS, "a", 1, reference=b"1", budget=None) == 1


def test_another_program_s_file_is_left_alone(tmp_path):
    path = tmp_path / "users.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE users (name TEXT)")
    other.commit()
    before = path.read_bytes()
    with pytest.raises(ProtocolError, match="a file of another program"):
        Ledger(path)
    assert path.read_bytes() == before


def test_what_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"something else, and long enough to be read " * 30)
    with pytest.raises(ProtocolError, match=r"cannot be used .* nothing was given out"):
        Ledger(path)
    assert path.read_bytes().startswith(b"something else")
    with pytest.raises(ProtocolError, match="be written"):
        Ledger(path / "below")


def test_a_locked_ledger_charges_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("helix_jax.private.ledger._WAIT", 0.1)
    ledger = Ledger(tmp_path / "ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProtocolError, match=r"locked.*nothing was given out"):
        ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    other.execute("ROLLBACK")
    assert ledger.spent(ROWS, "a") == 0
