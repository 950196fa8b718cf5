"""One harness for every program: a config, `compute(config, run) -> Report`, blocks.

    @dataclasses.dataclass(frozen=True)
    class FitConfig(PairOptions): ...

    @experiment(tiny={"limit": 400, "max_tokens": 64})
    def compute(config: FitConfig, run: Run) -> Report: ...

    run = compute.run  # run(config) -> summary

    if __name__ == "__main__":
        compute.main()

Slow imports go under `if __name__ != "__main__":`, see `start_program`.

`run` checks that what the flags name exists, opens or resumes the work directory,
computes, writes and prints; for a finished run it prints the first table. `compute` is
an ordinary function, which writes only what a long run needs to resume.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from helix_jax.errors import RunError
from helix_jax.extras import require_packages
from helix_jax.processes import current
from helix_jax.reports import (
    Answer,
    Block,
    answer_of,
    load_blocks,
    print_answer,
    print_tables,
    save_answer,
    save_blocks,
    with_about,
)
from helix_jax.runs.places import local_places
from helix_jax.runs.prepare import prepare_config
from helix_jax.runs.program import start_program
from helix_jax.runs.workdir import (
    Run,
    finish_run,
    flat_numbers,
    is_done,
    open_run,
    read_summary,
    tracked,
)
from helix_jax.stats import Interval

if TYPE_CHECKING:
    from helix_jax.models import ModelSpec
    from helix_jax.models.torch_engine import TorchSpec

# Model as named -> its architecture.
Specs = Mapping[str, "ModelSpec | TorchSpec | None"]
_INPUTS = ("corpora", "tokenizer", "side", "model")  # `names` of fields, see `option`


@dataclasses.dataclass(frozen=True)
class Report:
    """What a program found.

    Attributes:
      numbers: name -> number, or Interval; written to summary.json.
      blocks: tables and figures; written to report.json.
      about: models, texts and their number; precedes the note of every block.
      files: name in the work directory -> function that writes it, given its path.
      text: printed instead of the tables.
      answer: what was found, in a sentence with the numbers; an `Answer` if it is about
        something other than `about`; empty to take it from the first table.
    """

    numbers: Mapping[str, float | Interval]
    blocks: Sequence[Block] = ()
    about: str = ""
    files: Mapping[str, Callable[[Path], object]] = dataclasses.field(
        default_factory=dict
    )
    text: str = ""
    answer: str | Answer = ""

    @property
    def answered(self) -> Answer:
        """The answer, and what it is about; a report without numbers has none."""
        if isinstance(self.answer, Answer):
            return self.answer
        first = answer_of(self.blocks) if self.numbers else ""
        return Answer(self.answer or first, self.about)


class Experiment:
    """A program; see the top of this file. Calling it only computes."""

    def __init__(
        self,
        compute: Callable[[Any, Any], Report],
        tiny: Mapping[str, Any],
        check: Callable[[Any, Specs], object] | None,
        needs: Sequence[str],
    ):
        """Made by `experiment`."""
        functools.update_wrapper(self, compute)
        self.config_class = _config_class(compute)
        # Not the module's name, which is __main__ if the program was started.
        self.name = Path(compute.__code__.co_filename).stem
        self._compute, self._tiny, self._check = compute, tiny, check
        self._needs = needs

    def __call__(self, config: Any, run: Run) -> Report:
        """The report of the program for a prepared config."""
        return self._compute(config, run)

    def config(self, shared: Mapping[str, Any], **flags: Any) -> Any:
        """A config of this program, for programs that run several others.

        Args:
          shared: flags of all of them; those that this one lacks are left out.
          **flags: of this one; they override `shared`.
        """
        names = {field.name for field in dataclasses.fields(self.config_class)}
        known = {name: value for name, value in shared.items() if name in names}
        return self.config_class(**{**known, **flags})

    def prepare(self, config: Any) -> Any:
        """The config with everything filled in, after all early checks.

        Raises:
          RunError: names the flag, its value and what was expected.
          ExtraError: a package that it needs is not installed.
        """
        config = prepare_config(config, tiny=self._tiny)
        require_packages(*self._needs)
        if hasattr(config, "check"):  # of its class: flags that depend on each other
            config.check()
        specs: Specs = {}
        if any(f.metadata.get("names") in _INPUTS for f in dataclasses.fields(config)):
            from helix_jax.runs.inputs import check_inputs  # slow; flags need none

            specs = check_inputs(config)
        if self._check is not None:
            self._check(config, specs)
        return config

    def run(self, config: Any) -> dict[str, Any]:
        """The summary of the config's work directory, computed if it is missing.

        A config without a field `workdir` has none: the tables are only printed.

        Raises:
          RunError: the config cannot be run, or its directory belongs to another one.
        """
        with local_places(config) as local:
            return self._run(self.prepare(local))

    def _run(self, config: Any) -> dict[str, Any]:
        if not hasattr(config, "workdir"):
            report = self._compute(config, None)
            print_tables(with_about(report.blocks, report.about))
            print_answer(report.answered)
            return flat_numbers(report.numbers)
        run = open_run(config.workdir, config)
        if current().first("whether the run has ended", is_done(run)):
            if current().index == 0:
                print_tables(load_blocks(run.folder), most=1)
            return read_summary(run)
        from helix_jax.runs.inputs import refuse_slow_dtype

        refuse_slow_dtype(config)
        run = tracked(run, config)
        try:
            report = self._compute(config, run)
        except RunError as error:
            said = str(error)
            if said.startswith((f"{self.name}: ", "--")):
                raise
            raise RunError(f"{self.name}: {said}") from error
        return _finish(run, report)

    def main(self) -> NoReturn:
        """Run with the flags of this process, and end it."""
        doc = sys.modules[self.__module__].__doc__
        start_program(self.config_class, self.run, doc=doc)


def experiment(
    *,
    tiny: Mapping[str, Any] | None = None,
    check: Callable[[Any, Specs], object] | None = None,
    needs: Sequence[str] = (),
) -> Callable[[Callable[[Any, Run], Report]], Experiment]:
    """Make a program of `compute(config, run) -> Report`.

    Args:
      tiny: values of flags under --tiny, unless they are given.
      check: refuses incompatible flags before the work directory is touched; takes the
        prepared config, and the architecture of every model that it names (None for
        embeddings made elsewhere).
      needs: packages of extras (`helix_jax.extras`) without which it does not begin.
    """
    return lambda compute: Experiment(compute, tiny or {}, check, needs)


def _config_class(compute: Callable[..., Any]) -> type:
    """The annotation of `config`; other annotations may not be importable yet."""
    hint = compute.__annotations__["config"]
    return compute.__globals__[hint] if isinstance(hint, str) else hint


def _finish(run: Run, report: Report) -> dict[str, Any]:
    """Write files, blocks, answer, summary and DONE; print the tables."""
    blocks = with_about(report.blocks, report.about)
    if current().index == 0:
        for name, write in report.files.items():
            write(run.folder / name)
        save_blocks(run.folder, blocks)
        save_answer(run.folder, report.answered)
        if report.text:
            print(report.text, flush=True)
        else:
            print_tables(blocks)
    return finish_run(run, report.numbers)
