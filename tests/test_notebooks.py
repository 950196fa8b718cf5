"""The notebooks run from their first cell to their last, and hold what they assert.

They are kept without outputs: what comes out differs by machine in its last digits, and
what has to come out is asserted in their cells. `make notebooks` fills them in.
"""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    if path.stem == "two_silos":
        pytest.importorskip("Pyfhel")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    shown = [one for cell in notebook.cells for one in cell.get("outputs", ())]
    assert shown
    assert all(one["output_type"] != "error" for one in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_asserts_what_it_shows(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in code)
    assert all(cell["execution_count"] is None for cell in code)
    assert "assert " in "".join(line for cell in code for line in cell["source"])


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == [
        "own_arrays",
        "two_models",
        "two_silos",
    ]
