"""Batches shared by several devices, on fake CPU devices in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helix_jax.activations import open_store
from helix_jax.errors import StoreError
from tests.conftest import with_devices

from .made import extracted, make_model, make_texts, make_tokenizer

ROOT = Path(__file__).parents[2]


def run(path, model=None):
    return extracted(
        model or make_model(),
        make_tokenizer(),
        make_texts(30),
        path,
        max_tokens=12,
        window=16,
        token_budget=64,
    )


@pytest.mark.slow
def test_four_devices_equal_one(tmp_path):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "activations.test_devices", str(tmp_path / "four")],
        env={**with_devices(4), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "4 devices" in done.stdout
    four = open_store(tmp_path / "four")
    one = run(tmp_path / "one")
    assert four.ids == one.ids
    np.testing.assert_allclose(four.read(), one.read(), atol=2e-5)
    cut = open_store(tmp_path / "four-cut")
    np.testing.assert_allclose(cut.read(), one.read(), atol=2e-5)
    layout = json.loads((tmp_path / "four-cut" / "metadata.json").read_text())["layout"]
    assert (layout["devices"], layout["cut"]) == (2, "tensor:2")
    # A store is finished on as many devices as it was begun with.
    metadata = tmp_path / "four" / "metadata.json"
    metadata.write_text(
        metadata.read_text().replace('"complete": true', '"complete": false')
    )
    with pytest.raises(StoreError, match=r"begun with devices=4, this run has 1"):
        run(tmp_path / "four")


if __name__ == "__main__":
    import jax

    from helix_jax.activations.forward import DeviceGroup, pooled_states
    from helix_jax.models.mesh import make_mesh
    from helix_jax.models.sharding import shard_params

    run(sys.argv[1])
    group, model = DeviceGroup(), make_model()
    mesh = make_mesh({"data": 2, "tensor": 2})
    cut = shard_params(model.params, model.spec, mesh)
    run(f"{sys.argv[1]}-cut", model._replace(params=cut))
    batch = group.place_batch(np.ones((8, 4), np.int32), np.full(8, 4, np.int32))
    states = pooled_states(
        group.place_params(model.params),
        *batch,
        spec=model.spec,
        layers=(2,),
        final_norm=True,
        pooling="mean",
        dtype=np.dtype(np.float32),
    )
    assert states.sharding.num_devices == jax.local_device_count() == 4
    print(f"{len(states.sharding.device_set)} devices")
