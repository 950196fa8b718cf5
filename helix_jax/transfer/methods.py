"""Maps of every method from the same rows: closed forms and gradient fits."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from helix_jax.alignment import (
    GRADIENT_METHODS,
    METHODS,
    Descended,
    Fitted,
    Moments,
    StateMap,
    fit_all,
    fit_descent,
    prepare,
    shuffled_moments,
)
from helix_jax.alignment.descents import BATCH
from helix_jax.devices import devices_for
from helix_jax.errors import RunError
from helix_jax.progress import Progress, bar, stage
from helix_jax.stats import Interval
from helix_jax.transfer.pair_fit import choose_map
from helix_jax.types import Array

Rows = tuple[np.ndarray, np.ndarray]  # source states [N, dx], target states [N, dy]


class Material(NamedTuple):
    """The data that maps are fitted on; dictionaries are by split, fit and select.

    Attributes:
      moments: those of "fit" are of the sample.
      rows: source states [N, dx] and target states [N, dy].
      methods: names of METHODS and GRADIENT_METHODS.
      anchors: paired rows that relative representations refer to.
      sample: rows of the fit split that are used.
    """

    moments: Mapping[str, Moments]
    rows: Mapping[str, Rows]
    methods: Sequence[str]
    anchors: Rows
    sample: np.ndarray | slice = slice(None)

    def fit_closed(self) -> dict[str, Fitted]:
        """The closed forms among the methods.

        Raises:
          RunError: a map cannot be trusted.
        """
        moments, anchors = self.moments, self.anchors
        wanted = [name for name in self.methods if name in METHODS]
        with stage("fitting " + ", ".join(wanted)):
            fitted = fit_all(
                moments["fit"], moments["select"], methods=wanted, anchors=anchors
            )
        for name, method in fitted.items():
            if failure := method.selection.fit.failure:
                raise RunError(f"{name}: {failure}")
        return fitted

    def fit_descents(self, *, key: Array, epochs: int) -> dict[str, Descended]:
        """The gradient fits among the methods, of at most `epochs` epochs."""
        wanted = [name for name in self.methods if name in GRADIENT_METHODS]
        if not wanted:
            return {}
        ridge = choose_map(self.moments).fit.map
        x, y = self.rows["fit"]
        fit = x[self.sample], y[self.sample]
        fitted = {}
        for name in wanted:
            with Progress(f"training {name}", unit="steps") as shown:
                fitted[name] = fit_descent(
                    name,
                    fit,
                    self.rows["select"],
                    moments=self.moments["fit"],
                    ridge=ridge,
                    key=key,
                    epochs=epochs,
                    on_step=shown.at,
                    devices=devices_for(min(BATCH, len(fit[0]))),
                )
        return fitted

    def fit_maps(self, *, key: Array, epochs: int) -> dict[str, StateMap]:
        """The maps of `fit_closed` and `fit_descents`."""
        maps = closed_maps(self.fit_closed())
        descents = self.fit_descents(key=key, epochs=epochs)
        return maps | {name: method.map for name, method in descents.items()}

    def shuffled(self, *, key: Array) -> "Material":
        """The same with wrongly paired fit rows and anchors."""
        moments = shuffled_moments(*self.rows["fit"], key=key)
        return self._replace(
            moments={**self.moments, "fit": moments},
            anchors=(self.anchors[0], np.roll(self.anchors[1], 1, axis=0)),
        )


def closed_maps(fitted: Mapping[str, Fitted]) -> dict[str, StateMap]:
    """The maps of `Material.fit_closed` alone."""
    return {name: method.selection.fit.map for name, method in fitted.items()}


def time_closed(material: Material, *, repeats: int) -> dict[str, Interval]:
    """Seconds from moments to each closed form's map: median, least and most.

    Args:
      material: `fit_closed` has been called, so that its closed forms are compiled.
      repeats: how often each is fitted.

    Returns:
      name -> Interval; "shared" is of the decompositions that all need, which is in
      the seconds of each.
    """
    times: dict[str, list[float]] = {}
    for _ in bar(range(repeats), "timed fits"):
        started = time.perf_counter()
        fit, select = material.moments["fit"], material.moments["select"]
        jax.block_until_ready(prepare(fit, select)[:-3])
        shared = time.perf_counter() - started
        times.setdefault("shared", []).append(shared)
        for name, method in material.fit_closed().items():
            times.setdefault(name, []).append(shared + method.seconds)
    return {
        name: Interval(np.median(values), min(values), max(values))
        for name, values in times.items()
    }
