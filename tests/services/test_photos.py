"""Photo intake: one rule a test."""

from __future__ import annotations

import io
import random
import shutil
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageEnhance

from prism_cli.errors import FileMissing, NoPermission, PhotosRefused, PrismError
from prism_cli.services.events import Event, StageBegan, StageEnded, StageMoved
from prism_cli.services.photo_files import READ_SUFFIXES, UNREAD_SUFFIXES
from prism_cli.services.photos import Intake, Treatment, take_in, views
from tests.services.photo_corpus import (
    BACKGROUNDS,
    face,
    held,
    icon,
    save_heic,
    scenery,
    tagged,
)

SIZE = 64
CODEC = 6.0  # levels of 255: what JPEG, WEBP and HEIC at good quality change on average


def take(folder: Path, **options: Any) -> Intake:
    """Take in whatever there is, so that a test may look at a single file."""
    return take_in(folder, **{"size": SIZE, "minimum": 0, **options})


def treatments(folder: Path, **options: Any) -> dict[str, Treatment]:
    """Give the treatment of each file that was looked at."""
    return {finding.file: finding.treatment for finding in take(folder, **options).findings}


def levels(image: Image.Image) -> np.ndarray:
    """Give the picture as signed numbers, (h, w, c)."""
    return np.asarray(image).astype(int)


def huge_png(width: int, height: int) -> bytes:
    """Make a PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_natural_order(tmp_path: Path) -> None:
    """Photos come in the order a person counts: 2 before 10."""
    for number in (10, 9, 2):
        scenery(number).save(tmp_path / f"img{number}.png")
    assert [photo.path.name for photo in take(tmp_path).photos] == [
        "img2.png",
        "img9.png",
        "img10.png",
    ]


@pytest.mark.parametrize("count", [10, 11])
def test_many_photos_are_read_as_a_stage(tmp_path: Path, count: int) -> None:
    """Of a few nobody waits; those that are left out count as read."""
    for number in range(count - 1):
        scenery(number).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    events: list[Event] = []

    take(tmp_path, on_event=events.append)

    told = [StageBegan("photos", 11, unit="photo")]
    told += [StageMoved("photos", k) for k in range(1, 12)]
    assert events == ([*told, StageEnded("photos", 11, "done")] if count == 11 else [])


def test_digits_of_other_scripts_are_letters(tmp_path: Path) -> None:
    """They have an order too, and a folder with them is read."""
    names = ["\uff112.png", "img.png", "\u06631.png"]  # full-width and Arabic-Indic
    for number, name in enumerate(names):
        scenery(number).save(tmp_path / name)
    assert sorted(photo.path.name for photo in take(tmp_path).photos) == sorted(names)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    """Each accepted format gives the picture that was saved."""
    scenery(1).save(tmp_path / f"a.{suffix}", quality=95)
    (photo,) = take(tmp_path).photos
    assert np.abs(levels(photo.image) - levels(scenery(1))).mean() < CODEC


def test_heic(tmp_path: Path) -> None:
    """HEIC, as phones write it, is read."""
    save_heic(scenery(1), tmp_path / "a.heic")
    (photo,) = take(tmp_path).photos
    assert np.abs(levels(photo.image) - levels(scenery(1))).mean() < CODEC


def test_mpo(tmp_path: Path) -> None:
    """Of a phone's two-picture JPEG the first is used."""
    scenery(1).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[scenery(2)])
    (photo,) = take(tmp_path).photos
    assert np.abs(levels(photo.image) - levels(scenery(1))).mean() < CODEC


def test_animation(tmp_path: Path) -> None:
    """Of an animation the first frame is used."""
    scenery(1).save(tmp_path / "a.webp", save_all=True, append_images=[scenery(2)], lossless=True)
    assert take(tmp_path).photos[0].image == scenery(1)


