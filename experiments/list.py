r"""Which programs are there, what does each answer, and what does it cost?

    python -m experiments.list [--program=NAME]

The question is the first line of a program's docstring, the cost its line "Cost: ...",
as it was measured; with --program the flags of one. Nothing is written.

Cost: two seconds.
"""

import ast
import dataclasses
import importlib
import re
import typing
from pathlib import Path

from experiments import programs
from helix_jax.reports import Table
from helix_jax.runs import Report, Run, experiment, option

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class ListConfig:
    """Flags of the program."""

    program: str = option("", "program whose flags to list", choices=("", *programs()))


@experiment()
def compute(config: ListConfig, _: Run | None) -> Report:
    """The programs, or the flags of one."""
    if config.program:
        return Report({}, [flags_table(config.program)])
    rows = [
        [name, *question_and_cost(FOLDER / f"{name}.py")] for name in programs(FOLDER)
    ]
    note = "Start one with python -m experiments.PROGRAM; --program=PROGRAM: its flags."
    return Report({}, [Table("Programs", ["program", "question", "cost"], rows, note)])


def question_and_cost(path: Path) -> list[str | None]:
    """What a module's docstring says of both; None where it says nothing."""
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    cost = re.search(r"^Cost: (.+?)\.?$", doc, re.MULTILINE)
    return [doc.partition("\n")[0] or None, cost and cost[1]]


def config_class(name: str) -> type:
    """The dataclass whose fields are the flags of a program."""
    module = importlib.import_module(f"experiments.{name}")
    hints = typing.get_type_hints(module.run)
    return getattr(getattr(module, "compute", None), "config_class", hints["config"])


def flags_table(name: str) -> Table:
    """Every flag of a program with its default and its meaning."""
    fields = dataclasses.fields(config_class(name))
    rows = [[f"--{f.name}", _written(f.default), f.metadata["help"]] for f in fields]
    return Table(f"Flags of {name}", ["flag", "default", "meaning"], rows)


def _written(value: object) -> str | None:
    """A default as it is written on a command line; None for an empty one."""
    return ",".join(map(str, value if isinstance(value, tuple) else (value,))) or None


run = compute.run

if __name__ == "__main__":
    compute.main()
