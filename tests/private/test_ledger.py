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
    with pytest.raises(ProtocolError, match="6f6e65 was already given to client 'a'"):
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
    assert "this ledger in memory belongs to process" in told
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
    """SQLite forbids to carry a connection across a fork, so that none is open then."""
    assert forking(OUTLIVE, tmp_path / "ledger.db")[0] == "302.0"


def test_a_copy_of_a_closed_file_is_whole(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.charge(ROWS, "a", 7, reference=b"1", budget=None)
    ledger.close()
    copy = shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert Ledger(copy).spent(ROWS, "a") == 7
    assert Ledger(copy).name == ledger.name != Ledger(tmp_path / "new.db").name


def test_a_reference_is_charged_once_whoever_asks(ledger):
    ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    with pytest.raises(ProtocolError, match="given to client 'a'"):
        ledger.charge(ROWS, "b", 1, reference=b"1", budget=None)


@pytest.mark.parametrize(
    ("client", "bits"),
    [("a", -1.0), ("a", float("nan")), ("a", float("inf")), (None, 1), ("\ud800", 1)],
)
def test_charges_that_cannot_be(ledger, client, bits):
    with pytest.raises(ValueError, match=r"bits must be|must be printable text"):
        ledger.charge(ROWS, client, bits, reference=b"1", budget=None)
    assert ledger.charge(ROWS, "a", 1, reference=b"1", budget=None) == 1


def test_charges_ahead_are_lost_with_the_machine_and_never_given_twice(
    tmp_path, monkeypatch
):
    """Only the first of each block waits for the disk; a new start counts it whole."""
    boot, path = tmp_path / "boot_id", tmp_path / "ledger.db"
    monkeypatch.setattr("helix_jax.private.ledger_file._BOOT", boot)
    boot.write_text("first\n")

    def charge(ledger, number, client="a"):
        reference = f"{client} {number}".encode()
        return ledger.charge(ROWS, client, 1, reference=reference, budget=20, ahead=7)

    ledger = Ledger(path)
    assert [charge(ledger, number) for number in range(3)] == [1, 2, 3]
    ledger.charge(ROWS, "b", 2, reference=b"b", budget=20)
    assert Ledger(path).spent(ROWS, "a") == 3  # another process, or the same anew
    del ledger
    boot.write_text("second\n")
    ledger = Ledger(path)
    assert ledger.spent(ROWS, "a") == 8
    assert ledger.spent(ROWS, "b") == 2
    assert charge(Ledger(path), 3) == 9  # counted once
    with pytest.raises(ProtocolError, match="given to client 'a'"):
        charge(ledger, 2)
    assert [charge(ledger, number) for number in range(4, 15)][-1] == 20
    with pytest.raises(ProtocolError, match="has had 20 bits"):
        charge(ledger, 15)
    boot.unlink()  # machines that do not tell
    ledger = Ledger(path)
    assert [charge(ledger, number, "c") for number in (0, 1)] == [1, 2]
    boot.write_text("third\n")
    assert Ledger(path).spent(ROWS, "c") == 2


KILLED = """
ledger = Ledger(sys.argv[1])
for number in range(5):
    ledger.charge(b"rows", "a", 1, reference=b"%d" % number, budget=9, ahead=7)
os.kill(os.getpid(), 9)
"""


def test_charges_ahead_outlive_a_killed_process(tmp_path):
    """None waited for the disk but the first."""
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL"):
        forking(KILLED, tmp_path / "ledger.db")
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.spent(ROWS, "a") == 5
    with pytest.raises(ProtocolError, match="given to client 'a'"):
        ledger.charge(ROWS, "a", 1, reference=b"4", budget=9)


def test_a_disk_between_two_machines_is_counted_at_each_move(tmp_path, monkeypatch):
    """Neither is started anew, so that each move back finds a boot seen before."""
    boot, path = tmp_path / "boot_id", tmp_path / "ledger.db"
    monkeypatch.setattr("helix_jax.private.ledger_file._BOOT", boot)
    for number, machine in enumerate("ABABA"):
        boot.write_text(machine)
        ledger = Ledger(path)
        reference = str(number).encode()
        ledger.charge(ROWS, "a", 1, reference=reference, budget=None, ahead=7)
        ledger.close()
    assert ledger.spent(ROWS, "a") == 4 * 8 + 1
    boot.write_text("C")
    other = Ledger(tmp_path / "other.db")
    other.charge(ROWS, "a", 1, reference=b"other", budget=None, ahead=7)
    boot.write_text("D")
    one, other = Ledger(path), Ledger(tmp_path / "other.db")
    one.take_over(other)  # what both lost with one machine counts twice
    assert one.spent(ROWS, "a") == 5 * 8 + 8


def test_another_ledger_in_a_ledger_s_place_is_not_charged(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    ledger.close()
    Ledger(tmp_path / "other.db").close()
    path.unlink()
    (tmp_path / "other.db").rename(path)
    for _ in range(2):
        with pytest.raises(ProtocolError, match=r"another lies.*nothing was given"):
            ledger.charge(ROWS, "a", 1, reference=b"2", budget=None)
    assert Ledger(path).spent(ROWS, "a") == 0


def test_a_ledger_that_is_moved_is_not_written(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    path.rename(tmp_path / "away.db")
    with pytest.raises(ProtocolError, match=r"moved or removed.*nothing was given out"):
        ledger.charge(ROWS, "a", 1, reference=b"2", budget=None)


def test_ledgers_of_another_release_are_refused(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 1")
    other.commit()
    other.close()
    with pytest.raises(ProtocolError, match="a ledger of version 1, not 2"):
        Ledger(path)


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
    monkeypatch.setattr("helix_jax.private.ledger_file._WAIT", 0.1)
    ledger = Ledger(tmp_path / "ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProtocolError, match=r"locked.*nothing was given out"):
        ledger.charge(ROWS, "a", 1, reference=b"1", budget=None)
    other.execute("ROLLBACK")
    assert ledger.spent(ROWS, "a") == 0
