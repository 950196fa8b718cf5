"""The attack experiment, planted: every control succeeds, every guard holds."""

import json

import pytest

from experiments import attack
from helix_jax.attacks import crafted_key_findings
from helix_jax.errors import RunError
from helix_jax.reports import Table, load_blocks, markdown_table
from tests.experiments.told import require_answered, require_told

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("Pyfhel")
    folder = tmp_path_factory.mktemp("attack") / "w"
    with pytest.MonkeyPatch.context() as patch:
        # Each shape compiles anew; tests/attacks/test_crafted_key.py has all of them.
        for made_up in ("SHAPES", "FITS"):
            patch.setattr(crafted_key_findings, made_up, ())
        summary = attack.run(attack.AttackConfig(workdir=str(folder), tiny=True))
    return folder, summary


def test_raw_answers_give_everything(finished):
    _, summary = finished
    for name in ("division", "unused", "noise", "row_division"):
        assert summary[f"attack/{name}_raw_exact_share"] == 1
    assert summary["attack/division_queries"] == 1


@pytest.mark.parametrize(
    "name", ["division", "division_guarded_averaged", "unused", "noise", "row_division"]
)
def test_guarded_answers_give_no_more_than_chance(finished, name):
    _, summary = finished
    start = f"attack/{name if 'guarded' in name else name + '_guarded'}"
    # Twice the middle 95% of shuffles: four standard deviations.
    low, high = (summary[f"{start}_chance_{end}"] for end in ("low", "high"))
    assert 2 * low < summary[f"{start}_correlation"] < 2 * high


def test_what_stays_open_is_measured(finished):
    _, summary = finished
    assert summary["attack/noise_open_correlation"] > 0.9
    for policy in ("plain", "logits"):
        assert summary[f"attack/extraction_{policy}_4d_agreement"] > 0.98
    assert 0.5 < summary["attack/extraction_label_4d_agreement"] < 0.9
    assert summary["attack/extraction_label_user_agreement"] > 0.99
    assert summary["attack/labels_bisected_16_relative_error"] < 1e-3
    assert 1e-3 < summary["attack/labels_bisected_8_relative_error"] < 0.1
    assert summary["attack/projection_few_rows_refused"] == 1
    assert summary["attack/projection_half_d_relative_error"] < 1e-3
    assert summary["attack/chosen_rows_exact_relative_error"] < 1e-3
    assert 1e-4 < summary["attack/chosen_rows_relative_error"] < 3e-2
    for name, first, second in (("exact", 0, 0), ("20", 0, 1), ("12", 1, 1)):
        start = f"attack/packed_rows_{name}"
        assert (summary[f"{start}_first_error"] > 1e-4) == first
        assert (summary[f"{start}_second_error"] > 0.5) == second


def test_what_is_decrypted_under_label_is_noise(finished):
    _, summary = finished
    low, high = (
        summary[f"attack/labels_decrypted_chance_{end}"] for end in ("low", "high")
    )
    assert 2 * low < summary["attack/labels_decrypted_correlation"] < 2 * high
    assert summary["attack/labels_uniform_p_value"] > 1e-6


def test_membership_shows_in_an_overfitted_map_most(finished):
    _, summary = finished
    control = summary["attack/membership_control_loss_auc_low"]
    many = summary["attack/membership_all_likelihood_auc"]
    assert control > 0.95 > many
    expected = summary["attack/membership_all_expected_auc"]
    assert abs(many - expected) < 0.05


def test_membership_in_a_private_map_is_below_its_bound(finished):
    _, summary = finished
    most = summary["attack/private_membership_most_auc"]
    assert summary["attack/private_membership_auc_low"] < most
    assert most + 0.1 < summary["attack/private_membership_bare_auc"]


def test_a_finished_run_is_not_run_again(finished):
    folder, summary = finished
    config = attack.AttackConfig(workdir=str(folder), tiny=True)
    assert attack.run(config) == summary
    assert json.loads((folder / "summary.json").read_text()) == summary
    table = (folder / "table.md").read_text()
    assert "weights by dividing c1" in table
    (block,) = load_blocks(folder)
    require_told(folder, "planted states", "1,600 paired rows")
    require_answered(
        folder,
        f"{100 * summary['attack/division_raw_exact_share']:.1f}%",
        f"{summary['attack/division_guarded_correlation']:+.3f}",
        f"{summary['attack/division_guarded_chance_low']:+.3f}",
        f"{summary['attack/division_guarded_chance_high']:+.3f}",
        f"{100 * summary['attack/extraction_logits_4d_agreement']:.1f}%",
    )
    assert isinstance(block, Table)
    assert markdown_table(block.header, block.rows) + "\n" == table


def test_one_model_is_refused(tmp_path):
    with pytest.raises(RunError, match="--source is given and --target is not"):
        attack.run(attack.AttackConfig(workdir=str(tmp_path), source="pebble-llama"))
