"""Whatever lies beside the photos, it is a caption, none, or an error that names the file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prism_cli.captioners.files import CAPTIONS, MAX_CAPTION, METADATA, CaptionFiles
from prism_cli.errors import CaptionRefused

PHOTOS = ("a.png", "b.jpg", "ü.webp")
names = st.sampled_from([*PHOTOS, "./a.png", "gone.png", ""]) | st.text(max_size=8)
words = st.text(max_size=40) | st.sampled_from(["", " \n ", "x" * (MAX_CAPTION + 1), "\ud800"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
spelt = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])


def encoded(text: str, encoding: str) -> bytes:
    """The text as a careless program might save it."""
    return text.encode(encoding, "replace")


def rows(objects: list[object]) -> str:
    """Objects as lines of JSON."""
    return "\n".join(map(json.dumps, objects))


twice = st.just('{"a.png": "one", "a.png": "two"}')
deep = st.just("[" * 100_000)
sidecars = st.binary(max_size=60) | st.builds(encoded, words.filter(str.isascii), spelt)
objects = anything | st.dictionaries(names, words, max_size=4)
tables = st.binary(max_size=60) | st.builds(encoded, objects.map(json.dumps) | twice | deep, spelt)
row = st.fixed_dictionaries({"file_name": names}, optional={"text": words | anything})
metadata = st.binary(max_size=60) | st.builds(
    encoded, st.lists(row | anything, max_size=4).map(rows) | twice | deep, spelt
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    files=st.fixed_dictionaries(
        {},
        optional={
            "a.txt": sidecars,
            "b.txt": sidecars,
            "ü.txt": sidecars,
            "other.txt": sidecars,
            CAPTIONS: tables,
            METADATA: metadata,
        },
    )
)
def test_any_set_of_files(files: dict[str, bytes]) -> None:
    """Every photo has one line of text that can be kept, or none, or an error with its file."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in PHOTOS:
            (folder / name).touch()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        try:
            found = CaptionFiles.read(folder)
        except CaptionRefused as error:
            assert any(name in error.message for name in (CAPTIONS, METADATA))
            assert error.hint and "\n" not in error.message
            return
        for name in PHOTOS:
            try:
                caption = found.find(folder / name)
            except CaptionRefused as error:
                assert Path(name).stem + ".txt" in error.message and error.hint
                continue
            if caption is not None:
                assert caption.text == " ".join(caption.text.split()) != ""
                assert 0 < len(caption.text.encode("utf-8")) <= MAX_CAPTION
                assert caption.source in ("sidecar", CAPTIONS, METADATA)


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("a.txt", b"\xff\xfe\x00d", r"a\.txt is not UTF-8"),
        ("a.txt", b"x" * (MAX_CAPTION + 1), r"a\.txt has more than 8 KiB"),
        (CAPTIONS, b"{", "is not JSON"),
        (CAPTIONS, b"[]", "is not one JSON object"),
        (CAPTIONS, b'{"a.png": 7}', r"caption of 'a\.png' .* is not text"),
        (CAPTIONS, b'{"a.png": "x", "a.png": "y"}', r"'a\.png' twice"),
        (CAPTIONS, b'{"a.png": "\\ud800"}', "half a character"),
        (CAPTIONS, b"[" * 100_000, "is not JSON"),
        (METADATA, b'{"file_name": "b.jpg", "text": "x"}\n{', "line 2 is not JSON"),
        (METADATA, b'{"text": "x"}', "line 1 does not name a file"),
        (METADATA, b'{"file_name": "a.png", "text": null}', "line 1 is not text"),
        (METADATA, b'{"file_name": "a.png", "text": "x"}\n' * 2, r"line 2 has 'a\.png' twice"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, file: str, data: bytes, said: str) -> None:
    """The file, the line where there are several, and what to do."""
    (tmp_path / "a.png").touch()
    (tmp_path / file).write_bytes(data)

    with pytest.raises(CaptionRefused, match=said) as caught:
        CaptionFiles.read(tmp_path).find(tmp_path / "a.png")
    assert caught.value.hint


def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read at all."""
    monkeypatch.setattr("prism_cli.captioners.files.MAX_TABLE", 2048)
    (tmp_path / CAPTIONS).write_bytes(b" " * 2049)
    with pytest.raises(CaptionRefused, match="larger than 2 KiB"):
        CaptionFiles.read(tmp_path)
