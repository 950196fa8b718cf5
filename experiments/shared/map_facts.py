"""What programs report about maps: confidence of rows, licences of the models."""

from collections.abc import Mapping

from helix_jax.map_confidence import COVERAGE, Confidence
from helix_jax.models.licences import licence_of
from helix_jax.reports import Quantity, Table, arm_table
from helix_jax.stats import Interval
from helix_jax.transfer.pair_fit import PairFit

_ARMS = {
    f"{kind}{name}": f"{title}{words}"
    for name, title in (("cosine", "cosine"), ("centred_cosine", "centred cosine"))
    for kind, words in (("", ""), ("constant_", ", control: one prediction for all"))
}
_COLUMNS = {
    "": Quantity("true", form=3),
    "_predicted": Quantity("predicted", form=3),
    "_at_least": Quantity("at least", form=3),
    "_coverage": Quantity("rows at or above it, %", 100, 1),
    "_correlation": Quantity("correlation", form=2),
}


def scored_confidence(
    fitted: PairFit, *, resamples: int
) -> tuple[Confidence | str, dict[str, Interval]]:
    """The confidence of a map's rows, and how it and its control do on test rows.

    Args:
      fitted: the map.
      resamples: of the bootstrap over documents.

    Returns:
      The confidence and its numbers; if there are too few rows to calibrate on, the
      reason and no numbers.
    """
    own = fitted.confidence()
    if isinstance(own, str):
        return own, {}
    numbers = {}
    for prefix, one in (("", own), ("constant_", fitted.confidence(constant=True))):
        scores = fitted.score_confidence(one, coverage=COVERAGE, resamples=resamples)
        if prefix:
            scores.pop("outside")
        numbers |= {f"confidence/{prefix}{name}": v for name, v in scores.items()}
    return own, numbers


def confidence_table(numbers: Mapping[str, Interval]) -> Table:
    """The numbers of `scored_confidence`."""
    return arm_table(
        "How near a mapped row is to the target's own",
        numbers,
        _ARMS,
        _COLUMNS,
        lambda name, arm: f"confidence/{arm}{name}",
        note=f"Calibrated on the select split for {100 * COVERAGE:.0f}% of rows; the "
        "control ignores the row. Correlation of predicted and true cosine. "
        f"Outside what was seen there: {100 * numbers['confidence/outside'].value:.1f}"
        "% of rows. "
        "[ ]: 95% bootstrap interval over documents, test split.",
    )


def licences_of(source: str, target: str) -> dict[str, str]:
    """ "source", "target" -> the licence in a model's card, or "unknown"."""
    return {"source": licence_of(source), "target": licence_of(target)}
