"""The name that an unknown one was meant to be, for the end of a message."""

import difflib
from collections.abc import Iterable


def did_you_mean(
    name: str,
    known: Iterable[str],
    *,
    alike: float = 0.6,
    most: int = 1,
    form: str = "; did you mean {}?",
    otherwise: str = ".",
) -> str:
    """Words that name the known names which are most like another.

    Args:
      name: as it was written.
      known: the names there are.
      alike: least likeness, from 0 (nothing in common) to 1 (the same).
      most: names at most, the most alike first.
      form: the words, with `{}` where the names stand.
      otherwise: what is said where no name is alike.

    Returns:
      Such as "; did you mean ridge or rank?".

    Reference: Ratcliff and Metzener 1988, as in Python's `difflib`.
    """
    near = difflib.get_close_matches(name, list(known), most, alike)
    return form.format(" or ".join(near)) if near else otherwise
