"""The examples of the README run as they stand."""

from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def run_example(heading: str) -> dict:
    """Run the first Python block below a heading; returns its names."""
    below = README.read_text().split(f"\n## {heading}\n")[1]
    code = below.split("```python\n")[1].split("```")[0]
    names = {}
    exec(compile(code, str(README), "exec"), names)
    return names


def test_a_map_comes_of_two_arrays_in_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(600, 24)), rng.normal(size=(24, 16))
    y = x @ kernel + 3.0
    np.save("x.npy", x.astype("float32"))
    np.save("y.npy", y.astype("float32"))
    names = run_example("Your own arrays")
    np.testing.assert_allclose(names["y_hat"], y, atol=0.05)
    affine = names["affine"]
    by_hand = names["x"] @ np.asarray(affine.kernel) + np.asarray(affine.bias)
    np.testing.assert_allclose(names["y_hat"], by_hand, atol=1e-4)


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_example("The main job")
    score = float(
        names["evaluate_map"](names["chosen"].fit.map, names["moments"]["test"]).r2
    )
    assert 0.2 < score < 1
    assert np.isfinite(np.asarray(names["y_hat"])).all()


@pytest.mark.slow
def test_the_encrypted_example_runs(capsys):
    pytest.importorskip("Pyfhel")
    names = run_example("Two parties that share neither data nor weights")
    wanted = names["x"] @ names["kernel"] + names["bias"]
    # To 12 bits of the largest result that the layer allows, the bound to 9.
    reach = 40 * np.linalg.norm(names["kernel"], axis=0).max()
    error = np.abs(names["logits"] - wanted).max()
    assert error <= names["layer"].error <= reach / 2**9
    assert names["logits"].argmax() == wanted.argmax()
    assert "at most" in capsys.readouterr().out
