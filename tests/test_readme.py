"""The example of the README runs as it stands."""

from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = README.read_text().split("```python\n")[1].split("```")[0]
    names = {}
    exec(compile(code, str(README), "exec"), names)
    score = float(
        names["evaluate_map"](names["chosen"].fit.map, names["moments"]["test"]).r2
    )
    assert 0.2 < score < 1
    assert np.isfinite(np.asarray(names["y_hat"])).all()


def test_the_encrypted_example_runs(capsys):
    pytest.importorskip("Pyfhel")
    code = README.read_text().split("```python\n")[2].split("```")[0]
    names = {}
    exec(compile(code, str(README), "exec"), names)
    wanted = names["x"] @ names["kernel"] + names["bias"]
    # To 12 bits of the largest result that the layer allows, the bound to 9.
    reach = 40 * np.linalg.norm(names["kernel"], axis=0).max()
    error = np.abs(names["logits"] - wanted).max()
    assert error <= names["layer"].error <= reach / 2**9
    assert names["logits"].argmax() == wanted.argmax()
    assert "at most" in capsys.readouterr().out
