"""docs/models.md says what the engines run of the installed transformers."""

from pathlib import Path

import pytest
import transformers

from helix_jax.models.coverage import NOT_TRIED, by_torch, coverage_text, read_trials
from helix_jax.models.families import FAMILIES

FILE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture(scope="module")
def written():
    text = FILE.read_text()
    if f"transformers {transformers.__version__}:" not in text:
        pytest.skip("docs/models.md was written with another transformers")
    return text


def test_the_table_is_up_to_date(written):
    """If not: python -m helix_jax.models.coverage docs/models.md."""
    assert coverage_text(read_trials(written)) == written


def test_every_native_type_is_in_it(written):
    trials = read_trials(written)
    assert trials.keys() >= FAMILIES.keys()
    assert f"| mamba |  | {trials['mamba']} |" in written
    assert f"| llama | native | {trials['llama']} |" in written
    assert len(trials) > 300
    order = ["aya_vision", "xglm", "afmoe", "zamba2", "bros", "bark"]
    places = [written.index(f"| {kind} |") for kind in order]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", ["llama", "fnet", "squeezebert", "wav2vec2"])
def test_what_it_says_of_torch_comes_out_again(written, kind):
    said = read_trials(written)[kind]
    assert said != NOT_TRIED
    assert by_torch(kind) == said
