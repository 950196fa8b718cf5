"""Extracts to a store in a child process that is killed at chosen moments.

    python -m activations.kill_runner MODEL_FOLDER|tiny OUT KILLS SEED

Imports once and forks for every run, before any device is touched, so that a run costs
a second and not ten. Prints one JSON line: what each run left behind.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from helix_jax.models import load_tokenizer
from helix_jax.models.engines import load_model_by

from .made import extracted, make_model, make_texts, make_tokenizer

TEXTS = 400
WINDOW = 8


def run(model: str, path: Path) -> None:
    """One whole extraction, in this process."""
    if model == "tiny":
        pair = make_model(), make_tokenizer()
    else:
        pair = load_model_by("auto", model), load_tokenizer(model)
    extracted(
        *pair, make_texts(TEXTS), path, layers=(1, -1), max_tokens=12, window=WINDOW
    )


def windows_done(path: Path) -> int:
    """Windows that are there."""
    return len(list(path.glob("texts/*.json")))


def start(model: str, path: Path) -> int:
    """Fork a child that extracts; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(model, path)
            code = 0
        finally:
            os._exit(code)
    return child


def main(model: str, out: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    whole = start(model, out / "whole")
    _, status = os.waitpid(whole, 0)
    assert status == 0, "the uninterrupted run failed"
    left = []
    for number in range(kills):
        child = start(model, out / "killed")
        # The first is killed before or at the first windows, the others later on.
        target = windows_done(out / "killed") + (
            chance.randrange(1, 9) if number else 0
        )
        while windows_done(out / "killed") < target:
            if os.waitpid(child, os.WNOHANG)[0]:
                raise SystemExit("the run ended before it could be killed")
            time.sleep(0.002)
        if number == 0:
            while not (out / "killed").exists():
                time.sleep(0.001)
        time.sleep(chance.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        left.append(
            {
                "killed": os.WIFSIGNALED(status)
                and os.WTERMSIG(status) == signal.SIGKILL,
                "windows": windows_done(out / "killed"),
                "files": sum(
                    1 for path in (out / "killed").rglob("*") if path.is_file()
                ),
            }
        )
    last = start(model, out / "killed")
    _, status = os.waitpid(last, 0)
    print(json.dumps({"left": left, "status": status}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
