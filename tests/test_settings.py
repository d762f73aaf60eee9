"""Settings: which layer decides, and what is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism_cli.backbones.catalog import MINI_RECIPE
from prism_cli.errors import OptionRefused
from prism_cli.settings import SECTIONS, Recipe, checked, resolve

NAMES = sorted(Recipe().flat())


def legal(name: str) -> st.SearchStrategy[int | float | str]:
    """Values that setting `name` may have."""
    section, option = name.split(".")
    (one,) = (f for f in fields(SECTIONS[section]) if f.name == option)
    if "pattern" in one.metadata:
        return st.from_regex(one.metadata["pattern"], fullmatch=True)
    low, high = one.metadata["limits"]
    if one.type == "int":
        return st.integers(int(low), int(high))
    return st.floats(low, high) | st.integers(int(low), int(high))


layers = st.dictionaries(st.sampled_from(NAMES), st.none()).flatmap(
    lambda chosen: st.fixed_dictionaries({name: legal(name) for name in chosen})
)


@given(file=layers, flags=layers)
def test_a_flag_is_over_the_file_is_over_the_default(file: dict, flags: dict) -> None:
    """Each setting has the value of the highest layer that gives it, and says which that was."""
    resolved = resolve(MINI_RECIPE, file, flags)

    expected = MINI_RECIPE.flat() | file | flags
    assert resolved.recipe.flat() == expected
    for name in NAMES:
        source = "flag" if name in flags else "file" if name in file else "default"
        assert resolved.sources[name] == source


def test_a_flag_that_was_not_given_is_none() -> None:
    """None leaves the decision to the layers below."""
    resolved = resolve(Recipe(), {"tokens.lr": 0.1}, {"tokens.lr": None, "tokens.beta": None})

    assert resolved.recipe.tokens.lr == 0.1
    assert resolved.sources["tokens.lr"] == "file"
    assert resolved.sources["tokens.beta"] == "default"


def test_every_problem_is_reported_at_once() -> None:
    """Unknown names, wrong types and values out of range, of file and flags, in one error."""
    with pytest.raises(OptionRefused) as caught:
        resolve(
            Recipe(),
            {"tokens.stepps": 5, "tokens.lr": "fast", "drawing.steps": 0},
            {"finetuning.rank": 4.5, "tokens.beta": -1.0, "tokens.batch": True},
        )

    message = caught.value.message
    for part in (
        "unknown setting 'tokens.stepps' (did you mean 'tokens.steps'?)",
        "tokens.lr takes a number, not 'fast'",
        "drawing.steps must be between 1 and 1000, not 0",
        "finetuning.rank takes an integer, not 4.5",
        "tokens.beta must be between 0 and 1000, not -1.0",
        "tokens.batch takes an integer, not True",
    ):
        assert part in message
    assert message.count(";") == 5
    assert caught.value.hint
    with pytest.raises(OptionRefused, match=r"tokens\.steps must be between"):
        checked("tokens.steps", 16**5000)  # which Python would not write out


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), scalars))
def test_a_file_of_anything_is_taken_or_refused(file: dict) -> None:
    """Whatever stands in a file, what comes out is within the limits, or OptionRefused."""
    try:
        recipe = resolve(Recipe(), file).recipe
    except OptionRefused as error:
        assert error.message
        return
    for name, value in recipe.flat().items():
        assert checked(name, value) == value


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), -(10**400)])
def test_numbers_beyond_all_limits_are_refused(value: float) -> None:
    """Not a number, infinities and integers that no float holds are out of range like others."""
    with pytest.raises(OptionRefused, match="between 0 and 1"):
        checked("tokens.lr", value)


@pytest.mark.parametrize("name", ["tokens", "tokens.", ".lr", "", "tokens.lr.x", "Tokens.lr"])
def test_a_name_that_is_no_setting_is_refused(name: str) -> None:
    """A section alone, a name without one, or a part too many."""
    with pytest.raises(OptionRefused, match="unknown"):
        checked(name, 1)


def test_an_integer_is_a_number() -> None:
    """--beta 1 is 1.0, so that an archive has one type for it."""
    value = checked("tokens.beta", 1)

    assert (value, type(value)) == (1.0, float)


def test_the_defaults_are_within_their_limits() -> None:
    """A recipe in the catalogue needs no exception."""
    for recipe in (Recipe(), MINI_RECIPE):
        for name, value in recipe.flat().items():
            assert checked(name, value) == value
