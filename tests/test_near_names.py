"""The known name that was meant by another."""

import pytest

from helix_jax.near_names import did_you_mean


def test_the_name_most_alike_is_named_and_nothing_of_a_name_unlike_all():
    assert did_you_mean("rigde", ["lasso", "ridge"]) == "; did you mean ridge?"
    assert did_you_mean("qqq", ["lasso", "ridge"]) == "."
    assert did_you_mean("qqq", [], otherwise="nothing") == "nothing"


def test_of_several_the_most_alike_comes_first():
    found = did_you_mean("cache", ["catch", "caches", "xyz"], most=3, form="<{}>")
    assert found == "<caches or catch>"
    assert did_you_mean("cache", ["catch", "caches"], form="<{}>") == "<caches>"


@pytest.mark.parametrize(
    ("alike", "said"), [(0.6, "; did you mean ayb?"), (0.7, "nothing")]
)
def test_a_name_less_alike_than_asked_for_is_not_named(alike, said):
    # Two letters in common of three each: 2 * 2 / (3 + 3) = 0.67.
    found = did_you_mean("axb", ["ayb"], alike=alike, otherwise="nothing")
    assert found == said
