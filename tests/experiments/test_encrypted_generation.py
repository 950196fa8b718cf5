"""Text written on ciphertexts, end to end."""

import pytest

from helix_jax import assets
from helix_jax.errors import RunError
from helix_jax.reports import load_blocks

pytest.importorskip("Pyfhel")
from experiments.encrypted_generation import EncryptedGenerationConfig, run
from tests.experiments.test_token_twins import Twin
from tests.experiments.told import require_told


@pytest.mark.slow
def test_the_text_is_that_in_the_clear_and_its_cost_is_counted(tmp_path):
    config = EncryptedGenerationConfig(
        workdir=str(tmp_path),
        source=str(assets.model_path("pebble-neox")),
        target=str(assets.model_path("pebble-llama")),
        tiny=True,
    )
    summary = run(config)
    assert summary["encrypted_generation/token_agreement"] == 1
    assert summary["encrypted_generation/max_error"] < 1e-3
    for start in ("encrypted_generation", "size_32x500"):
        assert summary[f"{start}/provider_seconds"] > 0
        assert summary[f"{start}/query_bytes"] > 1000
    table, samples = load_blocks(tmp_path)[:2]
    twin = Twin("pebble-llama")
    for sample in samples.items:
        given = twin.tokenizer(sample["prompt"], return_tensors="pt")
        written = twin.model.generate(**given, max_new_tokens=4, do_sample=False)[0]
        new = written[given["input_ids"].shape[1] :]
        text = twin.tokenizer.decode(new, skip_special_tokens=True)
        assert sample["target alone"] == text
        assert sample["on ciphertexts"] == sample["in the clear"]
    assert summary["encrypted_generation/tokens"] == 4 * len(samples.items)
    assert [row[1:3] for row in table.rows] == [[128, 4096], [32, 500]]
    assert run(config) == summary
    require_told(tmp_path, "pebble-neox -> pebble-llama", "docstrings", "2 prompts")


@pytest.mark.parametrize("cut", [{"target_layer": 2}, {"target_norm": False}])
def test_states_that_the_head_does_not_read_are_refused(tmp_path, cut):
    config = EncryptedGenerationConfig(workdir=str(tmp_path / "w"), tiny=True, **cut)
    with pytest.raises(RunError, match=r"after its final norm|notarget_norm"):
        run(config)
    assert not (tmp_path / "w").exists()


def test_a_size_that_is_none_is_refused(tmp_path):
    config = EncryptedGenerationConfig(
        workdir=str(tmp_path / "w"), sizes=("12",), tiny=True
    )
    with pytest.raises(RunError, match="WIDTHxVOCABULARY, got '12'"):
        run(config)
    assert not (tmp_path / "w").exists()
