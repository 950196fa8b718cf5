"""Names of the transformers library, which is imported on first use.

While it is imported, that library replaces its module with another, so a
`from transformers import ...` in a second thread can see the first, without names.
"""

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from typing import Any

_LIBRARY = "transformers"
_QUIET = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
_one_at_a_time = threading.Lock()


def transformers_names(*names: str) -> tuple[Any, ...]:
    """Classes and tables of transformers.

    Args:
      names: such as "CONFIG_MAPPING".

    Returns:
      The objects with these names, in order.
    """
    with _one_at_a_time, _without_advice():
        importlib.import_module(_LIBRARY)
        library = importlib.import_module(_LIBRARY)  # the replacement
        return tuple(getattr(library, name) for name in names)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the warning that, without torch, the library's models are unavailable."""
    before = os.environ.get(_QUIET)
    os.environ[_QUIET] = "1"
    try:
        yield
    finally:
        del os.environ[_QUIET]
        if before is not None:
            os.environ[_QUIET] = before
