"""Models on meshes of fake devices or of two processes: states to a file.

    python -m models.sharded_runner CASES.json STATES.npz [PORT RANK]

A case is [folder, mesh, dtype]; its states are those of every token and layer of a
batch. With a port, the process is one of two that share every mesh.
"""

import json
import sys

import jax
import numpy as np

from benchmarks.timing import forget_peak, peak_memory_bytes
from helix_jax.activations.forward import (
    PlacedModel,
    Readout,
    place_model,
    pooled_states,
)
from helix_jax.models import Model, flatten, load_model
from helix_jax.models.collectives import collective_bytes
from helix_jax.models.mesh import make_mesh
from helix_jax.models.sharding import on_mesh

LENGTHS = np.array([12, 12, 5, 7, 9, 1, 2, 12], np.int32)
REAL = np.arange(12)[None] < LENGTHS[:, None]


def forward_of(model: Model) -> PlacedModel:
    """Every token of every layer, raw."""
    layers = tuple(range(model.spec.num_layers + 1))
    readout = Readout(model.spec, layers, False, "token", np.dtype(np.float32))
    return place_model(model, readout)


def batch_of(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """A right-padded batch of 8 rows."""
    tokens = np.random.default_rng(0).integers(3, model.spec.vocab_size, REAL.shape)
    return tokens.astype(np.int32), LENGTHS


def states_of(model: Model) -> np.ndarray:
    """[L + 1, tokens, D]."""
    return np.asarray(forward_of(model)(*batch_of(model)))[:, REAL]


def sent_by(model: Model) -> dict[str, int]:
    """The collectives of the compiled forward pass."""
    forward = forward_of(model)
    batch = forward.group.place_batch(*batch_of(model))
    with on_mesh(forward.group.mesh):
        program = pooled_states.lower(
            forward.params, *batch, **forward.readout._asdict()
        )
    return collective_bytes(program.compile())


def held_fraction(model: Model) -> float:
    """The part of all parameters that the first device holds."""
    leaves = [value for _, value in flatten(model.params)]
    held = sum(leaf.addressable_data(0).size for leaf in leaves)
    return held / sum(leaf.size for leaf in leaves)


def held_bytes(model: Model) -> int:
    """Bytes of the parameters that this process holds."""
    parts = (leaf.addressable_shards for leaf in jax.tree.leaves(model.params))
    return sum(part.data.nbytes for own in parts for part in own)


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)
    if len(sys.argv) > 3:
        port, rank = sys.argv[3:]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", 2, int(rank))
    results = {}
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    for number, (folder, mesh, dtype) in enumerate(cases):
        resident = forget_peak()
        print(f"{number + 1} of {len(cases)}: {folder} {mesh} {dtype}", flush=True)
        model = load_model(folder, mesh=mesh, dtype=dtype)
        results[f"{number}/peak"] = peak_memory_bytes() - resident
        results[f"{number}/bytes"] = held_bytes(model)
        results[f"{number}/states"] = states_of(model)
        results[f"{number}/held"] = held_fraction(model)
        if dtype == "int8":
            for path, value in flatten(model.params):
                results[f"{number}/{path}"] = np.asarray(value, np.float32)
        elif model.spec.family == "llama" or model.spec.experts is not None:
            results[f"{number}/sent"] = json.dumps(sent_by(model))
        jax.clear_caches()
    if len(sys.argv) == 3:  # some devices of one process, neither one copy nor all
        some = make_mesh({"tensor": 3}, jax.devices()[:3])
        results["some"] = np.array(some.devices.shape)
    np.savez(sys.argv[2], **results)
