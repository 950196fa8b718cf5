"""Names of the transformers library, which is imported when one is first wanted.

That library puts another module in its place while it is imported, so that a `from
transformers import ...` in a second thread can see the one without names.
"""

import importlib
import threading
from typing import Any

_LIBRARY = "transformers"
_one_at_a_time = threading.Lock()


def transformers_names(*names: str) -> tuple[Any, ...]:
    """Classes and tables of transformers.

    Args:
      names: such as "CONFIG_MAPPING".

    Returns:
      What has these names, in order.
    """
    with _one_at_a_time:
        importlib.import_module(_LIBRARY)
        library = importlib.import_module(_LIBRARY)  # the one that took its place
        return tuple(getattr(library, name) for name in names)
