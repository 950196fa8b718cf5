r"""Embeddings of one model translated to those of another, each with a confidence.

    python -m experiments.translate --map=FOLDER_OR_HUB --in=vectors.parquet --out=OUT

--map is a folder that experiments.fit wrote, or hub:OWNER/NAME; --in is an npy (with
FILE.ids.txt, if any), safetensors or Parquet file; --out is a folder, which gets the
rows in their order as parts of the same format in OUT/rows. Each input row gives one
row, with its id, its other columns, and an estimate of how near it is to the target's
own row: a predicted cosine, and a lower bound that holds for nine rows in ten of the
kind that the map was calibrated on (docs/maps.md).

Memory does not grow with the file. A killed run resumes after the last whole part.

Cost: two cores, width 768 to 384: some 0.4 to 0.6 GB of npy or 0.3 GB of Parquet a
second, read and written; see docs/maps.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.shared.about import about
from experiments.shared.options import workdir_option
from helix_jax.errors import RunError
from helix_jax.fingerprint import check_same
from helix_jax.map_confidence import COSINES, COVERAGE
from helix_jax.maps_numpy import MapFolder, read_map
from helix_jax.reports import Table
from helix_jax.runs import Report, Run, Specs, experiment, option, write_atomically
from helix_jax.textfile import read_json

if __name__ != "__main__":  # slow, and flags are read without
    import pyarrow
    import pyarrow.parquet

    from helix_jax.activations.embedding_stream import Vectors, open_vectors
    from helix_jax.alignment import (
        fit_confidence,
        fit_ridge,
        from_batch,
        ridge_at,
        save_map,
    )
    from helix_jax.transfer.translation import (
        make_translation,
        require_width,
        translate,
    )

MADE_UP = "made-up"  # in place of a map and a file, under --tiny
NONE = "none"
MANY_OUTSIDE = 0.2  # share of rows; for the calibrated kind it is a few percent


@dataclasses.dataclass(frozen=True)
class TranslateConfig:
    """Flags of the program."""

    out: str = workdir_option("folder of the results")
    map: str = option(
        "",
        "folder of a map, or hub:OWNER/NAME",
        names="path",
        required=True,
        tiny=MADE_UP,
    )
    revision: str = option("", "branch, tag or commit of a map of the hub")
    vectors: str = option(
        "",
        "npy, safetensors or Parquet file; also --in",
        names="path",
        required=True,
        tiny=MADE_UP,
        alias="in",
    )
    confidence: str = option(
        COSINES[0],
        "confidence of each row: the cosine with the target's own row, or the "
        "same about the mean of the target's fit rows",
        choices=(*COSINES, NONE),
    )
    coverage: float = option(
        COVERAGE, "share of rows at or above their bound", above=0, most=1
    )
    part_rows: int = option(0, "rows per part; 0: 128 MiB of rows", least=0)
    tiny: bool = option(False, "a synthetic map, and 3,000 synthetic rows")

    @property
    def workdir(self) -> str:
        """What the harness calls --out."""
        return self.out

    def check(self) -> None:
        """Raise if only one of the map and the file is given."""
        if (self.map == MADE_UP) != (self.vectors == MADE_UP):
            raise RunError(
                f"--map={self.map} and --in={self.vectors}: give both, or neither."
            )


def require_fit(config: TranslateConfig, _: Specs) -> None:
    """Refuse a map and a file that do not fit before the folder is touched."""
    if config.map != MADE_UP:
        vectors, found = open_inputs(config)
        require_width(vectors, found)
        translation_of(config, found)


def open_inputs(config: TranslateConfig) -> tuple[Vectors, MapFolder]:
    """The file and the map."""
    found = read_map(config.map, revision=config.revision or None)
    return open_vectors(Path(config.vectors)), found


def translation_of(config: TranslateConfig, found: MapFolder):
    """The translation that the flags ask for."""
    cosine = "" if config.confidence == NONE else config.confidence
    return make_translation(
        found, cosine=cosine, coverage=config.coverage, part_rows=config.part_rows
    )


@experiment(tiny={"part_rows": 1000}, check=require_fit)
def compute(config: TranslateConfig, run: Run) -> Report:
    """Translate; see the module docstring."""
    if config.map == MADE_UP:
        folder = run.folder / MADE_UP
        config = dataclasses.replace(
            config, map=str(folder / "map"), vectors=str(make_up(folder))
        )
    vectors, found = open_inputs(config)
    require_same(run.folder / "inputs.json", vectors, found)
    totals = translate(vectors, translation_of(config, found), run.folder)
    dx, dy = found.map.widths
    count = totals["rows"]
    numbers = {"rows": count, "parts": totals["parts"], "width": dy}
    means = {
        name: value / count
        for name, value in totals.items()
        if name.startswith(COSINES)
    }
    outside = means.pop(f"{config.confidence}_outside", None)
    numbers |= {f"mean_{name}": value for name, value in means.items()}
    header = ["rows", "parts", "width in", "width out", *(_title(n) for n in means)]
    row = [count, totals["parts"], dx, dy, *(f"{own:.3f}" for own in means.values())]
    if outside is not None:
        numbers["outside"] = outside
        header, row = [*header, "rows outside, %"], [*row, f"{100 * outside:.1f}"]
    note = _note(config, found, outside)
    table = Table("Rows translated", header, [row], note=note)
    told = about(_pair(found), vectors.path.name, f"{count:,} rows")
    return Report(numbers, [table], told, answer=translate_answer(numbers, config))


def translate_answer(numbers: Mapping[str, float], config: TranslateConfig) -> str:
    """How many rows were translated, and how near they are to the target's own."""
    said = f"{numbers['rows']:,} rows were translated to width {numbers['width']}"
    name = f"mean_{config.confidence}"
    if name not in numbers:
        return f"{said}, without a confidence."
    return (
        f"{said}; the predicted {config.confidence.replace('_', ' ')} with the "
        f"target's own row is {numbers[name]:.3f} on average and its lower bound "
        f"{numbers[f'{name}_at_least']:.3f}; {100 * numbers['outside']:.1f}% of the "
        "rows are unlike all that the map was calibrated on."
    )


