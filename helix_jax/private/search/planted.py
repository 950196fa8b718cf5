"""A synthetic index: rows in clusters whose centres are clustered, too."""

import numpy as np

GROUP, GROUPS = 200, 16  # rows per centre, centres per top-level centre
SPREAD = 0.8  # of rows around their centre, relative to the spread of centres
_BLOCK = 8192


def planted_index(
    *, rows: int, queries: int, width: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and queries from one distribution.

    The variance of coordinate i falls as 1 / (i + 10), roughly like the spectra of
    sentence encoders.

    Returns:
      [rows, width] and [queries, width] float32 of norm 1.
    """
    generator = np.random.default_rng(seed)
    scale = np.sqrt(1 / (np.arange(width) + 10)).astype(np.float32)

    def about(centres: np.ndarray, count: int, spread: float) -> np.ndarray:
        made = np.empty((count, width), np.float32)
        for start in range(0, count, _BLOCK):
            own = made[start : start + _BLOCK]
            noise = generator.standard_normal(own.shape, np.float32)
            own[:] = centres[generator.integers(len(centres), size=len(own))]
            own += np.float32(spread) * scale * noise
        return made

    centres = -(-rows // GROUP)
    tops = about(np.zeros((1, width), np.float32), -(-centres // GROUPS), 1)
    middle = about(tops, centres, 1)
    found = [about(middle, count, SPREAD) for count in (rows, queries)]
    for made in found:
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    return found[0], found[1]
