"""Faults as data: a line of the code, a faulty one, and the tests that must notice."""

import dataclasses
import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Fault:
    """One line and what is planted in its place.

    Attributes:
      file: path below the root.
      line: the right line without its indentation, of which the file has one.
      faulty: what takes its place.
      kind: sign, axis, off by one, mask, dtype, swapped arguments, dropped term, ...
      tests: files of tests that have to notice, or FILE::TEST.
      equivalent: why no test can notice, where none can.
    """

    file: str
    line: str
    faulty: str
    kind: str
    tests: tuple[str, ...]
    equivalent: str = ""

    @property
    def key(self) -> str:
        """What the table knows the fault by."""
        parts = "\0".join((self.file, self.line, self.faulty))
        return hashlib.sha256(parts.encode()).hexdigest()[:12]

    @property
    def package(self) -> str:
        """The room that it is planted in."""
        top, *inner = Path(self.file).parts
        return inner[0] if top == "helix_jax" and len(inner) > 1 else top


def read_faults(path: Path) -> list[Fault]:
    """The faults of a TOML file, a table [[fault]] each.

    Raises:
      ValueError: a fault lacks something, has more, or stands there twice.
    """
    names = {field.name for field in dataclasses.fields(Fault)}
    faults = []
    for given in tomllib.loads(path.read_text())["fault"]:
        if not names - {"equivalent"} <= given.keys() <= names:
            raise ValueError(
                f"{path}: a fault needs {sorted(names - {'equivalent'})} and may have "
                f"equivalent, got {sorted(given)} of {given.get('file')}."
            )
        faults.append(Fault(**{**given, "tests": tuple(given["tests"])}))
    twice = [key for key, count in Counter(f.key for f in faults).items() if count > 1]
    for fault in faults:
        if fault.key in twice:
            raise ValueError(f"{path}: stands there twice: {fault.faulty!r}.")
    return faults


def with_fault(fault: Fault, root: Path) -> str:
    """The text of the fault's file with the fault in it.

    Raises:
      ValueError: there is no such file, its tests are not there, or the right line
        is not found exactly once.
    """
    needed = (fault.file, *(name.partition("::")[0] for name in fault.tests))
    missing = [name for name in needed if not (root / name).exists()]
    if missing:
        raise ValueError(f"{fault.file}: {missing[0]} is not in {root}.")
    lines = (root / fault.file).read_text().splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if line.strip() == fault.line]
    if len(places) != 1:
        raise ValueError(
            f"{fault.file}: expected one line {fault.line!r}, found {len(places)}; "
            "change the fault to a line of the code as it is now."
        )
    (place,) = places
    lines[place] = lines[place].replace(fault.line, fault.faulty)
    return "".join(lines)


def summarise(found: Iterable[tuple[Fault, dict]]) -> str:
    """Tables of how many were caught, by package and by kind.

    Of all but the equivalent ones, which no test can catch.
    """
    lines = []
    found = list(found)
    for title, group_of in (
        ("package", lambda f: f.package),
        ("kind", lambda f: f.kind),
    ):
        lines += [
            f"| {title} | planted | caught | survived | equivalent |",
            "|" + "---|" * 5,
        ]
        for group in [*sorted({group_of(fault) for fault, _ in found}), "all"]:
            of_group = [
                "equivalent" if fault.equivalent else row["found"]
                for fault, row in found
                if group in ("all", group_of(fault))
            ]
            counts = Counter(of_group)
            columns = [counts[name] for name in ("caught", "survived", "equivalent")]
            lines.append(
                f"| {group} | {len(of_group)} | {' | '.join(map(str, columns))} |"
            )
        lines.append("")
    counts = Counter(row["found"] for fault, row in found if not fault.equivalent)
    judged = counts["caught"] + counts["survived"]
    share = f"{counts['caught'] / judged:.1%}" if judged else "none"
    return "\n".join(
        [*lines, f"{share} caught of {judged} that can be; {counts['error']} errors"]
    )
