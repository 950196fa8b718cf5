"""Models of the hub, against a hub on loopback that serves real checkpoints."""

import json
import re
import shutil

import peft
import pytest
import torch

from ..activations.made import make_tokenizer
from ..hub_server import Repository, load_in_process, serve
from .twins import build_twin

OLD, NEW = "a" * 40, "b" * 40
TEXT = "the old cat sleeps"
# For each (what, name, revision) the tokens of TEXT, or what identifies a model.
_LOAD = """
import hashlib, json, sys
import numpy as np
from helix_jax.errors import CheckpointError
from helix_jax.models import flatten, load_model, load_tokenizer
for what, name, revision in json.loads(sys.argv[1]):
    try:
        if what == "tokenizer":
            record = load_tokenizer(name, revision=revision)("the old cat sleeps")
            record = {"ids": record["input_ids"]}
        else:
            model = load_model(name, revision=revision)
            digest = hashlib.sha256()
            for path, value in flatten(model.params):
                digest.update(path.encode() + np.asarray(value).tobytes())
            record = model.fingerprint | {"digest": digest.hexdigest()}
    except CheckpointError as error:
        record = {"error": str(error)}
    print("RECORD", json.dumps(record))
"""


@pytest.fixture(scope="module")
def folders(twin, tmp_path_factory):
    """name -> folder: two commits in shards, a .bin, a missing shard, no weights."""
    root = tmp_path_factory.mktemp("models")
    names = ("old", "new", "torch", "torn", "bare", "foreign", "adapter")
    made = {name: root / name for name in names}
    for name, seed in (("old", 0), ("new", 1)):
        theirs = build_twin("llama", seed)
        theirs.save_pretrained(made[name], max_shard_size="20KB")
        make_tokenizer(60).save_pretrained(made[name])
        # What many repositories hold besides, and nobody needs.
        for extra in ("pytorch_model.bin", "README.md", "onnx/model.onnx"):
            (made[name] / extra).parent.mkdir(exist_ok=True)
            (made[name] / extra).write_bytes(b"not needed")
    assert len(list(made["old"].glob("*.safetensors"))) > 2

    theirs, model = twin("gpt2")
    made["torch"].mkdir()
    shutil.copy(model.folder / "config.json", made["torch"])
    torch.save(theirs.state_dict(), made["torch"] / "pytorch_model.bin")

    shutil.copytree(made["old"], made["torn"])
    next(made["torn"].glob("*-00002-of-*.safetensors")).unlink()
    # Weights that nobody fetches: the config says already that they are not read.
    shutil.copytree(made["torch"], made["foreign"])
    config = json.loads((made["foreign"] / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (made["foreign"] / "config.json").write_text(json.dumps(config))
    settings = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(build_twin("llama", 1), settings)
    adapted.save_pretrained(made["adapter"])
    settings = json.loads((made["adapter"] / "adapter_config.json").read_text())
    settings |= {"base_model_name_or_path": "lab/sharded", "revision": NEW}
    (made["adapter"] / "adapter_config.json").write_text(json.dumps(settings))
    (made["adapter"] / "optimizer.bin").write_bytes(b"not needed")
    made["bare"].mkdir()
    shutil.copy(model.folder / "config.json", made["bare"])
    return made


@pytest.fixture(scope="module")
def hub(folders):
    """(endpoint, list of requests)."""

    def one(name, **settings):
        return Repository({NEW: folders[name]}, {"main": NEW}, **settings)

    repositories = {
        "lab/sharded": Repository(
            {OLD: folders["old"], NEW: folders["new"]}, {"main": NEW, "v1": OLD}
        ),
        "lab/words": one("new"),
        "lab/torch": one("torch"),
        "lab/torn": one("torn"),
        "lab/bare": one("bare"),
        "lab/gated": one("new", gated=True),
        "lab/foreign": one("foreign"),
        "lab/adapter": one("adapter"),
    }
    with serve(repositories) as served:
        yield served


def files_asked(requests: list[str], name: str) -> set[str]:
    """The files of a repository whose bytes were asked for."""
    found = (re.search(rf"/{name}/resolve/\w+/(.+)", line) for line in requests)
    return {match[1] for match in found if match}


@pytest.mark.slow
def test_models_load_from_the_hub_and_from_its_cache(hub, folders, tmp_path):
    endpoint, requests = hub
    asked = [
        ("model", "lab/sharded", None),
        ("model", "lab/sharded", OLD),
        ("model", "lab/torch", None),
        ("model", "lab/sharded", "v1"),
        ("tokenizer", "lab/words", None),
    ]
    beside = [("model", str(folders[name]), None) for name in ("new", "old", "torch")]
    refused = [
        ("model", "lab/nothing", None),
        ("model", "lab/sharded", "v9"),
        ("model", "lab/sharded", "c" * 40),
        ("model", "lab/torn", None),
        ("model", "lab/bare", None),
        ("model", "lab/gated", None),
    ]
    home = tmp_path / "home"
    records = load_in_process(_LOAD, endpoint, home, asked + beside + refused)
    found, local, errors = records[:5], records[5:8], records[8:]
    for record, same, (_, name, commit) in zip(found, local, asked):
        assert record == same | {"model": name, "revision": commit or NEW}
    assert found[3] == found[1]
    assert found[4] == {"ids": make_tokenizer(60)(TEXT)["input_ids"]}

    small = {path.name for path in folders["new"].glob("*.json")}
    shards = {path.name for path in folders["new"].glob("*.safetensors")}
    assert files_asked(requests, "lab/words") == small
    assert files_asked(requests, "lab/sharded") == small | shards
    torch_files = {"config.json", "pytorch_model.bin"}
    assert files_asked(requests, "lab/torch") == torch_files
    assert "pytorch_model.bin" not in files_asked(requests, "lab/torn")

    messages = [
        r"'lab/nothing' \(revision main\) is neither a folder here nor on the hub",
        r"'lab/sharded' has no revision 'v9'; name a branch, tag or commit",
        r"'lab/sharded' has no revision 'c{40}'",
        r"names shards that are missing: \['model-00002-of-",
        r"has no weights: expected model\.safetensors",
        r"'lab/gated' \(revision main\) is gated: accept its terms .* set HF_TOKEN",
    ]
    for record, message in zip(errors, messages, strict=True):
        assert re.search(message, record["error"])

    # What has been loaded stays loadable without a connection.
    requests.clear()
    never = ("model", "lab/never", None)
    *again, unknown = load_in_process(
        _LOAD, endpoint, home, [*asked, never], offline=True
    )
    assert again == found
    assert re.search("not in the local cache and the hub cannot", unknown["error"])
    assert not requests


@pytest.mark.slow
def test_what_the_config_refuses_is_refused_before_weights_are_fetched(hub, tmp_path):
    endpoint, requests = hub
    asked = [("model", "lab/foreign", None)]
    (record,) = load_in_process(_LOAD, endpoint, tmp_path, asked)
    assert re.search("'quantization_config'.*weights are quantised", record["error"])
    assert files_asked(requests, "lab/foreign") == {"config.json"}


@pytest.mark.slow
def test_an_adapter_of_the_hub_and_its_base(hub, folders, tmp_path):
    endpoint, requests = hub
    requests.clear()
    # Beside it the same of two folders here.
    alone = shutil.copytree(folders["adapter"], tmp_path / "alone")
    settings = json.loads((alone / "adapter_config.json").read_text())
    settings |= {"base_model_name_or_path": str(folders["new"]), "revision": None}
    (alone / "adapter_config.json").write_text(json.dumps(settings))
    names = ("lab/adapter", "lab/sharded", str(alone))
    asked = [("model", name, None) for name in names]
    adapted, base, local = load_in_process(_LOAD, endpoint, tmp_path, asked)
    assert adapted["model"] == "lab/adapter"
    assert adapted["revision"] == NEW
    assert adapted["weights"] == base["weights"]
    assert adapted["digest"] != base["digest"]
    own = {"adapter_config.json", "adapter_model.safetensors"}
    assert files_asked(requests, "lab/adapter") - {"README.md"} == own
    assert local["digest"] == adapted["digest"]


@pytest.mark.slow
def test_an_unreachable_hub_says_what_to_do(tmp_path):
    nowhere = "http://127.0.0.1:9"
    for record in load_in_process(
        _LOAD,
        nowhere,
        tmp_path,
        [("model", "owner/name", None), ("tokenizer", "owner/name", "v1")],
    ):
        message = r"is not in the local cache and the hub cannot be reached; connect"
        assert re.search(message, record["error"])
