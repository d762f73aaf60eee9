"""The manifest: what it writes, and what it refuses to read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings

from prism_cli.registry.manifest import MAX_BYTES, Manifest
from prism_cli.registry.refusals import ManifestRefused, NewerFormat
from tests.registry.samples import COMPOSED, MANIFEST
from tests.strategies import manifests


def edited(path: str, value: object, sample: Manifest = MANIFEST) -> bytes:
    """The sample's JSON with the field at a dotted `path` replaced or added."""
    document = json.loads(sample.to_json())
    *parents, last = path.split(".")
    place: Any = document
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(document).encode()


@given(manifests())
@settings(max_examples=60, deadline=None)
def test_a_manifest_survives_json(manifest: Manifest) -> None:
    """Whatever a manifest holds, reading what it wrote gives it back, types included."""
    again = Manifest.from_json(manifest.to_json())

    assert again == manifest
    assert again.to_json() == manifest.to_json()  # 1 and 1.0 are equal, but not the same JSON


def test_json_is_canonical() -> None:
    """Keys are sorted, the indent is two spaces, text stays text, a newline ends it."""
    text = MANIFEST.to_json().decode()

    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert "près" in text
    assert '"format": 1,' in text


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("name", "My Dog", "name is 'My Dog', not a name a concept can have"),
        ("kind", "mood", "kind is 'mood', not subject or style or action or composition"),
        ("created", "2026-1-31T1:00:00Z", "created is '2026-1-31T1:00:00Z', not a time"),
        ("created", "2026-02-30T12:00:00Z", "not a time as 2026-01-31T12:00:00Z"),
        ("created", "2026-01-31T12:00:00+01:00", "not a time"),
        ("prism_version", "", "prism_version is '', not a version"),
        ("base", "mini", "base is 'mini', not an object"),
        ("base.id", None, "base.id is null, not the id of a base"),
        ("base.parameterization", "x0", "base.parameterization is 'x0', not eps or v or flow"),
        ("token_length", True, "token_length is true, not a whole number of at least 1"),
        ("token_length", 1.0, "token_length is 1.0, not a whole number"),
        ("token_length", 0, "token_length is 0, not a whole number of at least 1"),
        ("residual_lengths.t5", [2, 0], "residual_lengths.t5.1 is 0, not a whole number"),
        ("residual_lengths.t5", [2], "residual_lengths of 't5' has 1 lengths for 2 photos"),
        ("residual_lengths.T5/x", [1, 1], "'T5/x', which cannot name an encoder"),
        ("lora.alpha", 8, "lora.alpha is 8, not its rank 4"),
        ("lora.targets", "to_q", "lora.targets is 'to_q', not a list"),
        ("lora.targets.1", 3, "lora.targets.1 is 3, not a layer's name"),
        ("options.beta.source", "guess", "options.beta.source is 'guess', not flag or file"),
        ("options.beta.value", [1], "options.beta.value is a list, not a single value"),
        ("seed", -1, "seed is -1, not a whole number of at least 0"),
        ("photos", {}, "photos is an object, not a list"),
        ("photos.1.sha256", "B" * 64, "photos.1.sha256 is 'BBBB"),
        ("photos.1.place", "home", "photos.1.place is unknown"),
        ("photos", [], "residual_lengths are of photos, and there are none"),
        ("metrics.clip_t", None, "metrics.clip_t is null, not a number or text"),
        ("metrics.clip_t", False, "metrics.clip_t is false, not a number or text"),
        ("phrase", 3, "phrase is 3, not text"),
        ("phrase", "[cat]", "phrase is of a composition, and there are no parents"),
        ("kind", "composition", "kind is 'composition', and there are no parents"),
        ("members", {"a": {"sha256": "d" * 64, "size": -1}}, "members.a.size is -1"),
        ("mood", 1, "mood is unknown"),
        ("\x1b[31m", 1, "'\\x1b[31m' is unknown"),
        ("format", True, "it has no format number"),
        ("format", 0, "it has no format number"),
    ],
)
def test_a_wrong_field_is_named(path: str, value: object, text: str) -> None:
    """The refusal says which field is wrong, what it is, and what it should have been."""
    with pytest.raises(ManifestRefused) as refusal:
        Manifest.from_json(edited(path, value))

    assert text in refusal.value.message


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("kind", "subject", "kind is 'subject', and there are parents"),
        ("parents.0.weight", "half", "parents.0.weight is 'half', not a number"),
        ("parents.0.weight", True, "parents.0.weight is true, not a number"),
        ("parents.0.name", "My Cat", "parents.0.name is 'My Cat', not a name a concept can have"),
        ("parents.0.name", "zebra", "not in the order of their names"),
        ("parents.0.name", "ink", "or one is there twice"),
        ("parents.0.learned", "c" * 64, "not a digest of 12 hexadecimal digits"),
        ("parents.0.kind", "composition", "parents.0.kind is 'composition', not subject or style"),
        ("parents.0.rank", -1, "parents.0.rank is -1, not a whole number of at least 0"),
        ("parents.0.rank", 2, "the parents' ranks do not add up to the LoRA's 4"),
        ("lora", None, "the parents' ranks do not add up to the LoRA's 0"),
        ("parents.0.token_length", 2, "token_length is 3, not the sum of its parents'"),
        ("parents.0.mood", 1, "parents.0.mood is unknown"),
        ("phrase", "", "phrase does not name parents by their names alone"),
        ("phrase", "[cat:0.5]", "phrase does not name parents by their names alone"),
        ("phrase", "[cat] on [dog]", "phrase names 'dog', which is no parent"),
        ("phrase", "[cat", "phrase cannot be read: a '[' without its partner"),
        ("residual_lengths", {"t5": []}, "residual_lengths are of photos"),
    ],
)
def test_a_wrong_composition_is_named(path: str, value: object, text: str) -> None:
    """What parents, phrase, ranks and tokens contradict is told."""
    with pytest.raises(ManifestRefused) as refusal:
        Manifest.from_json(edited(path, value, COMPOSED))

    assert text in refusal.value.message


