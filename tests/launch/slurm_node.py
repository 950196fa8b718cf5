"""A SLURM of one node, this machine, from the system's packages, for a few tests."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens to."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Controller, node and their keys in a folder; the environment names them.

    Skips the test where the programs are missing or may not be started.
    """
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or os.getuid():
        said = f"no {', '.join(missing)}" if missing else "needs root"
        pytest.skip(f"{said}: Debian's slurmctld, slurmd, slurm-client and munge")
    key, sock, host = (
        folder / "munge.key",
        folder / "munge.socket",
        socket.gethostname(),
    )
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(f"""
ClusterName=one
SlurmctldHost={host}
SlurmUser=root
AuthInfo=socket={sock}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
KillWait=2
NodeName={host} CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
""")
    keys = ["munged", "--foreground", "--force", f"--socket={sock}"]
    keys += [f"--key-file={key}", f"--pid-file={folder}/munged.pid"]
    keys += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    started = []
    try:
        for words in (keys, ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            with (folder / f"{words[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(words, stdout=out, stderr=out))
            _await(lambda: sock.exists(), "munged")
        _await(lambda: "idle" in said_by("sinfo", "-h", "-o", "%T"), "slurmd")
        yield
    finally:
        said_by("scancel", f"--user={os.getuid()}")
        for one in reversed(started):
            one.terminate()
        for one in started:
            one.wait(timeout=30)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def said_by(*words: str) -> str:
    """What a command prints; empty where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _await(ready, name: str) -> None:
    ends = time.monotonic() + 60
    while not ready():
        if time.monotonic() > ends:
            raise TimeoutError(f"{name} is not up after a minute")
        time.sleep(0.05)
