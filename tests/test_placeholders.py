r"""Concepts in a prompt, and literal brackets."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prism_cli.errors import PromptRefused
from prism_cli.placeholders import Mention, is_part, mentioned, parse
from tests.strategies import names

brackets = st.text(st.sampled_from("[]\\:.a0- residul\n\u0663\u00b2"), max_size=40)


def escaped(text: str) -> str:
    """`text` so that every character of it is literal."""
    return "".join(f"\\{c}" if c in "[]\\" else c for c in text)


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("A [mydog] box", ("A ", Mention("mydog"), " box")),
        ("[mydog:0.7]", (Mention("mydog", weight=0.7),)),
        ("[mydog:-.5]", (Mention("mydog", weight=-0.5),)),
        ("[mydog:+2.]", (Mention("mydog", weight=2.0),)),
        ("[mydog:residual:3]", (Mention("mydog", "residual.3"),)),
        ("[mydog:residual:003]", (Mention("mydog", "residual.3"),)),
        ("[dogwater:mydog]", (Mention("dogwater", "target.mydog"),)),
        ("[dogwater:target]", (Mention("dogwater", "target.target"),)),
        ("[dogwater:1e5]", (Mention("dogwater", "target.1e5"),)),
        ("[ mydog ] runs", (Mention("mydog"), " runs")),
        ("[a][b]", (Mention("a"), Mention("b"))),
        ("no concept", ("no concept",)),
        ("", ("",)),
        (r"\[mydog\]", ("[mydog]",)),
        (r"\\[mydog]", ("\\", Mention("mydog"))),
        (r"a \ b \c", (r"a \ b \c",)),
        (r"\[[mydog]\]", ("[", Mention("mydog"), "]")),
    ],
)
def test_a_prompt_in_pieces(prompt: str, pieces: tuple[str | Mention, ...]) -> None:
    """Words, mentions and literal brackets, in order; words that meet are one piece."""
    assert parse(prompt) == pieces


@pytest.mark.parametrize(
    "prompt",
    [
        "[]",
        "[My Dog]",
        "[mydog:]",
        "[mydog:too much]",
        "[mydog:1.5e5]",
        "[mydog:Cat]",
        "[mydog:0.7:0.8]",
        "[mydog:residual]",
        "[mydog:residual:]",
        "[mydog:residual:-1]",
        "[mydog:residual:1.5]",
        "[mydog:target:1]",
        "[mydog:\u0663]",
        "[mydog:residual:\u00b2]",
        f"[mydog:{'9' * 400}]",
        f"[mydog:residual:{'9' * 5000}]",
        "[../mydog]",
        "[mydog\n:0.7]",
    ],
)
def test_what_is_no_mention_is_refused(prompt: str) -> None:
    """A pair of brackets holds a name, a name and a weight, or a residual; the hint says how."""
    with pytest.raises(PromptRefused, match="is not") as caught:
        parse(prompt)

    assert r"\[" in caught.value.hint


@pytest.mark.parametrize("weight", ["10.01", "-10.5", "70", "9" * 300])
def test_a_weight_has_bounds(weight: str) -> None:
    """Those of --scale and --weights: what is beyond draws noise."""
    with pytest.raises(PromptRefused, match="between -10 and 10") as caught:
        parse(f"a [mydog:{weight}]")

    assert caught.value.hint == "for example [mydog:0.7]"
    assert parse("[mydog:-10]") == (Mention("mydog", weight=-10.0),)


@pytest.mark.parametrize(
    ("prompt", "bracket", "character"),
    [("a [dog", "[", 3), ("a dog] b", "]", 6), ("[a [b]]", "[", 1), (r"\[a]", "]", 4)],
)
def test_a_bracket_alone_is_refused(prompt: str, bracket: str, character: int) -> None:
    """The error says which bracket, and where."""
    with pytest.raises(PromptRefused, match=f"at character {character}$") as caught:
        parse(prompt)

    assert repr(bracket) in caught.value.message
    assert rf"\{bracket}" in caught.value.hint


@given(st.text() | brackets)
@example("[a:residual:" + "1" * 5000 + "]")
@example("[a:" + "1" * 5000 + "]")
def test_any_text_is_read_or_refused(text: str) -> None:
    """No prompt whatever raises anything but PromptRefused, and weights are numbers."""
    try:
        pieces = parse(text)
    except PromptRefused:
        return
    assert pieces
    assert all(
        p.weight is None or math.isfinite(p.weight) for p in pieces if isinstance(p, Mention)
    )


@given(st.text() | brackets)
def test_escaped_text_is_read_as_itself(text: str) -> None:
    """With every bracket and backslash escaped, a prompt is one piece: the text."""
    assert parse(escaped(text)) == (text,)


@given(
    st.lists(
        st.builds(Mention, names)
        | st.builds(
            Mention,
            names,
            weight=st.floats(-9, 9, allow_subnormal=False).map(lambda w: round(w, 3)),
        )
        | st.builds(Mention, names, st.integers(0, 99).map("residual.{}".format))
        | st.builds(Mention, names, names.filter(is_part).map("target.{}".format))
        | st.text(min_size=1),
        min_size=1,
    )
)
def test_pieces_survive_being_written_down(pieces: list[str | Mention]) -> None:
    """Written in brackets and escapes, and read again, they are the same."""

    def written(piece: str | Mention) -> str:
        if isinstance(piece, str):
            return escaped(piece)
        if piece.part.startswith("target."):
            return f"[{piece.name}:{piece.part.removeprefix('target.')}]"
        if piece.part != "target":
            return f"[{piece.name}:{piece.part.replace('.', ':')}]"
        return f"[{piece.name}]" if piece.weight is None else f"[{piece.name}:{piece.weight:.3f}]"

    joined: list[str | Mention] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)

    assert parse("".join(map(written, pieces))) == tuple(joined)


def test_the_concepts_of_a_prompt_are_named_once_in_order() -> None:
    """Two mentions of one concept are one concept, whatever part is meant."""
    assert mentioned(parse("[b] and [a:0.5] or [b:residual:1]")) == ["b", "a"]
