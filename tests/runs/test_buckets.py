"""Work directories in a bucket: as they would be here, whole at every moment."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from helix_jax.artefacts import load_artefact, save_artefact
from helix_jax.atomic import write_file
from helix_jax.errors import StoreError
from helix_jax.mirror import fetched, mirrored
from helix_jax.paths import user_cache
from helix_jax.runs import Report, Run, experiment, option
from helix_jax.runs.program import run_program
from helix_jax.runs.records import Records

from ..activations.object_server import ObjectServer
from ..activations.test_remote import run as extract_some

URL = "s3://some-bucket/runs/one"


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Flags of a program that leaves a bit of everything."""

    workdir: str = option("", "work directory", names="workdir", required=True)
    map: str = option("", "a map to read", names="folder")


@experiment()
def compute(config: ToyConfig, run: Run) -> Report:
    """Records in batches, a store, a map, a file of the report."""
    records = Records(run, "samples.jsonl", 2)
    for first in range(records.resume(), 6, 2):
        batch = [{"number": first + own} for own in range(2)]
        records.append(first, batch, {"toy/first": first})
    store = extract_some(run.folder / "stores" / "s")
    save_artefact(run.folder / "map", "affine_map", {}, {"bias": store.read()[0]})
    numbers = {"test/rows": len(store), "test/sum": records.total("toy/first")}
    if config.map:
        numbers["test/bias"] = float(
            load_artefact(config.map, "affine_map")[1]["bias"][0]
        )
    return Report(numbers, files={"note.txt": lambda path: write_file(path, "done\n")})


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A server, and a machine with an empty cache."""
    with ObjectServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield server


def files_of(folder):
    """Name -> bytes; the machine and the time are left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("environment.json", ".helix-lock")
    }


def objects_of(server, prefix="runs/one/"):
    return {
        key.removeprefix(prefix): body
        for key, (body, _) in sorted(server.objects.items())
        if key.startswith(prefix) and not key.endswith("environment.json")
    }


def leave_locks(server):
    """Writes are taken again, and nobody is there who held a lock."""
    server.writes_left = None
    for key in [key for key in server.objects if key.endswith(".helix-lock")]:
        del server.objects[key]


def start(*words):
    return run_program(ToyConfig, compute.run, ["toy", *words])


def test_a_run_in_a_bucket_is_the_local_one(bucket, tmp_path, capsys):
    assert start(f"--workdir={tmp_path / 'here'}") == 0
    for left in (3, 9, 14):  # it ends in the middle, each time on a new machine
        bucket.writes_left = left
        assert start(f"--workdir={URL}") == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "the credentials do not allow it" in said
        assert str(tmp_path) not in said
        leave_locks(bucket)
    assert start(f"--workdir={URL}") == 0
    assert f"results: {URL}" in capsys.readouterr().out
    assert objects_of(bucket) == files_of(tmp_path / "here")
    assert not list(user_cache("workdirs").iterdir())
    before = dict(bucket.objects)
    assert start(f"--workdir={URL}") == 0  # it has ended, and nothing is written
    assert before == bucket.objects


def test_other_flags_and_maps_by_url(bucket, capsys):
    assert start(f"--workdir={URL}") == 0
    other = "s3://some-bucket/other"
    for _ in range(2):
        assert start(f"--workdir={other}", f"--map={URL}/map") == 0
    assert f'"map": "{URL}/map"' in objects_of(bucket, "other/")["config.json"].decode()
    assert start(f"--workdir={URL}", f"--map={URL}/map") == 2
    assert f"--workdir={URL} was made with other flags" in capsys.readouterr().err
    assert start(f"--workdir={other}", "--map=s3://some-bucket/none") == 2
    assert "s3://some-bucket/none holds no files" in capsys.readouterr().err


def test_a_step_is_whole_wherever_it_ends(bucket):
    def save(folder, number):
        save_artefact(folder / "map", "m", {}, {"x": np.full(500, number)})
        (folder / "old.txt").unlink(missing_ok=True)

    with mirrored(URL) as folder:
        write_file(folder / "old.txt", "old")
        save(folder, 0)
    for number in itertools.count(1):
        bucket.writes_left = number
        try:
            with mirrored(URL) as folder:
                save(folder, number)
        except StoreError:
            leave_locks(bucket)
            with fetched(URL) as found:
                kept = load_artefact(found / "map", "m")[1]["x"]
            assert kept[0] in (number - 1, number)
            with mirrored(URL) as folder:
                assert load_artefact(folder / "map", "m")[1]["x"][0] == kept[0]
                save(folder, number)
        else:
            break
    leave_locks(bucket)  # the last one was left by a removal that was refused
    assert number > 5
    assert set(objects_of(bucket)) == {"map/config.json", "map/arrays.safetensors"}
    shutil.rmtree(user_cache("workdirs"), ignore_errors=True)
