"""The module that was started as a program, also imported by its name.

As `__main__` it reads flags; slow imports that flags do not need go under
`if __name__ != "__main__":` and run only under its own name.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def find_whole(
    config_class: type, run: Callable[[Any], Any]
) -> tuple[type, Callable[[Any], Any]]:
    """The config class and `run` of the started module, imported by its name.

    For a script outside any package, the given ones are returned.
    """
    module = _whole_module(config_class.__module__)
    if module is None:
        return config_class, run
    return getattr(module, config_class.__name__), module.run


def find_main(main: Callable) -> Callable:
    """The function `main` of the started module, imported by its name."""
    module = _whole_module(main.__module__)
    return main if module is None else module.main


def _whole_module(name: str) -> ModuleType | None:
    """The started module under its own name; None for another module, or for none."""
    started = sys.modules["__main__"]
    file = getattr(started, "__file__", None)
    if name != "__main__" or file is None:
        return None
    spec = started.__spec__
    own = spec.name if spec else _module_name(Path(file).resolve())
    return importlib.import_module(own) if own else None


def _module_name(file: Path) -> str:
    """The dotted name of a file in a package; empty for a file outside any."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    return ".".join(parts) if len(parts) > 1 else ""
