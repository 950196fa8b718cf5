"""The last lines of a program: its answer, what it is about, where its page is."""

import shlex
import shutil
import sys
from pathlib import Path

from helix_jax.paths import is_url
from helix_jax.reports import load_answer, load_blocks, print_answer

PAGE = "report.html"


def print_ending(folder: Path, shown: str) -> None:
    """Print the answer of a finished run, and how to see its page.

    Args:
      folder: the work directory on this machine; if its run is not finished, nothing is
        printed.
      shown: the work directory as named by the user.
    """
    if not (folder / "DONE").is_file():
        return
    print_answer(load_answer(folder, load_blocks(folder)))
    if (folder / PAGE).is_file():
        print(f"page: {shown}/{PAGE}")
    else:
        print(f"page: made by {page_command(shown)}")


def page_command(workdir: str) -> str:
    """The command that makes the page of a work directory."""
    output = "page" if is_url(workdir) else f"{workdir}/page"
    words = ("-m", "experiments.report", f"--workdirs={workdir}", f"--output={output}")
    return shlex.join([python_word(), *words])


def python_word() -> str:
    """This interpreter, in the shortest form that finds it from here."""
    if shutil.which("python") == sys.executable:
        return "python"
    here = Path(sys.executable)
    return str(
        here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    )
