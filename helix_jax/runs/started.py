"""The module that was started as a program, also imported by its name.

As `__main__` it reads flags; slow imports that flags do not need stand under
`if __name__ != "__main__":` and run only under its own name.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def find_whole(
    config_class: type, run: Callable[[Any], Any]
) -> tuple[type, Callable[[Any], Any]]:
    """The config class and `run` of the started module, imported by its name.

    For a script outside any package, the given ones.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if config_class.__module__ != "__main__" or file is None:
        return config_class, run
    name = main.__spec__.name if main.__spec__ else _module_name(Path(file).resolve())
    if not name:
        return config_class, run
    module = importlib.import_module(name)
    return getattr(module, config_class.__name__), module.run


def _module_name(file: Path) -> str:
    """The dotted name of a file in a package; empty for a file outside any."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    return ".".join(parts) if len(parts) > 1 else ""
