"""What helix_jax saves, as (save, load) of numbered versions, and a way to be killed.

    python -m savers OUT

kills every saver of the table before each of its steps: each change of a name, each
opening for writing, each flush to disk. OUT/SAVER/STEP is what a kill left behind;
where FRESH stands for SAVER, nothing was there before. Forks before any device is
touched, so that a kill costs milliseconds.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap, load_map, save_map
from helix_jax.atomic import append_lines, replaced_files
from helix_jax.models import family_of, load_model, save_model
from helix_jax.models.params import nest, parameter_shapes
from helix_jax.probes import Probe, load_probe, save_probe
from helix_jax.reports import Table, save_blocks
from helix_jax.runs import (
    Run,
    finish_run,
    is_done,
    read_arrays,
    read_summary,
    write_arrays,
)
from helix_jax.training import load_snapshot, save_snapshot
from helix_jax.training.hf_config import hf_config

OLD, NEW, NEXT = 1, 2, 3


class Saver(NamedTuple):
    """One thing that is saved.

    Attributes:
      save: (folder, version).
      load: folder -> version; None where nothing is there.
      prepare: makes what the folder holds besides.
    """

    save: Callable[[Path, int], Any]
    load: Callable[[Path], int | None]
    prepare: Callable[[Path], Any] = Path.exists


def _save_map(folder: Path, version: int) -> None:
    parts = np.full((4, version), version, np.float32), np.zeros(version, np.float32)
    save_map(
        folder / "map",
        AffineMap(*parts),
        source={},
        target={},
        penalty=version,
        split="fit",
    )


def _load_map(folder: Path) -> int | None:
    if not (folder / "map" / "config.json").exists():
        return None
    found, made_of = load_map(folder / "map")
    assert float(np.asarray(found.kernel).max()) == made_of["penalty"]
    return int(made_of["penalty"])


def _save_probe(folder: Path, version: int) -> None:
    kernel = np.full((4, version), version, np.float32)
    classes = [f"c{number}" for number in range(version)]
    save_probe(
        folder / "probe",
        Probe(kernel, kernel[0]),
        classes=classes,
        fingerprints={"version": version},
    )


def _prepare_probe(folder: Path) -> None:
    """A folder with a file of somebody else, reached through a link."""
    (folder / "real").mkdir()
    (folder / "real" / "notes.txt").write_text("mine")
    (folder / "probe").symlink_to("real")


def _load_probe(folder: Path) -> int | None:
    assert (folder / "probe").is_symlink()
    assert (folder / "probe" / "notes.txt").read_text() == "mine"
    if not (folder / "probe" / "config.json").exists():
        return None
    probe, config = load_probe(folder / "probe")
    assert float(np.asarray(probe.kernel).max()) == config["fingerprints"]["version"]
    return config["fingerprints"]["version"]


def _save_model(folder: Path, version: int) -> None:
    """Versions of one shape: only the rotation tells their configs apart."""
    config, spec = _config(version)
    params = nest(
        {
            path: np.full(shape, version, np.float32)
            for path, shape in parameter_shapes(spec).items()
        }
    )
    save_model(folder / "model", params, spec, config, dtype="float32")
    (folder / "model" / "tokenizer.json").touch()


def _load_model(folder: Path) -> int | None:
    if not (folder / "model" / "config.json").exists():
        return None
    model = load_model(str(folder / "model"))
    (version,) = np.unique(np.asarray(model.params["embed"]))
    assert model.spec == _config(int(version))[1]
    return int(version)


def _config(version: int) -> tuple[Any, Any]:
    config = hf_config(
        "llama",
        vocab_size=16,
        width=8,
        num_layers=1,
        num_heads=2,
        ffn_width=8,
        context=8,
    )
    config.rope_parameters["rope_theta"] = 1000.0 * version
    return config, family_of("llama").spec_from_hf(config.to_dict())


def _save_snapshot(folder: Path, version: int) -> None:
    tree = {"a": np.full(3, version), "b": (np.float64(version), np.ones((2, 2)))}
    save_snapshot(folder / "snapshot.safetensors", tree)


def _load_snapshot(folder: Path) -> int | None:
    if not (folder / "snapshot.safetensors").exists():
        return None
    like = {"a": np.zeros(3), "b": (np.float64(0), np.ones((2, 2)))}
    found = load_snapshot(folder / "snapshot.safetensors", like)
    assert {float(x) for x in found["a"]} == {float(found["b"][0])}
    return int(found["b"][0])


def _save_arrays(folder: Path, version: int) -> None:
    write_arrays(folder / "deal.npz", a=np.full(9, version), b=np.array(version))


def _load_arrays(folder: Path) -> int | None:
    if not (folder / "deal.npz").exists():
        return None
    found = read_arrays(folder / "deal.npz")
    assert set(found["a"]) == {int(found["b"])}
    return int(found["b"])


def _save_summary(folder: Path, version: int) -> None:
    finish_run(Run(folder), {"a": version, "b": version})


def _load_summary(folder: Path) -> int | None:
    if not is_done(Run(folder)):
        return None
    found = read_summary(Run(folder))
    assert found["a"] == found["b"]
    return found["a"]


def _save_report(folder: Path, version: int) -> None:
    rows = [[version, "x" * 9000]]
    save_blocks(folder, [Table("t", ["version", "text"], rows)])


def _load_report(folder: Path) -> int | None:
    if not (folder / "report.json").exists():
        return None

    return json.loads((folder / "report.json").read_text())[0]["rows"][0][0]


def _save_tree(folder: Path, version: int) -> None:
    """Files in subfolders, of which each version has others."""
    with replaced_files(folder / "tree") as new:
        (new / "below").mkdir()
        for name in ("a", "below/b", f"below/only-{version}"):
            (new / name).write_text(str(version))


def _load_tree(folder: Path) -> int | None:
    names = [folder / "tree" / name for name in ("a", "below/b")]
    found = {name.read_text() if name.exists() else None for name in names}
    (version,) = found
    return None if version is None else int(version)


def _save_lines(folder: Path, version: int) -> None:
    """Nothing replaces here: the versions are the lines."""
    append_lines(folder / "metrics.jsonl", [f'{{"step": {version}}}'])


def _load_lines(folder: Path) -> int | None:
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return None if not lines else int(lines[-1].split()[-1][:-1])


SAVERS = {
    "map": Saver(_save_map, _load_map),
    "probe": Saver(_save_probe, _load_probe, _prepare_probe),
    "snapshot": Saver(_save_snapshot, _load_snapshot),
    "arrays": Saver(_save_arrays, _load_arrays),
    "summary": Saver(_save_summary, _load_summary),
    "report": Saver(_save_report, _load_report),
    "tree": Saver(_save_tree, _load_tree),
    "lines": Saver(_save_lines, _load_lines),
    "model": Saver(_save_model, _load_model),
}

_STEPS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "test.fsync",
}
_left: list[int] = []  # steps to do before the kill; empty: none is counted
_counted = [0]


def _on_event(event: str, args: tuple) -> None:
    if not _left:
        return
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    if event not in _STEPS and not (event == "open" and (args[2] or 0) & writes):
        return
    if event == "open" and "/dev/" in str(args[0]):
        return
    _counted[0] += 1
    if _counted[0] > _left[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def _kill_after(steps: int, save: Callable[[Path, int], Any], folder: Path) -> int:
    """Save in a child that is killed after some steps; the steps that it did."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _left.append(steps)
            save(folder, NEW)
            os.write(writes, str(_counted[0]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writes)
    with os.fdopen(reads) as stream:
        done = stream.read()
    _, status = os.waitpid(child, 0)
    if done:
        return int(done)
    assert os.WIFSIGNALED(status), f"{folder}: failed instead of being killed"
    return -1


def main(out: Path) -> None:
    """Kill every saver at every step, from an old version and from none."""
    # A kill loses nothing that the kernel holds: a flush is a step, and takes no time.
    os.fsync = lambda fd: sys.audit("test.fsync", fd)
    sys.addaudithook(_on_event)
    for name, saver in SAVERS.items():
        if name == "model":
            _config(OLD)  # what it imports, no child imports again
        for start in (name, f"FRESH-{name}"):
            base = out / start / "base"
            base.mkdir(parents=True)
            saver.prepare(base)
            if start == name:
                child = os.fork()
                if child == 0:
                    saver.save(base, OLD)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0, name
            steps = 0
            while True:
                folder = out / start / f"{steps}"
                shutil.copytree(base, folder, symlinks=True)
                if _kill_after(steps, saver.save, folder) >= 0:
                    break
                steps += 1
            shutil.rmtree(base)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
