"""Embedded models go by name, before folders and before the hub."""

import pytest

from helix_jax import assets
from helix_jax.errors import CheckpointError
from helix_jax.models import (
    load_model,
    load_tokenizer,
    model_folder,
    model_name,
    read_spec,
)


@pytest.mark.parametrize("name", assets.NAMES)
def test_a_name_is_the_embedded_model(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()  # which is ./NAME
    assert model_folder(name) == assets.model_path(name)
    assert model_name(name) == name
    assert (
        load_model(name).spec == read_spec(name) == read_spec(str(model_folder(name)))
    )
    text = "Return the indices."
    own, again = load_tokenizer(name), load_tokenizer(str(assets.model_path(name)))
    assert own(text).input_ids == again(text).input_ids
    with pytest.raises(CheckpointError, match=r"config\.json|no"):
        load_model(f"./{name}")


def test_a_revision_is_for_the_hub():
    for name in ("pebble-llama", str(assets.model_path("pebble-llama"))):
        with pytest.raises(CheckpointError, match="revision='main' is for hub ids"):
            model_folder(name, revision="main")
