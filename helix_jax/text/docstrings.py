"""The embedded corpus: docstrings of the scientific packages installed with this one.

Docstrings of modules, classes and functions are parsed with `ast` from source files
(nothing is imported or executed) of a fixed list of packages, all of them core
dependencies of this project, so that every installation has them. The label is the
package. A document is a source file.

To interpret a score on it: many texts name their own package, classes or conventions,
so classification is easier than topic classification of news; and `transformers`
repeats texts with only the model's name changed, which deduplication does not remove.
The texts depend on the installed versions; the fingerprint records both the versions
and the content.
"""

import ast
import functools
import gc
import hashlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import CorpusError
from helix_jax.text.hashing import content_key
from helix_jax.text.ids import name_in_id
from helix_jax.text.kept import kept_texts
from helix_jax.types import Text

# Label (top-level package) -> (distribution that installs it, folder in the package).
PACKAGES = {
    "numpy": ("numpy", "."),
    "scipy": ("scipy", "."),
    "jax": ("jax", "."),
    "pandas": ("pandas", "."),
    "transformers": ("transformers", "."),
    "flax": ("flax", "."),
    "optax": ("optax", "."),
    "datasets": ("datasets", "."),
    "huggingface_hub": ("huggingface_hub", "."),
    "fsspec": ("fsspec", "."),
    "orbax": ("orbax-checkpoint", "checkpoint"),
}
MINIMUM_CHARACTERS = 60
CLASSES = tuple(sorted(PACKAGES))

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = (ast.If, ast.Try, ast.With)


@functools.cache
def read_docstrings() -> tuple[Text, ...]:
    """All texts of the embedded corpus, in a fixed order and without duplicates.

    Returns:
      Texts with id "package/path/file.py#Qualified.name" (the module's own docstring
      ends in "#"), the cleaned docstring, and the package's place in CLASSES. Of equal
      docstrings the first in the order of PACKAGES is kept. Parsing takes a few
      seconds; the result is kept for the rest of the process, and in the user's cache
      for other processes, until a source file changes its size or modification time.

    Raises:
      CorpusError: a package of the list is not installed.
    """
    return kept_texts("docstrings", _state_of_sources(), _parse_all)


def _parse_all() -> list[Text]:
    seen: set[bytes] = set()
    texts = []
    # Syntax trees are millions of objects without cycles; the garbage collector would
    # walk them again and again, which doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for package in PACKAGES:
            for document, path in _package_files(package):
                for text_id, text in file_docstrings(document, path):
                    key = content_key(text)
                    if key not in seen:
                        seen.add(key)
                        texts.append(Text(text_id, text, CLASSES.index(package)))
    finally:
        if collecting:
            gc.enable()
    return texts


def _state_of_sources() -> str:
    """A digest of the parser, and of every file's name, size and modification time."""
    digest = hashlib.sha256(f"{sys.version}\n".encode())
    for own in (__file__, content_key.__code__.co_filename):
        digest.update(Path(own).read_bytes())
    for package in PACKAGES:
        for document, path in _package_files(package):
            found = path.stat()
            line = f"{document}\0{found.st_size}\0{found.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


@functools.cache
def package_versions() -> dict[str, str]:
    """Package -> installed version, for the fingerprint of the corpus."""
    return {
        package: importlib.metadata.version(distribution)
        for package, (distribution, _) in PACKAGES.items()
    }


def _package_folder(package: str) -> Path:
    distribution, inner = PACKAGES[package]
    spec = importlib.util.find_spec(package)  # finds, does not import
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / inner
        if folder.is_dir():
            return folder
    raise CorpusError(
        f"docstrings: package {package!r} is not installed; the embedded corpus needs "
        f"all of {', '.join(PACKAGES)}. Install it with: pip install {distribution}"
    )


def _package_files(package: str) -> Iterator[tuple[str, Path]]:
    """Name of the document and path of every source file, in a fixed order."""
    folder = _package_folder(package)
    inner = PACKAGES[package][1]
    prefix = package if inner == "." else f"{package}/{inner}"
    files = sorted(
        (path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py")
    )
    for name, path in files:
        if not _is_skipped(name):
            yield f"{prefix}/{name_in_id(name)}", path


def _is_skipped(name: str) -> bool:
    """Tests, and the templates from which `transformers` generates its models."""
    *folders, file = name.split("/")
    return (
        not {"test", "tests", "testing", "__pycache__"}.isdisjoint(folders)
        or file.startswith(("test_", "modular_"))
        or file.endswith("_test.py")
    )


def file_docstrings(document: str, path: Path) -> Iterator[tuple[str, str]]:
    """The docstrings of one source file, as (id, text); none if it does not parse.

    Args:
      document: name of the file, the part of the ids before '#'.
      path: the file.

    Yields:
      Docstrings of the module, its classes, methods and functions, but not of
      functions inside functions, cleaned and of at least MINIMUM_CHARACTERS.
    """
    source = path.read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in third-party strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # a template, or written for another Python
    used: dict[str, int] = {}
    for name, node in _named_nodes(tree, ""):
        text = ast.get_docstring(node)  # cleaned as inspect.cleandoc does
        if text is None:
            continue
        text = text.encode("utf-8", "replace").decode().replace("\0", "").strip()
        if len(text) < MINIMUM_CHARACTERS:
            continue
        # Overloads, property setters and branches define one name several times.
        count = used[name] = used.get(name, 0) + 1
        yield f"{document}#{name}" + (f"~{count}" if count > 1 else ""), text


def _named_nodes(node: ast.AST, name: str) -> Iterator[tuple[str, _Documented]]:
    if isinstance(node, (ast.Module, *_NAMED)):
        yield name, node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return  # functions inside functions are details
    for block in ("body", "handlers", "orelse", "finalbody"):
        for child in getattr(node, block, ()):
            if isinstance(child, _NAMED):
                yield from _named_nodes(child, f"{name}.{child.name}".lstrip("."))
            elif isinstance(child, (*_BLOCKS, ast.ExceptHandler)):
                yield from _named_nodes(child, name)
