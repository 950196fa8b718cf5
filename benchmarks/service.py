r"""The provider's service over TLS on loopback, part by part.

    python -m benchmarks.service --only=query,load,fit,search,generation
    python -m benchmarks.service --only=peers --tenseal_python=PATH \
      --concrete_python=PATH

Each part starts its own services, as `experiments.serve` does, with TLS 1.3, tokens and
a state on disk, and writes its own table, so an interrupted part can be run again
alone. Client and service share the machine. Minutes on two cores: query 1, load
--minutes, fit 2, search 5, generation 1, peers 2.
"""

import tempfile
from pathlib import Path

from benchmarks.service_flags import ONLY, PARTS, TINY
from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.service_fit import fit
    from benchmarks.service_generation import generation
    from benchmarks.service_load import load
    from benchmarks.service_own import make_place
    from benchmarks.service_peers import peers
    from benchmarks.service_query import query
    from benchmarks.service_search import search

    STARTS = dict(zip(PARTS, (query, load, fit, search, generation, peers)))


def main(_: list[str]) -> None:
    """Measure and write the tables."""
    for name in ONLY.value:
        with tempfile.TemporaryDirectory() as folder:
            width, classes = (64, 3) if TINY.value else (768, 5)
            STARTS[name](make_place(Path(folder), width=width, classes=classes))


if __name__ == "__main__":
    start_main(main)
