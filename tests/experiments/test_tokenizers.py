"""The matrix of tokenizers end to end, tiny."""

import json
import math

import pytest

from experiments import tokenizers
from experiments.tokenizers import TokenizersConfig, short_name
from helix_jax import assets
from helix_jax.errors import RunError
from helix_jax.reports import load_blocks
from helix_jax.text.compatibility import RATES, SPELLINGS
from tests.experiments.told import require_answered, require_told


def config(workdir, names, texts, **kwargs):
    return TokenizersConfig(
        workdir=str(workdir),
        tokenizers=tuple(map(str, names)),
        data=str(texts),
        tiny=True,
        **kwargs,
    )


@pytest.mark.slow
def test_embedded_tokenizers(texts, tmp_path, capsys):
    names = [assets.model_path(name) for name in assets.NAMES]
    summary = tokenizers.run(config(tmp_path / "w", names, texts))
    # These two share a tokenizer; the third has half the vocabulary.
    same, other = "pebble-llama/pebble-qwen3", "pebble-llama/pebble-neox"
    for spelling in SPELLINGS:
        assert summary[f"{same}/jaccard_{spelling}"] == 1
        assert 0.2 < summary[f"{other}/jaccard_{spelling}"] < 0.6
    for rate in RATES:
        low, value, high = (
            summary[f"{other}/match_{rate}{end}"] for end in ("_low", "", "_high")
        )
        assert 0 < low <= value <= high < 1
        assert low < high
    assert summary[f"{same}/match_pair_bytes"] == 1
    assert summary[f"{other}/match_position_raw"] < summary[f"{other}/match_pair_raw"]
    longer = summary["pebble-llama/characters_a_token"]
    assert longer > summary["pebble-neox/characters_a_token"]
    assert all(math.isfinite(value) for value in summary.values())
    assert json.loads((tmp_path / "w" / "summary.json").read_text()) == summary
    printed = capsys.readouterr().out
    assert "pebble-llama - pebble-neox" in printed
    assert len(load_blocks(tmp_path / "w")) == 3
    require_told(tmp_path / "w", "pebble-llama", "texts.jsonl", "100 texts (of")
    least = min(
        summary[f"{a}/match_pair_bytes"] for a in (other, "pebble-neox/pebble-qwen3")
    )
    require_answered(tmp_path / "w", "100.0%", "3", f"{100 * least:.1f}%")
    again = tokenizers.run(config(tmp_path / "w", names, texts))
    assert again == summary
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_files_and_folders_of_every_kind(texts, shared, tmp_path):
    names = [
        shared / "tokenizers" / "qwen2.5",  # vocab.json and merges.txt
        shared / "tokenizers" / "llama2",  # a sentencepiece model
        shared / "tokenizers" / "mistral" / "tokenizer.model.v1",  # the file itself
        shared / "tokenizers" / "gpt2",  # tokenizer.json
    ]
    summary = tokenizers.run(config(tmp_path, names, texts))
    start = "qwen2.5/mistral--tokenizer.model.v1"
    assert summary[f"{start}/jaccard_raw_special"] == pytest.approx(0.061, abs=5e-4)
    assert (
        summary[f"{start}/match_pair_raw"] < 0.5 < summary[f"{start}/match_pair_bytes"]
    )


def test_bad_flags(texts, tmp_path):
    path = assets.model_path("pebble-llama")
    with pytest.raises(RunError, match="--tokenizers needs two or more"):
        tokenizers.run(config(tmp_path, [path], texts))
    with pytest.raises(RunError, match="must have different names"):
        tokenizers.run(config(tmp_path, [path, path], texts))


def test_names():
    assert short_name("Qwen/Qwen2.5-7B") == "Qwen--Qwen2.5-7B"
    assert short_name(str(assets.model_path("pebble-neox"))) == "pebble-neox"
    assert short_name("/a/b/mistral/tokenizer.model") == "mistral--tokenizer.model"


def letters(folder, *merges):
    """A byte-level tokenizer of the letters a, b, c, the space and some merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["a", "b", "c", "\u0120", *map("".join, merges)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    core = Tokenizer(models.BPE(vocabulary, list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    folder.mkdir()
    core.save(str(folder / "tokenizer.json"))
    declared = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    return folder


def test_rates_are_those_counted_by_hand(tmp_path):
    # ab          x: ab             y: a b
    # abc a       x: ab c _ a       y: a b c _ a
    # c b a       x: c _ b _ a      y: c _ b _ a
    names = [letters(tmp_path / "x", ("a", "b")), letters(tmp_path / "y")]
    path = tmp_path / "three.jsonl"
    lines = [{"id": str(i), "text": t} for i, t in enumerate(("ab", "abc a", "c b a"))]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = tokenizers.compute.prepare(config(tmp_path / "w", names, path))
    report = tokenizers.compute(flags, None)
    assert (report.numbers["data/texts"], report.numbers["data/characters"]) == (3, 12)
    assert report.numbers["x/characters_a_token"] == 12 / 10
    assert report.numbers["y/characters_a_token"] == 12 / 12
    for spelling in SPELLINGS:
        assert report.numbers[f"x/y/jaccard_{spelling}"] == 4 / 5
    expected = {
        "position_bytes": 5 / 12,  # of the longer side: 0 of 2, 0 of 5, 5 of 5
        "pair_bytes": 8 / 12,  # of the tokens of y: 0 of 2, 3 of 5, 5 of 5
        "span": 8 / 14,  # 0 of 3, 3 of 6, 5 of 5
        "boundary": 10 / 12,  # 1 of 2, 4 of 5, 5 of 5
    }
    for rate, value in expected.items():
        found, low, high = map(float, report.numbers[f"x/y/match_{rate}"])
        assert found == pytest.approx(value, abs=1e-12)
        assert low < value < high
    table, jaccard, matches = report.blocks
    assert table.header == ["quantity", "x - y"]
    assert ["vocabulary Jaccard: bytes", "0.800"] in table.rows
    assert jaccard.values[0][1] == 4 / 5
    assert math.isnan(jaccard.values[1][0])
    assert float(matches.values[0][1]) == pytest.approx(8 / 12)
