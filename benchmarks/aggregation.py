"""Sums over silos across a network: bytes, seconds and memory of every process.

    python -m benchmarks.aggregation [--silos=3,8] [--widths=256,768] [--rows=2000]

The aggregator and every silo are processes of this machine that speak TLS on loopback.
Seconds are counted from when all silos have joined until the slowest has the total:
without the start of Python, but including the silos' waits for each other's processors.
Memory is the peak of a process, including JAX.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from helix_jax.runs.flags import integers_flag
from helix_jax.runs.program import start_main
from helix_jax.secret_files import make_secret

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import write_results
    from experiments.tokens import STATE_FILE
    from helix_jax.alignment import accumulate
    from helix_jax.array_files import read_npz
    from helix_jax.net.aggregation.agreement import new_agreement
    from helix_jax.net.aggregation.identity_files import make_identity
    from helix_jax.net.certificates import make_authority, make_server
    from helix_jax.net.identities import Identities
    from helix_jax.net.names import LOCAL_NAMES
    from helix_jax.private.aggregation import MomentsFormat, decode, encode
    from helix_jax.private.aggregation.int128 import add, zeros

SILOS = integers_flag("silos", [3, 8], "silos of a sum")
WIDTHS = integers_flag("widths", [256, 768], "widths of source and target")
ROWS = flags.DEFINE_integer("rows", 2000, "rows of each silo", lower_bound=2)
TINY = flags.DEFINE_bool("tiny", False, "3 silos of width 4")
_SAID = r"([\d,]+) bytes sent, ([\d.]+) s since all had joined \(([\d.]+) s"
CLOCK = 100  # ticks of /proc a second


HEADER = (
    "silos",
    "width of each side",
    "sent by a silo, MB",
    "of it beside the vector, bytes",
    "seconds",
    "a silo, processor seconds",
    "aggregator, processor seconds",
    "its memory at most, MB",
    "the same when it starts, MB",
    "equal to the plain sum",
)


def measure(silos: int, width: int, rows: int, folder: Path) -> dict[str, float]:
    """Run one sum; return the numbers of its processes."""
    make_authority(folder, days=2)
    make_server(folder, LOCAL_NAMES, days=1)
    names = [f"silo-{number}" for number in range(1, silos + 1)]
    keys = {one: make_identity(folder / f"{one}.key") for one in ["aggregator", *names]}
    layout = MomentsFormat(width, width, silos)
    agreement = new_agreement(keys.pop("aggregator"), keys, layout)
    (folder / "sum.json").write_text(agreement.to_json())
    state = folder / "state"
    state.mkdir(mode=0o700)
    with contextlib.closing(Identities(state / STATE_FILE)) as identities:
        for name in names:
            token = identities.issue(name, 3600).encode()
            make_secret(folder / f"{name}.token", token, "a token")
    wanted = zeros(layout.length)
    generator = np.random.default_rng(0)
    for name in names:
        pair = [generator.normal(size=(rows, width)).astype("f4") for _ in range(2)]
        add(wanted, encode(accumulate([pair]), layout))
        for side, part in zip("xy", pair):
            np.save(folder / f"{name}.{side}.npy", part)
            (folder / f"{name}.{side}.ids.txt").write_text(
                "".join(f"{row}\n" for row in range(rows))
            )
    server = start("aggregation_server", *server_flags(folder), "--port=0")
    try:
        line = next(one for one in server.stdout if " is served at " in one)
        url, before = line.split()[-1], use_of(server.pid)
        running = [start("silo", *silo_flags(folder, one, url)) for one in names]
        said = [one.communicate()[0] for one in running]
        after = use_of(server.pid)
    finally:
        server.terminate()
        server.communicate()
    ended = [re.search(_SAID, one) for one in said]
    total = decode(wanted, layout)
    found = [
        read_npz(folder / f"{one}.sum" / "moments.npz", remedy="") for one in names
    ]
    same = all(
        np.array_equal(one[part], value)
        for one in found
        for part, value in total._asdict().items()
    )
    return {
        "seconds": max(float(one[2]) for one in ended),
        "upload_bytes": max(int(one[1].replace(",", "")) for one in ended),
        "vector_bytes": 16 * layout.length,
        "silo_cpu_seconds": max(float(one[3]) for one in ended),
        "equal": bool(same),
        "cpu_seconds": after[0] - before[0],
        "peak_bytes": after[1],
        "held_bytes": before[1],
    }


def server_flags(folder: Path) -> list[str]:
    """Flags of the aggregator's program."""
    return [
        f"--sessions={folder / 'sum.json'}",
        f"--identity={folder / 'aggregator.key'}",
        f"--state={folder / 'state'}",
        f"--certificate={folder / 'server.pem'}",
        f"--private_key={folder / 'server.key'}",
    ]


def silo_flags(folder: Path, name: str, url: str) -> list[str]:
    """Flags of a silo's program."""
    return [
        f"--url={url}",
        f"--session={folder / 'sum.json'}",
        f"--identity={folder / f'{name}.key'}",
        f"--token_file={folder / f'{name}.token'}",
        f"--ledger={folder / f'{name}.db'}",
        f"--source={folder / f'{name}.x.npy'}",
        f"--target={folder / f'{name}.y.npy'}",
        f"--output={folder / f'{name}.sum'}",
        f"--authority={folder / 'authority.pem'}",
    ]


def start(program: str, *words: str) -> subprocess.Popen:
    """One of our programs in its own process."""
    command = [sys.executable, "-m", f"experiments.{program}", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def use_of(process: int) -> tuple[float, int]:
    """Processor seconds and peak memory in bytes of a running process."""
    status = Path(f"/proc/{process}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ticks = int(after_name[11]) + int(after_name[12])
    return ticks / CLOCK, 1024 * int(peak[1])


def main(_: list[str]) -> None:
    """Measure every case and write the table."""
    cases = (
        [(3, 4)] if TINY.value else [(n, d) for d in WIDTHS.value for n in SILOS.value]
    )
    rows, results = 50 if TINY.value else ROWS.value, []
    for silos, width in cases:
        with tempfile.TemporaryDirectory() as place:
            numbers = measure(silos, width, rows, Path(place))
        results.append({"silos": silos, "width": width, **numbers})
        print(results[-1], flush=True)
    table = [
        [
            one["silos"],
            one["width"],
            f"{one['upload_bytes'] / 1e6:.2f}",
            f"{one['upload_bytes'] - one['vector_bytes']:,}",
            f"{one['seconds']:.2f}",
            f"{one['silo_cpu_seconds']:.2f}",
            f"{one['cpu_seconds']:.2f}",
            f"{one['peak_bytes'] / 1e6:.0f}",
            f"{one['held_bytes'] / 1e6:.0f}",
            "yes" if one["equal"] else "no",
        ]
        for one in results
    ]
    print(
        write_results(
            "aggregation",
            "Sums over silos over a network",
            HEADER,
            table,
            f"Each silo has {rows:,} rows; all processes are on this machine, TLS 1.3 "
            "on loopback. Seconds: from when all silos had come until the slowest had "
            "the total, on a machine that others used, too. Processor seconds are "
            "without the start of Python. Memory is the aggregator's, nearly all JAX.",
            keep=not TINY.value,
        )
    )


if __name__ == "__main__":
    start_main(main)
