"""Meshes of devices: rules, refusals, and states equal to those of one device.

Tolerance of states: 3e-6 of the largest; observed below 6e-7, and 1.4e-6 among all
twins on all meshes (HELIX_WIDE=1).
"""

import dataclasses
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from helix_jax.errors import MeshError
from helix_jax.models import ModelSpec, flatten, load_model, parameter_shapes, read_spec
from helix_jax.models.engines import load_model_by
from helix_jax.models.mesh import (
    PARAMETER_SHARE,
    check_mesh,
    check_processes,
    choose_mesh,
    make_mesh,
    parse_mesh,
)
from helix_jax.models.sharding import logical_axes, mesh_of, partition
from helix_jax.models.spec import ExpertSpec
from helix_jax.models.traffic import forward_traffic, sent_bytes
from tests.conftest import with_devices

from .published import PUBLISHED
from .published_encoders import ENCODERS
from .sharded_runner import states_of
from .twins import TWINS, build_twin

ROOT = Path(__file__).parents[2]
MESHES = ("data:8", "tensor:2,data:4", "fsdp:8", "data:2,fsdp:2,tensor:2")
THREE = MESHES[-1]
CASES = [("llama", mesh) for mesh in (*MESHES, "tensor:4,data:2")]
CASES += [("mixtral", "data:2,expert:2,tensor:2"), ("gpt_oss", "fsdp:2,expert:4")]
CASES += [(name, THREE) for name in ("gemma3", "gpt2", "bert", "t5")]
CASES += [("falcon", "data:2,tensor:4"), ("bloom", "data:2,fsdp:2,tensor:2")]
SPEC = ModelSpec("made", 101, 32, 2, 4, 2, 8, 48, 64)
MOE = dataclasses.replace(SPEC, experts=ExpertSpec(6, 2, shared_width=20))


