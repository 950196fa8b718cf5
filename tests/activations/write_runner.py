"""Two extractions to one store at once, in two processes.

    python -m activations.write_runner OUT [kill]

Writes OUT/whole alone and OUT/shared by two at once, A and B; with "kill", the one that
holds the lock is killed when it has written three windows. Forks before any device is
touched. Prints one JSON line: how each ended.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from helix_jax.lock_files import LocalPlace

from .kill_runner import start, windows_done


def main(out: Path, kill: bool) -> None:
    whole = start("tiny", out / "whole")
    assert os.waitpid(whole, 0)[1] == 0
    shared = out / "shared"
    print("begun", flush=True)
    both = [start("tiny", shared), start("tiny", shared)]
    while windows_done(shared) < 3:
        time.sleep(0.002)
    holder = LocalPlace(shared).look().owner.pid
    if kill:
        os.kill(holder, signal.SIGKILL)
    ended = {pid: os.waitpid(pid, 0)[1] for pid in both}
    print(json.dumps({"holder": ended.pop(holder), "other": list(ended.values())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "kill" in sys.argv[2:])
