"""The transformers library from several threads of a process that is new to it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from helix_jax.transformers_names import transformers_names
names = "CONFIG_MAPPING", "PreTrainedTokenizerFast"
assert "transformers" not in sys.modules
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: transformers_names(*names), range(8)))
import transformers
print(all(one[0] is transformers.CONFIG_MAPPING for one in found))
"""


@pytest.mark.slow
def test_all_threads_find_the_names():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout == "True\n", done.stderr
