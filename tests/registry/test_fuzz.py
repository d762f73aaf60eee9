"""Damage of every kind: an archive is refused, or it is read as what it was."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism_cli.registry.archive import Archive, read_archive
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.refusals import ArchiveRefused
from prism_cli.registry.safetensors_header import read_header
from tests.registry.samples import MEMBERS, sample

SAMPLE = sample()
with zipfile.ZipFile(io.BytesIO(SAMPLE)) as _zip:
    MANIFEST_JSON = _zip.read("manifest.json")
TOKENS = MEMBERS["tokens.safetensors"]
EXAMPLES = settings(max_examples=300, deadline=None)


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """`good` with bytes changed, cut out, cut off or put in."""
    places = st.integers(0, len(good) - 1)
    flips = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)
    return st.one_of(
        flips.map(lambda each: _flipped(good, each)),
        places.map(lambda i: good[:i]),
        st.tuples(places, places).map(lambda ends: good[: min(ends)] + good[max(ends) :]),
        st.tuples(places, st.binary(max_size=30)).map(
            lambda at: good[: at[0]] + at[1] + good[at[0] :]
        ),
    )


def _flipped(good: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(good)
    for i, value in flips:
        changed[i] = value
    return bytes(changed)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Archive]:
    """A place for damaged archives, and what they were before."""
    path = tmp_path_factory.mktemp("fuzz") / "any.prism"
    path.write_bytes(SAMPLE)
    return path, read_archive(path)


@given(damaged(SAMPLE))
@EXAMPLES
def test_a_damaged_archive_is_refused_or_harmless(
    original: tuple[Path, Archive], data: bytes
) -> None:
    """No damage gives another exception, and none gives another concept."""
    path, archive = original
    path.write_bytes(data)

    try:
        read = read_archive(path)
    except ArchiveRefused:
        return
    assert read == archive


@pytest.mark.parametrize("place", range(-22, 0))
@pytest.mark.parametrize("value", [0, 1, 255])
def test_the_end_record_bears_any_byte(
    original: tuple[Path, Archive], place: int, value: int
) -> None:
    """The record that a reader trusts first is tried byte by byte."""
    path, archive = original
    path.write_bytes(_flipped(SAMPLE, [(place, value)]))

    try:
        read = read_archive(path)
    except ArchiveRefused:
        return
    assert read == archive


@given(damaged(MANIFEST_JSON) | st.binary(max_size=60))
@EXAMPLES
def test_a_damaged_manifest_is_refused_or_valid(data: bytes) -> None:
    """Without a checksum around it a manifest may change, but only into another good one."""
    try:
        manifest = Manifest.from_json(data)
    except ArchiveRefused:
        return
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(damaged(TOKENS) | st.binary(max_size=60))
@EXAMPLES
def test_damaged_tensors_are_refused_or_whole(data: bytes) -> None:
    """Whatever a header says, the tensors it describes lie inside the file."""
    try:
        tensors = read_header(data, "tokens.safetensors")
    except ArchiveRefused:
        return
    assert all(0 <= tensor.begin <= tensor.end <= len(data) for tensor in tensors.values())