def require_same(path: Path, vectors: Vectors, found: MapFolder) -> None:
    """Raise unless existing parts were made from this file and this map."""
    record = {"vectors": vectors.record(), "map": found.config.get("arrays_sha256")}
    if not path.exists():
        write_atomically(path, json.dumps(record, indent=1))
        return
    check_same(
        f"what {path.parent} was made of",
        read_json(path, raises=RunError),
        "the present flags",
        record,
        remedy="Use another --out.",
    )


def make_up(folder: Path) -> Path:
    """Write a synthetic map with its confidence, and a Parquet file of 3,000 rows."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(24, 16))

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(0.3, 3, size=(count, 1)) * rng.normal(size=(count, 24))
        return x, x @ kernel + 3 * rng.normal(size=(count, 16))

    moments = from_batch(*rows(2000))
    map = ridge_at(fit_ridge(moments, penalties=1e-3), 0).map
    own = fit_confidence(map, moments, rows(1000), np.arange(1000))
    record = {"source": {"model": "x"}, "target": {"model": "y"}, "penalty": 1e-3}
    save_map(folder / "map", map, **record, split="fit", confidence=own)
    x, path = rows(3000)[0].astype(np.float32), folder / "vectors.parquet"
    ids = [f"row {number}" for number in range(len(x))]
    table = pyarrow.table({"id": ids, "embedding": list(x)})
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    return path


def _pair(found: MapFolder) -> str:
    sides = (found.config["fingerprints"][side] for side in ("source", "target"))
    names = [one.get("model") or one.get("embeddings") or "unknown" for one in sides]
    return " -> ".join(names)


def _title(name: str) -> str:
    words = name.replace("_at_least", ", at least").replace("_", " ")
    return f"mean {words}"


def _note(config: TranslateConfig, found: MapFolder, outside: float | None) -> str:
    if config.confidence == NONE:
        return "Rows have no confidence (--confidence=none)."
    note = (
        "The cosine of each row with the target's own: the prediction, and a lower "
        f"bound for {100 * config.coverage:g}% of rows of the kind that the map was "
        "calibrated on; nothing is promised for other texts."
    )
    numbers = found.config.get("card", {}).get("numbers", {})
    held = numbers.get(f"confidence/{config.confidence}_coverage")
    if held and config.coverage == COVERAGE:
        value, low, high = (100 * one for one in held)
        note += f" On the map's own test rows it held for {value:.1f} [{low:.1f}, "
        note += f"{high:.1f}]%."
    note += " Outside: rows unlike all that the map was calibrated on."
    if outside > MANY_OUTSIDE:
        note += (
            f" WARNING: {100 * outside:.0f}% of these rows are, so the bound does not "
            "hold for them. Fit the map on texts of this kind."
        )
    return note


run = compute.run

if __name__ == "__main__":
    compute.main()
