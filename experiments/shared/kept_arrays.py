"""Arrays of finished steps in the work directory, from which a killed run resumes."""

from collections.abc import Callable, Mapping

import numpy as np

from helix_jax.runs import Run, read_arrays, write_arrays


def kept(
    run: Run, name: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays of a file in the work directory, computed if it is missing."""
    path = run.folder / "parts" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_arrays(path, **make())
    return read_arrays(path)
