"""The settings of a sweep, each a dictionary of flags, in a fixed order.

    grid   flag=a,b     every value with every other setting; grids are multiplied
    zip    flag=a,b     all zips advance together: the first values, the second, ...
    list   "f=a g=b"    one setting as written, quoted as in a shell
    file   NAME.py      its function settings() yields dictionaries

Lists and the file are concatenated; grids and zips multiply them.
"""

import importlib.util
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from helix_jax.errors import RunError
from helix_jax.paths import local_path

FOLDER = Path(__file__).parents[1] / "experiments" / "sweeps"
Setting = dict[str, str]  # flag -> its value as written on a command line


def all_settings(
    *,
    grid: Sequence[str] = (),
    zipped: Sequence[str] = (),
    listed: Sequence[str] = (),
    file: str = "",
) -> list[Setting]:
    """Every setting of a sweep.

    Args:
      grid, zipped: "flag=value,value" strings.
      listed: "flag=value flag=value" strings, one per setting.
      file: file of settings, by path or by its name in experiments/sweeps.

    Returns:
      At least one setting; only {} if nothing is swept.

    Raises:
      RunError: an entry has no "=" or no values, a value or a flag occurs twice, zips
        differ in length, or the file has no settings().
    """
    along, across = _axes("--zip", zipped), _axes("--grid", grid)
    lengths = {name: len(values) for name, values in along.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise RunError(f"--zip needs as many values of each flag, got {said}.")
    single = [_listed(entry) for entry in listed]
    single += list(_of_file(file)) if file else []
    steps = [dict(zip(along, values)) for values in zip(*along.values())]
    crossed = [dict(zip(across, one)) for one in itertools.product(*across.values())]
    return [
        _joined(*parts)
        for parts in itertools.product(single or [{}], steps or [{}], crossed)
    ]


def _axes(flag: str, entries: Sequence[str]) -> dict[str, list[str]]:
    axes: dict[str, list[str]] = {}
    for entry in entries:
        name, _, joined = entry.partition("=")
        name, values = name.strip().lstrip("-"), [v.strip() for v in joined.split(",")]
        once = flag == "--zip" or len(set(values)) == len(values)
        if not name or not joined or name in axes or not once:
            raise RunError(
                f"{flag} needs flag=value,value with each flag and each of its values "
                f"once, got {entry!r}."
            )
        axes[name] = values
    return axes


def _listed(entry: str) -> Setting:
    setting: Setting = {}
    for word in shlex.split(entry):
        name, equals, value = word.lstrip("-").partition("=")
        if not name or not equals or name in setting:
            raise RunError(
                "--list needs 'flag=value flag=value' with each flag once, got "
                f"{entry!r}."
            )
        setting[name] = value
    return setting


def _of_file(file: str) -> Iterator[Setting]:
    """The settings of a Python file, which is run."""
    path = local_path(file, "--file")
    if not path.suffix:
        path = FOLDER / f"{file}.py"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.py")))
        raise RunError(
            f"--file={file}: there is no {path}; experiments/sweeps: {known}."
        )
    spec = importlib.util.spec_from_file_location(f"sweep_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "settings", None)):
        raise RunError(
            f"--file={file} has no function settings() that yields dictionaries of "
            "flags; see experiments/sweeps."
        )
    found = list(_require_dictionaries(file, module.settings()))
    if not found:
        raise RunError(f"--file={file}: settings() yields nothing.")
    yield from found


def _require_dictionaries(file: str, found: Iterable[Any]) -> Iterator[Setting]:
    for one in found:
        if not isinstance(one, Mapping) or not all(isinstance(k, str) for k in one):
            raise RunError(
                f"--file={file}: settings() must yield dictionaries flag -> value, got "
                f"{one!r}."
            )
        yield {name: _written(value) for name, value in one.items()}


def _written(value: Any) -> str:
    """A value as a command line writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _joined(*parts: Setting) -> Setting:
    whole: Setting = {}
    for part in parts:
        if twice := sorted(whole.keys() & part.keys()):
            raise RunError(f"--{twice[0]} is swept twice; give it in one place.")
        whole |= part
    return whole
