"""What a compiled program sends between devices, read from its HLO text.

For the forward pass on a mesh, with B rows of T tokens per device:

| axis | each layer | once |
|---|---|---|
| data | | |
| fsdp, n devices | all-gathers: the layer's kernels | an all-to-all: [B, T, D]; ids |
| expert, n devices | an all-gather: n [B, T, D]; a reduce-scatter: [B, T, D] | |
| tensor | two all-reduces: [B, T, D] each | an all-reduce: [B, T, D] |

A mixture of experts is reduced in float32, and has an all-reduce for each block of
tokens if `tensor` cuts it (`models/traffic.py` has the sizes). The column "once" is for
the embedding look-up; a vocabulary that `tensor` does not divide has none.
"""

import math
import re
from collections import Counter
from typing import Any

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "ragged-all-to-all",
    "collective-broadcast",
)
_BITS = {"pred": 8, "bf16": 16}
_SHAPE = re.compile(r"\b(pred|bf16|[suf]\d+\w*|c\d+)\[([\d,]*)\]")
_LINE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")
_CALLED = re.compile(
    r"\b(body|calls|to_apply|true_computation|false_computation|branch_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


def collective_bytes(compiled: Any) -> dict[str, int]:
    """Bytes that each kind of collective delivers to one device in one run.

    The bytes are those of the results. A ring of n devices sends 2 S (n - 1) / n for an
    all-reduce of S bytes, S (n - 1) / n for an all-gather with a result of S bytes or
    an all-to-all of S bytes, and S (n - 1) for a reduce-scatter to S bytes. Collectives
    in a loop count once per iteration; all branches of a condition count.

    Args:
      compiled: the result of `jax.jit(f).lower(...).compile()`, or its text.

    Returns:
      Kind (one of KINDS) -> bytes; kinds that do not occur are left out.

    Raises:
      ValueError: collectives in a loop whose trip count XLA does not know.
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    computations, entry = _computations(text)
    counted: dict[str, Counter] = {}

    def count(name: str) -> Counter:
        if name not in counted:
            total: Counter = Counter()
            for line in computations.get(name, ()):
                if found := _LINE.search(line):
                    total[found[2]] += _result_bytes(found[1], *found.groups()[1:])
                for role, names in _CALLED.findall(line):
                    for own in re.findall(r"[\w.\-]+", names):
                        inner = count(own)
                        times = _trips(line, inner) if role == "body" else 1
                        total.update({k: times * size for k, size in inner.items()})
            counted[name] = total
        return counted[name]

    return dict(count(entry))


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Name -> lines of every computation, and the name of the entry."""
    found: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            lines = found.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        else:
            lines.append(line)
    return found, entry


def _trips(line: str, inner: Counter) -> int:
    known = _TRIPS.search(line)
    if known is None and inner:
        raise ValueError(
            "collective_bytes: a loop with collectives has an unknown trip count: "
            f"{line.strip()[:120]}"
        )
    return int(known[1]) if known else 1


def _result_bytes(result: str, kind: str, start: str | None) -> int:
    sizes = [
        math.prod(int(one) for one in dims.split(",") if one) * _itemsize(dtype)
        for dtype, dims in _SHAPE.findall(result)
    ]
    if start and kind != "all-reduce":  # (operands, results)
        sizes = sizes[len(sizes) // 2 :]
    return sum(sizes)


def _itemsize(dtype: str) -> int:
    bits = _BITS.get(dtype) or int(re.findall(r"\d+", dtype)[0])
    return max(1, bits // 8)
