"""The process that listens holds no library of arrays: its workers compute."""

from pathlib import Path

import pytest

SLOW = ("jaxlib", "pyarrow", "tensorstore", "matplotlib", "tokenizers", "scipy")


def libraries_of(process: int) -> set[str]:
    """Those of SLOW of which a process has loaded native code."""
    maps = Path(f"/proc/{process}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    text = maps.read_text()
    return {name for name in SLOW if f"/site-packages/{name}" in text}


@pytest.mark.slow
def test_the_service_answers_without_jax_and_its_workers_with_it(served, planted):
    with served.connect() as provider:
        fitted = provider.fit("public", planted.x, ids=planted.ids)
        assert float(fitted.moments.count) == len(planted.ids)
        assert provider.classify("planted", planted.x[:2]).shape == (2, 3)
    pid = served.process.pid
    assert libraries_of(pid) == set()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert "jaxlib" in set.union(*(libraries_of(int(one)) for one in children))
