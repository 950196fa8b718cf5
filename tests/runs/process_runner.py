"""Runs of several real processes, killed and started again in other numbers.

    python -m runs.process_runner OUT [KILLS SEED [FLAGS ...] | pretrain]

Imports once and forks for every process, before any device is touched, so that one
costs a second and not ten. Prints one JSON line: scenario -> [status, last line of the
standard error stream] of each process. With KILLS, runs of two processes of which one
is killed at a random moment, so many times, and one that ends: of three, or with flags
that share devices of two. With pretrain, one training by one process and by two.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import extract, pretrain
from helix_jax.alignment import accumulate
from helix_jax.models import load_tokenizer
from helix_jax.models.engines import read_spec_by
from helix_jax.runs.command_line import parse_flags
from helix_jax.runs.processes import define_process_flags, joined
from helix_jax.runs.program import run_guarded, run_program

TEXTS, WINDOW = 400, 4
WORDS = "the small red dog runs under a large old tree near the river bank".split()
_EXTRACT = (f"--window={WINDOW}", "--model=pebble-llama", "--max_tokens=16")
PRETRAIN = "--tokens=4096"
MESH = ("--share_devices", "--mesh=fsdp:2,tensor:2")  # of two processes


def write_corpus(path: Path, texts: int = TEXTS) -> None:
    """Short distinct texts."""
    lines = []
    for number in range(texts):
        text = " ".join(WORDS[(number * k + k) % len(WORDS)] for k in range(1, 6))
        lines.append(json.dumps({"id": f"t{number}", "text": f"{number} {text}"}))
    path.write_text("\n".join(lines) + "\n")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(out: Path, name: str, *flags: str) -> int:
    """Fork a process of the program; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for stream, end in ((1, "out"), (2, "err")):
            os.dup2(os.open(out / f"{name}.{end}", os.O_CREAT | os.O_WRONLY), stream)
        if "--share_devices" in flags:
            jax.config.update("jax_num_cpu_devices", 2)
        program = pretrain if PRETRAIN in flags else extract
        own = () if PRETRAIN in flags else _EXTRACT
        words = [program.__name__, f"--data={out / 'corpus.jsonl'}", *own, *flags]
        config = program.compute.config_class
        status = run_program(config, program.compute.run, words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def start_all(
    out: Path, name: str, count: int, *flags: str, own: Sequence[str] = ()
) -> list[int]:
    """All processes of a run; `own` are flags of the last one."""
    place = f"--coordinator=127.0.0.1:{free_port()}", f"--processes={count}"
    return [
        start(
            out,
            f"{name}.{index}",
            *flags,
            *place,
            f"--process={index}",
            *(own if index == count - 1 else ()),
        )
        for index in range(count)
    ]


def share(out: Path) -> list[int]:
    """Two processes, two devices each, that add up one stream; then one is lost."""
    place = f"--coordinator=127.0.0.1:{free_port()}", "--processes=2"
    pids = []
    for index in range(2):
        pids.append(os.fork())
        if pids[-1] == 0:
            words = [*place, f"--process={index}", "--share_devices"]
            with open(out / f"devices.{index}.err", "w") as errors:
                os.dup2(errors.fileno(), 2)
                os._exit(run_guarded(lambda words=words: add_up(words)))
    return pids


def add_up(words: list[str]) -> None:
    """Moments over the devices of both processes; process 1 is killed after them."""
    jax.config.update("jax_num_cpu_devices", 2)
    known = flags.FlagValues()
    define_process_flags(known, program="add_up")
    parse_flags(words, known)
    rows = np.random.default_rng(0).normal(size=(1030, 6)).astype(np.float32) + 50
    stream = [(rows[i : i + 256], rows[i : i + 256, :3]) for i in range(0, 1030, 256)]
    with joined(known, lambda said: print(said, file=sys.stderr, flush=True)) as both:
        assert jax.device_count() == 4
        alone, shared = accumulate(stream), accumulate(stream, devices=jax.devices())
        for one, other in zip(alone, shared):
            error = np.abs(np.asarray(one) - np.asarray(other)).max()
            assert error <= 1e-10 * np.abs(np.asarray(one)).max(), error
        both.wait("the sums")
        print(f"equal on process {both.index}", file=sys.stderr, flush=True)
        if both.index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        accumulate(stream, devices=jax.devices())  # waits for devices that are gone
        raise SystemExit("a sum came of devices that are gone")


def ended(out: Path, name: str, pids: list[int]) -> list[tuple[int, str]]:
    """How each process ended, and what it said last."""
    found = []
    for index, pid in enumerate(pids):
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = (out / f"{name}.{index}.err").read_text().splitlines()
        found.append((status, lines[-1] if lines else ""))
    return found


def windows(folder: Path) -> int:
    """Windows that are there, of all stores."""
    return len(list(folder.glob("stores/*/texts/*.json")))


def interrupt(
    pids: list[int],
    folder: Path,
    number: int,
    way: signal.Signals,
    seconds: float = float("inf"),
) -> None:
    """Send a signal to one process after some windows more, or some seconds."""
    target, until = windows(folder) + 3, time.monotonic() + seconds
    while windows(folder) < target and time.monotonic() < until:
        if os.waitpid(pids[0], os.WNOHANG)[0]:
            raise SystemExit("the run ended before it could be killed")
        time.sleep(0.002)
    os.kill(pids[number], way)


def main(out: Path) -> None:
    write_corpus(out / "corpus.jsonl")
    report = {}

    def run(name: str, count: int, *flags: str, **options) -> None:
        report[name] = ended(out, name, start_all(out, name, count, *flags, **options))

    whole, shared = (f"--workdir={out / name}" for name in ("whole", "shared"))
    report["whole"] = ended(out, "whole", [start(out, "whole.0", whole)])
    for name, number, way in (
        ("killed", 1, signal.SIGKILL),
        ("asked to end", 0, signal.SIGTERM),
    ):
        pids = start_all(out, name, 2, shared)
        interrupt(pids, out / "shared", number, way)
        report[name] = ended(out, name, pids)
    run("four", 4, shared)
    run("again", 2, shared)
    run("other flags", 2, f"--workdir={out / 'other'}", own=["--limit=7"])
    report["devices"] = ended(out, "devices", share(out))
    cut = f"--workdir={out / 'cut'}", "--splits=test", *MESH
    for name, way in (("cut, asked", signal.SIGTERM), ("cut, killed", signal.SIGKILL)):
        pids = start_all(out, name, 2, *cut)
        interrupt(pids, out / "cut", 0, way)
        report[name] = ended(out, name, pids)
    run("cut", 2, *cut)
    print(json.dumps(report))


def kill_often(out: Path, kills: int, seed: int, *flags: str) -> None:
    """Kill one of two processes again and again; compare with `test_processes`."""
    chance = random.Random(seed)
    write_corpus(out / "corpus.jsonl", 40 * kills)
    whole, shared = (f"--workdir={out / name}" for name in ("whole", "shared"))
    report = {"whole": ended(out, "whole", [start(out, "whole.0", whole)])}
    for number in range(kills):
        name, seconds = f"kill{number}", chance.random() * 4
        pids, victim = start_all(out, name, 2, shared, *flags), chance.randrange(2)
        # Every second one anywhere, the meeting and the reading of texts included.
        limit = [seconds] if number % 2 else []
        interrupt(pids, out / "shared", victim, signal.SIGKILL, *limit)
        report[name] = [*ended(out, name, pids), (victim, str(windows(out / "shared")))]
    count = 2 if flags else 3
    report["last"] = ended(out, "last", start_all(out, "last", count, shared, *flags))
    print(json.dumps(report))


def train_twice(out: Path) -> None:
    """A training by one process of one device, and by two of two devices each."""
    write_corpus(out / "corpus.jsonl", 2000)
    flags = PRETRAIN, "--tiny", "--limit=0", "--context=32", "--dtype=float32"
    one, two = (f"--workdir={out / name}" for name in ("one", "two"))
    report = {"one": ended(out, "one", [start(out, "one.0", *flags, one)])}
    pids = start_all(out, "two", 2, *flags, "--share_devices", two)
    print(json.dumps(report | {"two": ended(out, "two", pids)}))


if __name__ == "__main__":
    # What transformers and torch import late is most of the time of a short run.
    read_spec_by("auto", "pebble-llama")
    load_tokenizer("pebble-llama")
    if sys.argv[2:] == ["pretrain"]:
        train_twice(Path(sys.argv[1]))
    elif len(sys.argv) > 2:
        kill_often(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    else:
        main(Path(sys.argv[1]))