@pytest.mark.parametrize("key", sorted(json.loads(MANIFEST.to_json())))
def test_every_field_is_needed(key: str) -> None:
    """No field has a default in the file, so none can be lost unnoticed."""
    document = json.loads(MANIFEST.to_json())
    del document[key]

    with pytest.raises(ManifestRefused, match=r"no format number|is missing") as refusal:
        Manifest.from_json(json.dumps(document).encode())

    assert key in refusal.value.message


def test_all_problems_are_told_at_once() -> None:
    """One reading finds every problem, so that one correction can mend them all."""
    document = json.loads(MANIFEST.to_json())
    document.update(name=3, seed="x", surprise=1)
    del document["photos"][0]["caption"]

    with pytest.raises(ManifestRefused) as refusal:
        Manifest.from_json(json.dumps(document).encode())

    assert refusal.value.message == (
        "manifest.json: surprise is unknown; name is 3, not a name a concept can have; "
        "seed is 'x', not a whole number of at least 0; photos.0.caption is missing"
    )


def test_a_long_list_of_problems_is_cut() -> None:
    """A hostile manifest cannot flood the terminal."""
    document = json.loads(MANIFEST.to_json()) | {f"extra{i:03}": 1 for i in range(100)}

    with pytest.raises(ManifestRefused, match=r"extra007 is unknown; and 92 more$"):
        Manifest.from_json(json.dumps(document).encode())


def test_a_newer_format_is_told_before_anything_else() -> None:
    """A later prism's manifest may differ in every field, so only its number is looked at."""
    with pytest.raises(
        NewerFormat, match="archive format 2, and this prism reads up to 1"
    ) as error:
        Manifest.from_json(b'{"format": 2, "nothing": "else"}')

    assert "upgrade prism" in error.value.hint


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff{}", "not UTF-8"),
        (b'{"format": 1, "name": "\\ud800"}', "not UTF-8"),
        (b'{"format": NaN}', "not finite"),
        (b'{"format": -Infinity}', "not finite"),
        (b'{"format": 1e999}', "not finite"),
        (b'{"format": 1, "format": 1}', "the same key twice"),
        (b'{"format": 18446744073709551616}', "a whole number of 20 digits"),
        (b'{"format": ' + b"9" * 10_000 + b"}", "a whole number of 10000 digits"),
        (b"[" * 17 + b"]" * 17, "more than 16 levels deep"),
        (b'"' + b'\\"' * 2_000_000, "not JSON"),
        (b'{"a":' * 100_000, "more than 16 levels deep"),
        (b" " * (MAX_BYTES + 1), "4194304 is the most allowed"),
    ],
)
def test_json_from_a_stranger_is_bounded(data: bytes, text: str) -> None:
    """What is not plain, finite, shallow JSON is refused before it becomes a manifest."""
    with pytest.raises(ManifestRefused, match=text):
        Manifest.from_json(data)


def test_brackets_in_text_are_not_depth() -> None:
    """A caption may hold any number of brackets, quotes and backslashes."""
    caption = '\\" [[[[[[[[[[[[[[[[[[[[[[[[{{{{{{{{ \\'
    photo = dataclasses.replace(MANIFEST.photos[0], caption=caption)
    manifest = dataclasses.replace(MANIFEST, photos=(photo, photo))

    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_number_that_is_not_finite_is_not_written() -> None:
    """A loss that became NaN is refused when the concept is saved, not when it is next read."""
    manifest = dataclasses.replace(MANIFEST, metrics={"loss": float("nan")})

    with pytest.raises(ManifestRefused, match="not finite"):
        manifest.to_json()