def start(cases, folder, *, devices=8, port=None, rank=0):
    """The runner with some (folder of a model, mesh, dtype), started."""
    (folder / "cases.json").write_text(json.dumps(cases))
    words = ["cases.json", f"{rank}.npz", *([] if port is None else [port, rank])]
    return subprocess.Popen(
        [sys.executable, "-m", "models.sharded_runner", *map(str, words)],
        cwd=folder,
        env={
            **with_devices(devices),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def results_of(process, folder, rank=0):
    """The results of the runner, and its log."""
    try:
        _, log = process.communicate(timeout=7200)
    finally:
        process.kill()
    assert process.returncode == 0, log[-2000:]
    return np.load(folder / f"{rank}.npz"), log


def check_states(cases, twin, folder, more=(), tolerance=3e-6):
    """Errors of all cases, each within the tolerance; and what the runner gave."""
    places = [(str(twin(name)[1].folder), mesh, "float32") for name, mesh in cases]
    results, log = results_of(start([*places, *more], folder), folder)
    assert "rematerialization" not in log
    wanted, errors = {}, {}
    for number, case in enumerate(cases):
        name = case[0]
        if name not in wanted:
            wanted[name] = states_of(twin(name)[1])
        largest = np.abs(wanted[name]).max()
        difference = np.abs(results[f"{number}/states"] - wanted[name]).max()
        errors[case] = difference / largest
    assert max(errors.values()) < tolerance, errors
    return errors, results


def check_traffic(cases, twin, results):
    """That what was counted in compiled programs is what `forward_traffic` says."""
    checked = 0
    for number, (name, mesh) in enumerate(cases):
        if f"{number}/sent" not in results:
            continue
        sizes = parse_mesh(mesh)
        tokens = 8 * 12 // (8 // sizes.get("tensor", 1))
        spec = twin(name)[1].spec
        traffic = forward_traffic(spec, sizes, tokens=tokens, dtype="float32")
        counted = json.loads(str(results[f"{number}/sent"]))
        assert sent_bytes(traffic) == counted, (name, mesh)
        checked += 1
    assert checked >= 7


@pytest.mark.slow
def test_states_on_eight_devices_are_those_of_one(twin, tmp_path):
    folder = str(twin("mixtral")[1].folder)
    _, results = check_states(CASES, twin, tmp_path, [(folder, THREE, "int8")])
    held = {case: results[f"{number}/held"] for number, case in enumerate(CASES)}
    # Norms and what divides not are whole on every device, most is cut.
    assert held["llama", "data:8"] == 1
    assert results["some"].tolist() == [1, 1, 1, 3]
    assert held["llama", "fsdp:8"] < 0.2
    assert held["llama", "tensor:2,data:4"] < 0.6
    assert held["llama", THREE] < 0.35
    assert held["mixtral", "data:2,expert:2,tensor:2"] < 0.4

    rounded = load_model(folder, dtype="int8")
    for path, value in flatten(rounded.params):
        found = results[f"{len(CASES)}/{path}"]
        np.testing.assert_array_equal(found, np.asarray(value, np.float32), path)
    wanted = states_of(rounded)
    difference = results[f"{len(CASES)}/states"] - wanted
    assert np.linalg.norm(difference) < 0.02 * np.linalg.norm(wanted)
    # What is sent of 8 rows of 12 tokens; the 61 rows of the embedding are not cut.
    spec = twin("llama")[1].spec
    shapes = parameter_shapes(spec)
    kernels = 4 * sum(math.prod(shapes[p]) for p in shapes if p.endswith("kernel"))
    kernels -= 4 * math.prod(shapes["head/kernel"])
    states = 4 * 8 * 12 * spec.width
    ids = 8 * 12 * (4 + 1)  # and whether they are among the rows
    sums = 2 * spec.num_layers
    sent = [json.loads(str(results[f"{number}/sent"])) for number in range(4)]
    check_traffic(CASES, twin, results)
    assert sent == [
        {},
        {"all-reduce": sums * states / 4},
        {"all-gather": kernels + ids, "all-to-all": states / 8},
        {
            "all-reduce": sums * states / 4,
            "all-gather": kernels / 2 + ids / 2,
            "all-to-all": states / 4,
        },
    ]


@pytest.mark.slow
def test_two_processes_share_a_model_and_hold_half_each(twin, tmp_path):
    """Peak memory of loading: at most 1.3 times what a process holds; observed 1.21.

    Nearly all of the large model is its embedding and its head, of which a process
    needs half: read whole, they would make it 1.8 times.
    """
    large = {"hidden_size": 512, "intermediate_size": 1536, "vocab_size": 24576}
    build_twin("llama", num_hidden_layers=1, **large).save_pretrained(
        tmp_path / "large"
    )
    cases = [(str(twin("llama")[1].folder), "tensor:2", "float32")]
    cases += [(str(tmp_path / "large"), "fsdp:2", "float32")]
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    both = [start(cases, tmp_path, devices=1, port=port, rank=rank) for rank in (0, 1)]
    for rank, process in enumerate(both):
        found, _ = results_of(process, tmp_path, rank)
        for number, (place, *_) in enumerate(cases):
            wanted = states_of(load_model(place))
            difference = np.abs(found[f"{number}/states"] - wanted).max()
            assert difference < 3e-6 * np.abs(wanted).max()
        assert found["1/held"] < 0.501
        assert found["1/bytes"] > 4e7
        assert found["1/peak"] < 1.3 * found["1/bytes"]


@pytest.mark.slow
def test_states_of_all_twins_on_all_meshes(twin, tmp_path):
    if not os.environ.get("HELIX_WIDE"):
        pytest.skip("ten minutes; HELIX_WIDE=1 runs it")
    cases = []
    for name in TWINS:
        spec = twin(name)[1].spec
        for mesh in (*MESHES, "data:2,expert:2,tensor:2"):
            if spec.width % 8:
                mesh = mesh.replace("fsdp:8", "data:2,fsdp:4")
            try:
                check_mesh(spec, parse_mesh(mesh))
            except MeshError:
                continue
            cases.append((name, mesh))
    errors, results = check_states(cases, twin, tmp_path)
    check_traffic(cases, twin, results)
    assert len({name for name, _ in errors}) == len(TWINS)
    worst = max(errors, key=errors.get)
    print(f"{len(errors)} cases; largest error {errors[worst]:.1e} of {worst}")


def published_spec(name, folder):
    """The spec of a published model."""
    (folder / "config.json").write_text(json.dumps((PUBLISHED | ENCODERS)[name][1]))
    return read_spec(str(folder))


@pytest.mark.parametrize("name", [*PUBLISHED, *ENCODERS])
def test_two_devices_hold_half_of_published_models(tmp_path, name):
    """Of what is cut by heads, features and vocabulary, and by fsdp of all kernels."""
    spec = published_spec(name, tmp_path)
    shapes = parameter_shapes(spec)
    most = 0.8 if spec.vocab_size % 2 else 0.52
    for axis in ("fsdp", "tensor"):
        if axis == "tensor" and spec.num_heads % 2:
            continue
        held = 0
        for path, shape in shapes.items():
            cuts = partition(path, shape, spec, {axis: 2})
            held += math.prod(shape) / 2 ** sum(cut is not None for cut in cuts)
        whole = sum(map(math.prod, shapes.values()))
        assert 0.5 <= held / whole < most, (axis, held / whole)


def test_kernels_without_a_rule_are_refused():
    assert logical_axes("layers/experts/down/kernel", 4)[1:] == (
        "experts",
        "mlp",
        "embed",
    )
    assert logical_axes("layers/q_norm/scale", 2) == ("layers", None)
    with pytest.raises(ValueError, match=r"no rule says how 'layers/gates/kernel'"):
        logical_axes("layers/gates/kernel", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'' is no axis; expected data, fsdp, expert, tensor"),
        ("rows:2", r"mesh 'rows:2': 'rows' is no axis"),
        ("data:2,data:4", r"names the axis data twice"),
        ("data:0", r"size of data must be a whole number of 1 or more, got '0'"),
        ("data:two", r"got 'two'"),
        ("data", r"got ''"),
    ],
)
def test_meshes_that_are_none(text, message):
    with pytest.raises(MeshError, match=message):
        parse_mesh(text)


def test_a_mesh_has_as_many_devices_as_there_are():
    assert parse_mesh(" tensor:2, data:4") == {"data": 4, "tensor": 2}
    assert make_mesh({"data": 1}, jax.devices()[:1]).shape["tensor"] == 1
    with pytest.raises(
        MeshError, match=r"data:2,tensor:4 needs 8 devices, there are 1;"
    ):
        make_mesh({"data": 2, "tensor": 4}, jax.devices()[:1])


@pytest.mark.parametrize(
    ("spec", "sizes", "message"),
    [
        (
            SPEC,
            "tensor:3",
            r"made has 4 heads, .* tensor:3 does not divide; give tensor:1",
        ),
        (SPEC, "tensor:8", r"4 heads, .*; give tensor:1 or 2 or 4"),
        (
            dataclasses.replace(SPEC, num_heads=12, num_kv_heads=6),
            "tensor:4",
            r"6 key-value heads, .* give tensor:1 or 2 or 3",
        ),
        (
            dataclasses.replace(SPEC, ffn_width=50),
            "tensor:4",
            r"50 features of feed-forward layers, .* give tensor:1 or 2",
        ),
        (SPEC, "fsdp:5", r"32 features, which the mesh's fsdp:5"),
        (SPEC, "expert:2", r"made has no experts, but the mesh has expert:2"),
        (MOE, "expert:4", r"6 experts, .* give expert:1 or 2 or 3"),
        (
            dataclasses.replace(MOE, num_heads=8, num_kv_heads=8),
            "tensor:8",
            r"20 features of the shared expert",
        ),
    ],
)
def test_meshes_that_do_not_divide_a_model_are_refused(spec, sizes, message):
    with pytest.raises(MeshError, match=message):
        check_mesh(spec, parse_mesh(sizes))


def test_a_copy_is_on_whole_processes_or_in_one():
    for fits in ("data:8", "data:2,tensor:4", "fsdp:2,tensor:4", "tensor:2", "fsdp:16"):
        check_processes(parse_mesh(fits), 4)
    with pytest.raises(MeshError, match=r"on 6 devices, .* has 4: that is 1.5 proc"):
        check_processes(parse_mesh("data:2,fsdp:3,tensor:2"), 4)


def test_fewer_key_value_heads_than_devices_are_copied():
    check_mesh(SPEC, {"tensor": 4})
    cut = partition("layers/k/kernel", (2, 32, 16), SPEC, {"tensor": 4})
    assert set(cut) == {None}
    assert partition("layers/k/kernel", (2, 32, 16), SPEC, {"tensor": 2})[2] == "tensor"


def test_as_few_devices_as_hold_a_model():
    size = sum(map(math.prod, parameter_shapes(SPEC).values()))

    def chosen(room, devices=8, spec=SPEC):
        """The mesh where each device has room for so many of the model's bytes."""
        held = None if room is None else math.ceil(2 * size * room / PARAMETER_SHARE)
        return choose_mesh(spec, devices, parameter_bytes=2 * size, device_bytes=held)

    assert chosen(None) == chosen(1.01) == {"data": 8}
    assert chosen(0.51) == {"data": 4, "tensor": 2}
    assert chosen(0.3) == {"data": 2, "tensor": 4}
    assert chosen(0.13) == {"data": 1, "fsdp": 8}  # of 4 heads
    assert chosen(0.4, devices=3, spec=dataclasses.replace(SPEC, width=33)) == {
        "data": 1,
        "fsdp": 3,
    }
    with pytest.raises(
        MeshError, match=r"do not fit on 8 devices with .* use a smaller"
    ):
        chosen(0.1)


def test_the_flag_reaches_the_model(twin):
    folder = str(twin("llama")[1].folder)
    model = load_model(folder, mesh="data:1")
    assert mesh_of(model.params).size == 1
    with pytest.raises(MeshError, match=r"tensor:4 needs 4 devices, there are 1"):
        load_model(folder, mesh="tensor:4")
    with pytest.raises(MeshError, match=r"llama has 4 heads"):
        load_model(folder, mesh="tensor:3")
    with pytest.raises(MeshError, match=r"run by the torch engine"):
        load_model_by("torch", folder, mesh="data:1")