def test_suffix_need_not_match(tmp_path: Path) -> None:
    """What a file holds decides, not what it is called."""
    scenery(1).save(tmp_path / "a.jpg", "PNG")
    scenery(2).save(tmp_path / "b.gif", "PNG")
    assert [photo.image for photo in take(tmp_path).photos] == [scenery(1), scenery(2)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "avif"])
def test_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Each of the eight EXIF orientations ends upright."""
    upright = scenery(1, 160, 120)
    stored = held(upright, orientation)
    stored.save(tmp_path / f"a.{suffix}", exif=tagged(orientation), quality=95)
    (photo,) = take(tmp_path).photos
    assert photo.image.size == upright.size
    assert np.abs(levels(photo.image) - levels(upright)).mean() < CODEC


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_upright(tmp_path: Path, orientation: int) -> None:
    """A HEIC that its container and EXIF both call turned is turned once."""
    upright = scenery(1, 160, 120)
    save_heic(upright, tmp_path / "a.heic", orientation)
    (photo,) = take(tmp_path).photos
    assert photo.image.size == upright.size
    assert np.abs(levels(photo.image) - levels(upright)).mean() < CODEC


def test_metadata_ends_here(tmp_path: Path) -> None:
    """Nothing of a file's metadata stays on the picture."""
    scenery(1).save(tmp_path / "a.jpg", exif=tagged(6), comment=b"at home")
    (photo,) = take(tmp_path).photos
    assert photo.image.info == {}
    assert len(photo.image.getexif()) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_becomes_white(tmp_path: Path, mode: str) -> None:
    """What is transparent is white, and what is opaque keeps its colour."""
    gray = Image.new("L", (80, 80), 51)
    alpha = Image.new("L", (80, 80), 255)
    alpha.paste(0, (0, 0, 40, 80))
    image = Image.merge("LA", (gray, alpha))
    if mode == "PA":
        image = image.convert("RGBA").quantize(4)
    elif mode == "RGBA":
        image = image.convert("RGBA")
    image.save(tmp_path / "a.png")
    (photo,) = take(tmp_path).photos
    assert photo.image.getpixel((10, 40)) == (255, 255, 255)
    assert photo.image.getpixel((70, 40)) == (51, 51, 51)


def test_colour_key(tmp_path: Path) -> None:
    """A PNG's single transparent colour is white too."""
    Image.new("RGB", (80, 80), "red").save(tmp_path / "a.png", transparency=(255, 0, 0))
    assert take(tmp_path).photos[0].image.getpixel((40, 40)) == (255, 255, 255)


def test_sixteen_bits(tmp_path: Path) -> None:
    """Sixteen-bit grey keeps its upper eight bits."""
    Image.fromarray(np.full((80, 80), 0x80FF, np.uint16)).save(tmp_path / "a.png")
    assert take(tmp_path).photos[0].image.getpixel((40, 40)) == (128, 128, 128)


def test_one_bit(tmp_path: Path) -> None:
    """Black and white are read as such."""
    image = Image.new("1", (80, 80), 0)
    image.paste(1, (40, 0, 80, 80))
    image.save(tmp_path / "a.png")
    (photo,) = take(tmp_path).photos
    assert photo.image.getpixel((10, 40)) == (0, 0, 0)
    assert photo.image.getpixel((70, 40)) == (255, 255, 255)


