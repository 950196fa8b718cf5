"""The module that was started as a program, imported by its name as well.

As `__main__` it reads flags; what is slow to import, and not needed for that, stands in
it under `if __name__ != "__main__":` and is there under its own name alone.
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

    Of a script that lies in no package they are those that there are.
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
    """The dotted name of a file in a package; empty of one that lies in none."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    return ".".join(parts) if len(parts) > 1 else ""
