"""Names of a package that are imported on first use.

    from typing import TYPE_CHECKING

    from helix_jax.lazy import lazy_names

    if TYPE_CHECKING:
        from helix_jax.alignment.maps import apply_map

    __all__ = ["apply_map"]
    lazy_names(__name__)

So `import helix_jax.alignment`, or one of its submodules, loads none of the others, and
`from helix_jax.alignment import apply_map` loads `maps` alone. The imports are written
as in any package, so that editors and type checkers follow them. From Python 3.15 on,
`lazy from ... import ...` says the same (PEP 810).
"""

import ast
import functools
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from helix_jax.extras import optional_imports


def lazy_names(package: str) -> None:
    """Import what a package names under `if TYPE_CHECKING:` on first use.

    Args:
      package: name of the package, whose file calls this at its end.
    """
    module = sys.modules[package]
    vars(module)["_origins"] = functools.cache(lambda: dict(_read_origins(module)))
    module.__class__ = LazyPackage


class LazyPackage(types.ModuleType):
    """A package whose names are imported on first use; see the top of this file."""

    def __getattr__(self, name: str) -> Any:
        """Import a name, once."""
        origin = None if name.startswith("__") else self._origins().get(name)
        if origin is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with optional_imports():
            value = getattr(importlib.import_module(origin[0]), origin[1])
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Protect the package's names from submodules with the same name.

        Python binds `alignment.accumulate` to the submodule once that is imported; the
        package means the function.
        """
        if isinstance(value, types.ModuleType) and name in self.__all__:
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """Including the names that are not imported yet."""
        return sorted({*super().__dir__(), *self.__all__})


def _read_origins(module: types.ModuleType) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name -> (module, name there), from the imports under `if TYPE_CHECKING:`."""
    loader: Any = module.__loader__
    source = loader.get_source(module.__name__)
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            lines = (line for line in block.body if isinstance(line, ast.ImportFrom))
            for line in lines:
                for one in line.names:
                    yield one.asname or one.name, (line.module or "", one.name)
