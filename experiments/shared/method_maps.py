"""Maps of every method from the same rows: closed forms, and those of descent."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.maps import choose_map
from helix_jax.alignment import (
    GRADIENT_METHODS,
    METHODS,
    Descended,
    Fitted,
    Moments,
    StateMap,
    fit_all,
    fit_descent,
    usable_methods,
)
from helix_jax.errors import RunError
from helix_jax.progress import Progress, stage
from helix_jax.runs import option

Rows = tuple[np.ndarray, np.ndarray]  # source states [N, dx], target states [N, dy]


def methods_option(default: str) -> Any:
    """The field of the methods to fit, see `choose_methods`."""
    groups = ("all", "closed", "gradient")
    return option(
        (default,),
        "names or groups",
        choices=(*groups, *METHODS, *GRADIENT_METHODS),
        required=True,
    )


def choose_methods(
    names: Sequence[str], rows: float = math.inf, dx: int = 1
) -> list[str]:
    """The methods of --methods: names, `all`, `closed` (forms) or `gradient`.

    Args:
      names: of the flag.
      rows: to fit on; a group leaves out what so few cannot give.
      dx: width of the source.

    Raises:
      RunError: an unknown name.
    """
    closed = usable_methods(rows, dx, anchors=True)
    groups = {
        "all": (*closed, *GRADIENT_METHODS),
        "closed": closed,
        "gradient": tuple(GRADIENT_METHODS),
    }
    singles = {name: (name,) for name in (*METHODS, *GRADIENT_METHODS)}
    for name in names:
        if name not in groups | singles:
            raise RunError(
                f"--methods: unknown method {name!r}; there are "
                f"{', '.join(groups | singles)}."
            )
    if not names:
        raise RunError("--methods: name one or more.")
    chosen = (method for name in names for method in (groups | singles)[name])
    return list(dict.fromkeys(chosen))


class Material(NamedTuple):
    """What maps are fitted on; dictionaries are by split, fit and select.

    Attributes:
      moments: those of "fit" are of the sample.
      rows: source states [N, dx] and target states [N, dy].
      methods: names.
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
          RunError: a map is not to be trusted.
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

    def fit_descents(self, *, key: jax.Array, epochs: int) -> dict[str, Descended]:
        """The gradient fits among the methods."""
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
                )
        return fitted

    def fit_maps(self, *, key: jax.Array, epochs: int) -> dict[str, StateMap]:
        """The maps of `fit_closed` and `fit_descents`."""
        maps = closed_maps(self.fit_closed())
        descents = self.fit_descents(key=key, epochs=epochs)
        return maps | {name: method.map for name, method in descents.items()}


def closed_maps(fitted: Mapping[str, Fitted]) -> dict[str, StateMap]:
    """The maps of `fit_closed` alone."""
    return {name: method.selection.fit.map for name, method in fitted.items()}
