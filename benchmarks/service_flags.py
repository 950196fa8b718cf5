"""The flags of `benchmarks.service` and its parts, parsed before their code loads."""

import sys

from absl import flags

from experiments.shared.places import real_folder
from helix_jax.runs.flags import choices_flag, integers_flag

SHOWN = {"module_name": sys.argv[0]}  # listed by --help of the program
PARTS = ("query", "load", "fit", "search", "generation", "peers")
ONLY = choices_flag("only", PARTS, "parts to run", PARTS)
TINY = flags.DEFINE_bool(
    "tiny", False, "small sizes, whose numbers are not kept", **SHOWN
)

ASKED = flags.DEFINE_integer(
    "asked", 1000, "query: queries of each policy", lower_bound=1, **SHOWN
)
MINUTES = flags.DEFINE_float(
    "minutes", 10, "load: how long it lasts", lower_bound=0, **SHOWN
)
ROWS = integers_flag("rows", (4000, 16_000), "fit: rows of each fit")

INDEX_ROWS = integers_flag("index_rows", (100_000, 1_000_000), "search: rows of each")
SEARCHES = flags.DEFINE_integer(
    "searches", 50, "search: searches of each index", lower_bound=2, **SHOWN
)
WEIGHTS = flags.DEFINE_float(
    "weights_gigabytes",
    2,
    "search: memory for transformed weights",
    lower_bound=0,
    **SHOWN,
)
INDEXES = flags.DEFINE_string(
    "indexes",
    "",
    "search: folder of indexes, kept for other runs; empty: none is kept",
    **SHOWN,
)

WRITER = flags.DEFINE_string(
    "writer",
    str(real_folder() / "smollm2-135m"),
    "generation: model whose states are sent and whose head is served",
    **SHOWN,
)
TOKENS = flags.DEFINE_integer(
    "tokens", 40, "generation: tokens of each text", lower_bound=2, **SHOWN
)

TENSEAL = flags.DEFINE_string(
    "tenseal_python", "", "peers: interpreter with tenseal", **SHOWN
)
CONCRETE = flags.DEFINE_string(
    "concrete_python", "", "peers: interpreter with concrete", **SHOWN
)
QUERIES = flags.DEFINE_integer(
    "queries", 40, "peers: queries per turn", lower_bound=1, **SHOWN
)
TURNS = flags.DEFINE_integer("turns", 5, "peers: turns", lower_bound=1, **SHOWN)
CLIENTS = flags.DEFINE_integer("clients", 8, "peers: clients", lower_bound=1, **SHOWN)
LOAD_SECONDS = flags.DEFINE_float(
    "load_seconds", 15, "peers: seconds with all clients", lower_bound=0, **SHOWN
)
