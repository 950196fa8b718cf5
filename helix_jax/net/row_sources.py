"""Sources of a service's rows, read block by block: a store, or an .npz file.

Each is a shape, and slices of rows, as `prepare_rows` takes them.
"""

import dataclasses
import json
import os
import zipfile
import zlib

import numpy as np

from helix_jax.activations import Store
from helix_jax.errors import RunError
from helix_jax.paths import os_errors

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DAMAGE = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class StoreRows:
    """The rows of a store's only layer.

    Attributes:
      store: as it was opened.
      layer: its number.
    """

    store: Store
    layer: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self.store), self.store.width

    @property
    def name(self) -> str:
        """What tells this store from others: what made it, and where it is."""
        about = [self.store.name, self.layer, self.shape, dict(self.store.fingerprint)]
        return json.dumps(about, sort_keys=True)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows [stop - start, d] float32."""
        return np.asarray(self.store.reader(self.layer, rows), np.float32)


class NpzRows:
    """A matrix in an .npz file, compressed or not; read from its beginning on.

    Attributes:
      shape: as the file says.
      name: of the file, its size and its time.
    """

    def __init__(self, path: str, array: str):
        """Open the file.

        Args:
          path: of the file.
          array: name of the matrix in it.

        Raises:
          RunError: there is no such matrix, or it is damaged.
        """
        self._path = path
        with os_errors(path, "be read", RunError):
            found = os.stat(path)
            self.name = json.dumps(
                [os.path.realpath(path), array, found.st_size, found.st_mtime_ns]
            )
            try:
                archive = zipfile.ZipFile(path)
                self._stream = archive.open(f"{array}.npy")
                version = np.lib.format.read_magic(self._stream)
                shape, columns, dtype = _HEADERS[version](self._stream)
            except _DAMAGE as error:
                raise self._damaged(error) from error
        if (columns and len(shape) > 1) or dtype.hasobject:
            order = "columns" if columns else "objects"
            raise RunError(
                f"{path}: {array} is kept as {order}, expected numbers row by row; "
                f"write it again: numpy.savez({array}=numpy.ascontiguousarray(...))."
            )
        self.shape, self._dtype = shape, dtype
        self._begin = self._stream.tell()

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows [stop - start, d]; going back means reading from the beginning again.

        Raises:
          RunError: they are damaged.
        """
        start, stop, _ = rows.indices(self.shape[0])
        size = self._dtype.itemsize * int(np.prod(self.shape[1:]))
        with os_errors(self._path, "be read", RunError):
            try:
                if self._stream.tell() != self._begin + start * size:
                    self._stream.seek(self._begin + start * size)
                data = self._stream.read(size * (stop - start))
                part = np.frombuffer(data, self._dtype)
                return part.reshape(stop - start, *self.shape[1:])
            except _DAMAGE as error:
                raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RunError:
        return RunError(
            f"{self._path} is damaged ({error}); write it again with numpy.savez."
        )