def test_cmyk(tmp_path: Path) -> None:
    """A printer's JPEG shows its colours, not their negative."""
    Image.new("CMYK", (80, 80), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = take(tmp_path).photos[0].image.getpixel((40, 40))
    assert (red > 240, green < 20, blue < 20) == (True, True, True)


def test_profile_is_applied(tmp_path: Path) -> None:
    """A picture in another colour space is brought into sRGB."""
    image = Image.new("RGB", (80, 80), (55, 55, 55))
    image.save(tmp_path / "a.png", icc_profile=linear_profile())
    value = take(tmp_path).photos[0].image.getpixel((40, 40))[0]
    assert abs(value - 128) <= 2  # 55/255 of the light is level 128 in sRGB


def test_profile_on_grey(tmp_path: Path) -> None:
    """A grey picture with a colour picture's profile is managed like a colour picture."""
    Image.new("L", (80, 80), 55).save(tmp_path / "a.png", icc_profile=linear_profile())
    value = take(tmp_path).photos[0].image.getpixel((40, 40))[0]
    assert abs(value - 128) <= 2


def linear_profile() -> bytes:
    """Make an RGB profile with sRGB's primaries and a gamma of 1."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = struct.pack(">4sxxxxHxxI", b"para", 0, 1 << 16)  # gamma 1.0 in 16.16 fixed point
    for entry in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, offset, length = struct.unpack_from(">4sII", profile, 132 + 12 * entry)
        content = bytes(profile[offset : offset + length])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            content = curve.ljust(length, b"\0")
        elif tag == b"desc":
            content = content.replace("sRGB".encode("utf-16-be"), "even".encode("utf-16-be"))
        profile[offset : offset + length] = content
    return bytes(profile)


def test_unreadable_profile_is_said(tmp_path: Path) -> None:
    """A damaged colour profile is passed over, and the finding says so."""
    scenery(1).save(tmp_path / "a.png", icc_profile=b"nothing of the kind")
    intake = take(tmp_path)
    assert intake.photos[0].image == scenery(1)
    assert "colour profile cannot be read" in intake.findings[0].sentence


def test_large_photos_are_shrunk(tmp_path: Path) -> None:
    """The kept picture's short side is twice the base's size, its shape unchanged."""
    scenery(1, 800, 600).save(tmp_path / "a.png")
    assert take(tmp_path).photos[0].image.size == (171, 128)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    """Captions, hidden files and sub-folders get no finding."""
    for name in ("a.txt", "a.json", ".DS_Store", ".a.jpg", "noname"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.jpg").mkdir()
    scenery(1).save(tmp_path / "sub.jpg" / "inner.png")
    scenery(2).save(tmp_path / "b.png")
    assert treatments(tmp_path) == {"b.png": Treatment.USED}


def test_links(tmp_path: Path) -> None:
    """A link to a picture is followed; one that leads nowhere is named."""
    (tmp_path / "photos").mkdir()
    scenery(1).save(tmp_path / "real.png")
    (tmp_path / "photos" / "a.png").symlink_to(tmp_path / "real.png")
    (tmp_path / "photos" / "b.png").symlink_to(tmp_path / "none.png")
    assert treatments(tmp_path / "photos") == {"a.png": Treatment.USED, "b.png": Treatment.BROKEN}


@pytest.mark.parametrize("suffix", UNREAD_SUFFIXES)
def test_unsupported(tmp_path: Path, suffix: str) -> None:
    """A picture in a format that is not read is named with what to do."""
    Image.new("RGB", (80, 80)).save(tmp_path / f"a{suffix}", "GIF")
    (finding,) = take(tmp_path).findings
    assert finding.treatment is Treatment.UNSUPPORTED
    assert f"{suffix[1:].upper()} is not read, save it as JPEG" in finding.sentence


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic", "avif"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    """Half a file is broken, whatever its format."""
    whole = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        save_heic(scenery(1), whole)
    else:
        scenery(1).save(whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert treatments(tmp_path) == {whole.name: Treatment.BROKEN}


@pytest.mark.parametrize(("content", "seen"), [(b"", "an empty file"), (b"hello", "broken, or")])
def test_no_picture_at_all(tmp_path: Path, content: bytes, seen: str) -> None:
    """Emptiness and text are told apart."""
    (tmp_path / "a.jpg").write_bytes(content)
    (finding,) = take(tmp_path).findings
    assert finding.treatment is Treatment.BROKEN
    assert finding.sentence.startswith(seen)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is left out with the reason."""
    scenery(1).save(tmp_path / "a.png")

    def refuse(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    (finding,) = take(tmp_path).findings
    assert finding.treatment is Treatment.BROKEN
    assert finding.sentence == "it cannot be read (Permission denied): left out"


@pytest.mark.parametrize("shape", [(10_000, 10_001), (20_000, 20_000)])
def test_too_large(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Over 100 megapixels the header suffices, and Pillow's own warnings stay unseen."""
    (tmp_path / "a.png").write_bytes(huge_png(*shape))
    with warnings.catch_warnings(action="error"):
        assert treatments(tmp_path) == {"a.png": Treatment.TOO_LARGE}


def test_just_not_too_large(tmp_path: Path) -> None:
    """At 100 megapixels the file is decoded, which finds out this one."""
    (tmp_path / "a.png").write_bytes(huge_png(10_000, 10_000))
    with warnings.catch_warnings(action="error"):
        assert treatments(tmp_path) == {"a.png": Treatment.BROKEN}


@pytest.mark.parametrize(
    ("short", "size", "treatment"),
    [
        (15, 32, Treatment.TOO_SMALL),  # fewer than 16 px never serve
        (16, 32, Treatment.ENLARGED),
        (31, 128, Treatment.TOO_SMALL),
        (32, 128, Treatment.ENLARGED),
        (127, 128, Treatment.ENLARGED),
        (128, 128, Treatment.USED),
    ],
)
def test_small(tmp_path: Path, short: int, size: int, treatment: Treatment) -> None:
    """Below a quarter of the base's size a photo is left out, below its size enlarged."""
    scenery(1, short + 10, short).save(tmp_path / "a.png")
    (finding,) = take(tmp_path, size=size).findings
    assert (finding.treatment, finding.used) == (treatment, treatment is not Treatment.TOO_SMALL)


@pytest.mark.parametrize(("long", "much"), [(250, False), (400, True)])
def test_panorama(tmp_path: Path, long: int, much: bool) -> None:
    """Beyond 5:2 the finding says what share the centre crop keeps, and the way out."""
    scenery(1, long, 100).save(tmp_path / "a.png")
    (finding,) = take(tmp_path).findings
    assert finding.used
    assert (finding.treatment is Treatment.CROPPED_MUCH) == much
    assert ("keeps 25% of it (--crop random" in finding.sentence) == much


def test_same_bytes(tmp_path: Path) -> None:
    """Of two equal files the first in natural order stays."""
    scenery(1).save(tmp_path / "10.png")
    shutil.copy(tmp_path / "10.png", tmp_path / "2.png")
    intake = take(tmp_path)
    assert [photo.path.name for photo in intake.photos] == ["2.png"]
    assert intake.findings[1].treatment is Treatment.DUPLICATE
    assert intake.findings[1].sentence == "the same picture as 2.png: left out"


def test_same_pixels(tmp_path: Path) -> None:
    """Another format, another orientation: the same pixels are the same picture."""
    scenery(1).save(tmp_path / "a.png")
    scenery(1).save(tmp_path / "b.webp", lossless=True)
    held(scenery(1), 6).save(tmp_path / "c.png", exif=tagged(6))
    assert treatments(tmp_path, keep_similar=True) == {
        "a.png": Treatment.USED,
        "b.webp": Treatment.DUPLICATE,
        "c.png": Treatment.DUPLICATE,
    }


def recompressed(image: Image.Image) -> Image.Image:
    """Send the picture through a coarse JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "edit",
    [
        recompressed,
        lambda image: image.resize((200, 150)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: image.crop((12, 9, 388, 294)),
        lambda image: image.crop((0, 0, 370, 280)),
    ],
    ids=["recompressed", "resized", "brightened", "trimmed", "cut on two sides"],
)
def test_similar(tmp_path: Path, edit: Any) -> None:
    """An edited copy is left out, whether the copy or the original comes first."""
    for first, second in (("a", "b"), ("b", "a")):
        scenery(1, 400, 300).save(tmp_path / f"{first}.png")
        edit(scenery(1, 400, 300)).save(tmp_path / f"{second}.png")
        assert treatments(tmp_path) == {"a.png": Treatment.USED, "b.png": Treatment.SIMILAR}


def test_heic_copy_is_similar(tmp_path: Path) -> None:
    """A phone's HEIC and the JPEG that was shared from it are one photo."""
    scenery(1).save(tmp_path / "a.jpg")
    save_heic(scenery(1), tmp_path / "b.heic")
    assert treatments(tmp_path)["b.heic"] is Treatment.SIMILAR


def test_keep_similar(tmp_path: Path) -> None:
    """With keep_similar the copy is used, and said to be one."""
    scenery(1).save(tmp_path / "a.png")
    recompressed(scenery(1)).save(tmp_path / "b.png")
    intake = take(tmp_path, keep_similar=True)
    assert len(intake.photos) == 2
    assert intake.findings[1].treatment is Treatment.SIMILAR
    assert "a.png: used all the same (--keep-similar)" in intake.findings[1].sentence


def test_different_scenes(tmp_path: Path) -> None:
    """Different photos are not taken for copies."""
    for seed in range(8):
        scenery(seed).save(tmp_path / f"{seed}.png")
    assert set(treatments(tmp_path).values()) == {Treatment.USED}


def test_one_icon_on_flat_backgrounds(tmp_path: Path) -> None:
    """A drawing on five flat backgrounds is five pictures, though their shapes are the same."""
    for background in BACKGROUNDS:
        icon(background).save(tmp_path / f"{background}.png")
    assert set(treatments(tmp_path).values()) == {Treatment.USED}


def test_two_faces(tmp_path: Path) -> None:
    """Drawings that differ in one small place are two pictures."""
    face(smiling=True).save(tmp_path / "a.png")
    face(smiling=False).save(tmp_path / "b.png")
    assert set(treatments(tmp_path).values()) == {Treatment.USED}


def test_copy_of_a_drawing(tmp_path: Path) -> None:
    """A recompressed drawing is a copy all the same."""
    icon("white").save(tmp_path / "a.png")
    recompressed(icon("white")).save(tmp_path / "b.png")
    assert treatments(tmp_path)["b.png"] is Treatment.SIMILAR


def test_too_few(tmp_path: Path) -> None:
    """The refusal counts, names three files at most and says what to add."""
    scenery(1).save(tmp_path / "0.png")
    recompressed(scenery(1)).save(tmp_path / "1.png")
    for number in range(2, 6):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
    with pytest.raises(PhotosRefused) as refusal:
        take_in(tmp_path, size=SIZE)
    assert refusal.value.message == (
        f"1 usable photo in {tmp_path} (6 looked at): at least 2 are needed"
        "; 1.png: similar; 2.jpg: broken; 3.jpg: broken; and 2 more"
    )
    assert "photos of the same thing" in refusal.value.hint
    assert "--keep-similar" in refusal.value.hint


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is said to be missing."""
    with pytest.raises(FileMissing, match=r"no folder .+none"):
        take(tmp_path / "none")


def test_file_instead_of_folder(tmp_path: Path) -> None:
    """A file is refused, and its folder suggested."""
    scenery(1).save(tmp_path / "a.png")
    with pytest.raises(PhotosRefused) as refusal:
        take(tmp_path / "a.png")
    assert refusal.value.hint == f"give its folder: {tmp_path}"


def test_no_pictures(tmp_path: Path) -> None:
    """A folder without pictures is refused with the formats that are read."""
    (tmp_path / "a.txt").write_text("a caption")
    with pytest.raises(PhotosRefused, match="no pictures in") as refusal:
        take(tmp_path)
    assert "HEIC" in refusal.value.hint


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be listed is one sentence, not a traceback."""

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NoPermission, match="cannot read"):
        take(tmp_path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from(READ_SUFFIXES + UNREAD_SUFFIXES),
    start=st.sampled_from(["", "JPEG", "PNG", "WEBP", "AVIF"]),
    keep=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    tail=st.binary(max_size=64),
)
def test_any_bytes(
    tmp_path: Path,
    suffix: str,
    start: str,
    keep: float,
    flips: list[tuple[float, int]],
    tail: bytes,
) -> None:
    """Random bytes, or a picture with random damage, end in one finding or a PrismError."""
    buffer = io.BytesIO()
    if start:
        scenery(1, 40, 30).save(buffer, start, exif=tagged(6))
    data = bytearray(buffer.getvalue())
    data = data[: int(keep * len(data))]
    for where, value in flips if data else []:
        data[int(where * (len(data) - 1))] = value
    shutil.rmtree(tmp_path / "photos", ignore_errors=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / f"a{suffix}").write_bytes(bytes(data) + tail)
    try:
        intake = take(tmp_path / "photos")
    except PrismError as error:
        pytest.fail(f"a single bad file stopped the intake: {error}")
    (finding,) = intake.findings
    assert finding.file == f"a{suffix}"
    assert finding.used == (len(intake.photos) == 1)


def test_centre_view() -> None:
    """The centre crop is the middle square and nothing else."""
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    (view,) = views(image, SIZE, "center", 5, random.Random(0))
    assert view.shape == (SIZE, SIZE, 3)
    assert view.dtype == np.uint8
    edge = 4  # px: as far as the resampling filter mixes the neighbours in
    assert (view[:, edge:-edge] == (0, 0, 255)).all()


def test_views_enlarge() -> None:
    """A picture smaller than the base fills it all the same."""
    (view,) = views(scenery(1, 40, 30), SIZE, "center", 1, random.Random(0))
    assert view.shape == (SIZE, SIZE, 3)


def test_random_views_span_the_long_side() -> None:
    """Random crops reach the parts of a panorama that the centre crop loses."""
    ramp = np.broadcast_to(np.arange(0, 250, dtype=np.uint8)[None, :, None], (50, 250, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    crops = views(image, 32, "random", 40, random.Random(0))
    assert min(crop.min() for crop in crops) < 25
    assert max(crop.max() for crop in crops) > 225


def test_random_views_have_the_promised_scale() -> None:
    """A random crop shows 0.8 to 1 of the short side."""
    ramp = np.broadcast_to(np.arange(0, 200, dtype=np.uint8)[:, None, None], (200, 200, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    shares = [int(np.ptp(crop)) / 200 for crop in views(image, 64, "random", 40, random.Random(0))]
    assert 0.75 < min(shares) < 0.85
    assert 0.94 < max(shares) <= 1


def test_random_views_of_a_square_differ() -> None:
    """A square photo still gives varied crops."""
    crops = views(scenery(1, 100, 100), 32, "random", 6, random.Random(0))
    assert len({crop.tobytes() for crop in crops}) == 6


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_random_views_follow_the_generator(make: Any) -> None:
    """The same state gives the same crops, another one others."""
    image = scenery(1)
    one, again, other = (views(image, 32, "random", 3, make(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_last_photos_are_held_out(tmp_path: Path) -> None:
    """Of those that would be used; a file that is left out anyway is none of them."""
    for k in range(4):
        scenery(k).save(tmp_path / f"{k}.png")
    (tmp_path / "9.png").write_bytes(b"x")

    intake = take_in(tmp_path, size=SIZE, hold_out=2)

    assert [photo.path.name for photo in intake.photos] == ["0.png", "1.png"]
    assert [finding.treatment for finding in intake.findings] == [
        *[Treatment.USED] * 2, *[Treatment.HELD_OUT] * 2, Treatment.BROKEN
    ]  # fmt: skip
    with pytest.raises(PhotosRefused) as refusal:
        take_in(tmp_path, size=SIZE, hold_out=3)
    assert "--hold-out" in refusal.value.hint
    for more in (4, 5, 6, 64):
        with pytest.raises(PhotosRefused, match="0 usable photos"):
            take_in(tmp_path, size=SIZE, hold_out=more)
