"""What a picture says of itself."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from prism_cli.errors import FileMissing
from prism_cli.services.picture_metadata import (
    NotDrawnByPrism,
    PictureRecord,
    read_record,
    text_chunks,
)
from prism_cli.services.pictures import png
from tests.registry.samples import png as bare_png
from tests.strategies import hashes, names

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
records = st.builds(
    PictureRecord,
    prompt=texts,
    negative=texts,
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 1000),
    guidance=st.floats(1, 100),
    width=st.integers(8, 4096),
    height=st.integers(8, 4096),
    scale=st.floats(-9, 9),
    sampler=st.sampled_from(["DDIM", "PNDM", "EulerDiscrete"]),
    method=st.sampled_from(["sum", "per-token"]),
    base=st.sampled_from(["mini", "local:my, base: 2"]),
    revision=hashes.map(lambda h: h[:12]),
    concepts=st.dictionaries(names, hashes, max_size=2),
)
RECORD = PictureRecord(
    prompt="A [dog] box, red",
    negative="blue: dark",
    seed=5,
    steps=30,
    guidance=4.0,
    width=96,
    height=64,
    scale=1.0,
    sampler="DDIM",
    method="sum",
    base="mini",
    revision="22ef099d64ef",
    concepts={"dog": "abc"},
)


def written(path: Path, record: PictureRecord) -> Path:
    path.write_bytes(png(Image.new("RGB", (2, 2)), text_chunks(record)))
    return path


def parameters(path: Path) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and pairs, by the rule of A1111's own reader.

    The last line holds pairs ``key: value`` with commas between, a value with a comma or colon in
    JSON's quotes; lines before it are the prompt, from "Negative prompt:" on the negative one.
    """
    with Image.open(path) as picture:
        *lines, last = picture.text["parameters"].strip().split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(pairs) >= 3  # or A1111 takes the line for a part of the prompt
    prompt, negative, inside = [], [], False
    for line in lines:
        if line.startswith("Negative prompt:"):
            inside, line = True, line.removeprefix("Negative prompt:").strip()
        (negative if inside else prompt).append(line)
    values = {k: json.loads(v) if v.startswith('"') else v for k, v in pairs}
    return "\n".join(prompt), "\n".join(negative), values


@given(record=records)
def test_a_record_survives_its_picture(
    record: PictureRecord, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any prompt, in any script, and every number to its last bit."""
    path = tmp_path_factory.getbasetemp() / "record.png"

    assert read_record(written(path, record)) == record


def test_other_tools_read_the_parameters(tmp_path: Path) -> None:
    """A1111's reader finds the prompts and each pair under its own name."""
    prompt, negative, pairs = parameters(written(tmp_path / "a.png", RECORD))

    assert prompt == "A [dog] box, red"
    assert negative == "blue: dark"
    assert pairs.pop("Version").startswith("prism ")
    assert pairs == {
        "Steps": "30",
        "Sampler": "DDIM",
        "CFG scale": "4",
        "Seed": "5",
        "Size": "96x64",
        "Model hash": "22ef099d64ef",
        "Model": "mini",
    }


def test_a_base_with_a_comma_does_not_upset_the_pairs(tmp_path: Path) -> None:
    """A value with a comma or colon in it is quoted."""
    record = dataclasses.replace(RECORD, base="local:my, base")

    assert parameters(written(tmp_path / "a.png", record))[2]["Model"] == "local:my, base"


def test_no_negative_prompt_makes_no_line(tmp_path: Path) -> None:
    """The line is there only when there is something to avoid."""
    with Image.open(written(tmp_path / "a.png", dataclasses.replace(RECORD, negative=""))) as drawn:
        assert "Negative" not in drawn.text["parameters"]


def with_text(key: str, text: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(key, text)
    return png(Image.new("RGB", (1, 1)), chunks)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bare_png(2, 1, (b"iCCP", b"name\0")),  # the profile is cut
        b"not a picture",
        bare_png(),
        bare_png()[:30],
        with_text("parameters", "a dog\nSteps: 3, Seed: 1, Size: 1x1"),
        with_text("prism", "{"),
        with_text("prism", "[]"),
        with_text("prism", "{}"),
        with_text("prism", '{"seed": 3}'),
    ],
)
def test_a_picture_that_does_not_say_how_it_was_drawn_is_refused(
    data: bytes, tmp_path: Path
) -> None:
    """Another tool's picture, a damaged one, or none: one error, which names the file."""
    path = tmp_path / "other.png"
    path.write_bytes(data)

    with pytest.raises(NotDrawnByPrism, match=r"other\.png does not say") as caught:
        read_record(path)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "5"),
        ("seed", True),
        ("steps", 2.5),
        ("guidance", "4"),
        ("prompt", None),
        ("concepts", []),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, value: object, tmp_path: Path) -> None:
    """A record that was tampered with does not reach the model."""
    path = written(tmp_path / "a.png", RECORD)
    with Image.open(path) as drawn:
        document = json.loads(drawn.text["prism"])
    path.write_bytes(with_text("prism", json.dumps({**document, key: value})))

    with pytest.raises(NotDrawnByPrism):
        read_record(path)


def test_a_missing_picture_is_missing(tmp_path: Path) -> None:
    """A path that leads nowhere is another error than a picture of another tool."""
    with pytest.raises(FileMissing):
        read_record(tmp_path / "none.png")
