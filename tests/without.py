"""Python as where some packages are not installed, for scripts that tests start."""

_HIDE = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, *args):
        hidden = name.split(".")[0] in {packages!r}
        return None if hidden else super().find_spec(name, *args)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def without(*packages: str) -> str:
    """The beginning of a script that does not find these packages."""
    return _HIDE.format(packages=packages)
