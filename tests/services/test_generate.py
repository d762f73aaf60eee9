"""`prism gen`: prompts, seeds, weights, and pictures that can be drawn again."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from prism_cli import runtime
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import (
    BaseMismatch,
    BaseNotFound,
    ConceptNotFound,
    NameTaken,
    OptionRefused,
    PrismError,
    PromptRefused,
    TooLarge,
)
from prism_cli.runtime import Runtime
from prism_cli.services.events import Event, Note, StageBegan, StageEnded, StageMoved
from prism_cli.services.generate import (
    MAX_SEED,
    DrawRequest,
    DrawResult,
    generate,
    prepare_drawing,
)
from prism_cli.services.picture_metadata import read_record
from tests.bases import fresh_mini
from tests.services.concepts import keep
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import save_tiny_pipeline

# A batch of another size may use another matrix kernel: rounding of 1e-6 in [-1, 1], seldom enough
# to turn a level of 255 over, and never by more than one.
ANOTHER_BATCH = 1


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the embedded base instead of reading it from disk for every picture."""
    load = catalog.load
    monkeypatch.setattr(
        catalog, "load", lambda entry, run: fresh_mini() if entry.practice else load(entry, run)
    )


def gen(prompt: str | None = "A [dog] box", **options: Any) -> DrawResult:
    """Draw in two steps."""
    return generate(DrawRequest(prompt=prompt, **{"seed": 5, "steps": 2, **options}))


def levels(path: Path) -> NDArray[np.int16]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int16)


def picture(prompt: str | None = "A [dog] box", **options: Any) -> NDArray[np.int16]:
    """The levels of the one picture that is drawn."""
    return levels(gen(prompt, **options).pictures[0].path)


def refused(kind: type[PrismError], prompt: str, **options: Any) -> PrismError:
    """The error that a request ends with, nothing having been drawn."""
    with pytest.raises(kind) as caught:
        gen(prompt, **options)
    assert not list(Path().glob("*.png"))
    return caught.value


class TestPrompts:
    """What a prompt may name, and what it then means."""

    def test_an_unknown_concept_is_answered_with_the_nearest(self) -> None:
        """A misspelt name is an error with the name that was meant."""
        keep("mydog")

        error = refused(ConceptNotFound, "A [mydig] box")

        assert "'mydig'" in error.message
        assert "'mydog'" in error.hint

    def test_a_residual_that_the_concept_lacks_is_refused(self) -> None:
        """[dog:residual:9] of two photos: the hint says how they are numbered."""
        keep("dog")

        error = refused(PromptRefused, "A [dog:residual:9] box")

        assert "residual 9" in error.message
        assert "0 to 1" in error.hint

    @pytest.mark.parametrize("prompt", ["a box", "[dog:0] box", "[plain] box"])
    def test_per_token_where_no_lora_acts_is_the_sum(self, prompt: str) -> None:
        """There is nothing to confine."""
        keep("dog", lora=True)
        keep("plain", 2)

        kept = picture(prompt, method="per-token", out=Path("one.png"))

        assert (kept == picture(prompt, out=Path("other.png"))).all()

    def test_a_scale_is_a_number_that_a_prompt_could_say(self) -> None:
        keep("dog", lora=True)

        for scale in (float("nan"), float("inf"), 99.0):
            assert "--scale" in refused(OptionRefused, "[dog]", scale=scale).message

    def test_a_picture_too_large_for_the_machine_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of the practice base too, beyond its own size; nothing is loaded for it."""
        small = replace(runtime.machine(), kind="cpu", memory=2**30, free=2**30)
        monkeypatch.setattr(runtime, "machine", lambda: small)

        gen("a box").pictures[0].path.unlink()
        assert refused(TooLarge, "a box", size=(2048, 2048)).hint

    def test_a_residual_draws_what_is_special_to_its_photo(self) -> None:
        """Each residual is a prompt of its own."""
        keep("dog")

        one, other = picture("[dog:residual:0]"), picture("[dog:residual:1]")

        assert (one != other).any()

    def test_escaped_brackets_are_words(self) -> None:
        r"""``\[dog\]`` names no concept: it is read as the text "[dog]"."""
        result = gen(r"a \[dog\] box")

        assert read_record(result.pictures[0].path).concepts == {}
        assert result.pictures[0].path.name == "picture-5.png"

    def test_a_prompt_longer_than_the_base_reads_is_refused(self) -> None:
        """The words that would fall off are named."""
        keep("dog")

        error = refused(PromptRefused, "A [dog] " + "red " * 29 + "castle")

        assert "reads 30" in error.message
        assert "castle" in error.hint

    def test_a_negative_prompt_is_avoided(self) -> None:
        """It takes the place of the null prompt, and may name concepts too."""
        keep("dog")

        plain, without = picture(), picture(negative="red [dog]")

        assert (plain != without).any()

    def test_what_is_avoided_brings_no_lora_in(self) -> None:
        """A LoRA acts on the whole picture, so that of a concept to be avoided stays out."""
        keep("dog", 1, lora=True)
        keep("cat", 2, lora=True)
        keep("bare", 2)  # the same tokens

        avoided = picture("A [dog] box", negative="[cat]")

        assert np.array_equal(avoided, picture("A [dog] box", negative="[bare]"))
        assert (avoided != picture("A [dog] box")).any()

    def test_a_negative_prompt_that_would_do_nothing_is_refused(self, tmp_path: Path) -> None:
        """Without guidance, and on a base whose guidance is built in."""
        flux = str(save_tiny_flux(tmp_path / "flux"))

        idle = refused(OptionRefused, "a dog", negative="red", guidance=1.0)
        built_in = refused(OptionRefused, "a dog", negative="red", base=flux)

        assert "at guidance 1" in idle.message and "--guidance" in idle.hint
        assert "built in" in built_in.message and "--negative" in built_in.hint
        prepare_drawing(DrawRequest(prompt="a dog", negative="", base=flux, size=(32, 32)))

    def test_no_prompt_is_refused(self) -> None:
        """There is nothing to draw."""
        with pytest.raises(PromptRefused, match="nothing to draw"):
            generate(DrawRequest())


class TestWeights:
    """How much of a concept's LoRA a picture has."""

    def test_a_weight_in_the_prompt_is_of_the_lora(self) -> None:
        """Weight 0 is the token alone, and as good as a concept that has no LoRA."""
        keep("dog", 1, lora=True)
        keep("plain", 1)

        without = picture("A [dog:0] box")

        assert abs(without - picture("A [plain] box")).max() <= ANOTHER_BATCH
        assert abs(without - picture("A [dog:0.5] box")).max() > 10

    def test_a_scale_is_the_weight_of_those_without_one(self) -> None:
        """--scale 0.5 is [dog:0.5], and a weight in the prompt is over it."""
        keep("dog", 1, lora=True)

        half = picture("A [dog:0.5] box")

        assert np.array_equal(picture("A [dog] box", scale=0.5), half)
        assert np.array_equal(picture("A [dog:0.5] box", scale=2.0), half)

    def test_two_concepts_are_drawn_together(self) -> None:
        """The picture depends on both LoRAs."""
        keep("dog", 1, lora=True)
        keep("cat", 2, lora=True)

        both = picture("A [dog] and a [cat]")

        assert (both != picture("A [dog] and a [cat:0]")).any()
        assert (both != picture("A [dog:0] and a [cat]")).any()

    @pytest.mark.parametrize(
        ("prompt", "options", "advice"),
        [
            ("[dog] [cat]", {}, "[dog:0.7] [cat:0.7], or --method per-token"),
            ("[dog:-3] [cat]", {}, "[dog:-1.05] [cat:0.35], or --method per-token"),
            ("[dog] [cat] [fox]", {}, "[dog:0.46] [cat:0.46] [fox:0.46], or --method per-token"),
            ("[dog] [cat]", {"compiled": True}, "[dog:0.7] [cat:0.7]"),
            ("[dog] [cat]", {"negative": "[dog]"}, "[dog:0.7] [cat:0.7], or --method per-token"),
            ("[dog:0.7] [cat:0.7]", {}, None),
            ("[dog] [cat:0]", {}, None),
            ("[dog] [cat]", {"scale": 0.7}, None),
            ("[dog] a cat", {"negative": "[cat]"}, None),
            ("[dog] [cat]", {"method": "sum"}, None),
            ("[dog] [cat]", {"method": "per-token"}, None),
            ("[dog] [tokens]", {}, None),
        ],
    )
    def test_heavy_loras_are_advised_on(
        self, prompt: str, options: dict[str, Any], advice: str | None
    ) -> None:
        """Of a sum that weighs more than what is advised, unless the sum was asked for."""
        for seed, name in enumerate(("dog", "cat", "fox")):
            keep(name, seed, lora=True)
        keep("tokens")
        events: list[Event] = []

        prepare_drawing(DrawRequest(prompt=prompt, seed=5, **options), events.append)

        said = [e.text for e in events if isinstance(e, Note) and "spoil" in e.text]
        begin = "if the concepts spoil each other, lower their weights: "
        assert said == ([] if advice is None else [begin + advice])

    def test_two_weights_of_one_concept_are_refused(self) -> None:
        """A model has one weight of a LoRA in a picture."""
        keep("dog")

        assert "two weights" in refused(PromptRefused, "A [dog:0.5] and a [dog:0.6]").message


class TestBases:
    """Concepts meet only on the base that they were trained on."""

    def test_a_concept_is_not_drawn_on_another_base(self, tmp_path: Path) -> None:
        """--base names one that the concept was not trained on."""
        keep("dog")
        folder = save_tiny_pipeline(tmp_path / "other")

        error = refused(BaseMismatch, "A [dog]", base=str(folder))

        assert "local:other" in error.message


class TestSeeds:
    """Every picture has its own, and it is enough."""

    def test_pictures_have_consecutive_seeds(self) -> None:
        """Named for their seeds, and each says its own."""
        keep("dog")

        result = gen(count=3)

        assert [p.seed for p in result.pictures] == [5, 6, 7]
        assert [p.path.name for p in result.pictures] == ["dog-5.png", "dog-6.png", "dog-7.png"]
        assert [read_record(p.path).seed for p in result.pictures] == [5, 6, 7]
        assert result.sheet == Path("dog-5-sheet.png") and result.sheet.is_file()

    def test_the_greatest_seed_is_followed_by_zero(self) -> None:
        """Seeds stay what other tools take."""
        keep("dog")

        assert [p.seed for p in gen(count=2, seed=MAX_SEED).pictures] == [MAX_SEED, 0]

    def test_without_a_seed_every_call_draws_something_else(self) -> None:
        """Chance picks one, and the picture says which."""
        keep("dog")

        one, other = gen(seed=None).pictures[0], gen(seed=None).pictures[0]

        assert one.seed != other.seed  # equal once in four thousand million times
        assert read_record(one.path).seed == one.seed

    def test_a_picture_of_a_batch_is_drawn_again_alone(self) -> None:
        """The third of four, from its file only: the same levels."""
        keep("dog", lora=True)
        third = gen(count=4, guidance=3.0, negative="blue", scale=0.8, steps=4).pictures[2].path

        again = generate(DrawRequest(replay=third)).pictures[0]

        assert (again.seed, again.path.name) == (7, "dog-7-2.png")
        assert abs(levels(again.path) - levels(third)).max() <= ANOTHER_BATCH

    def test_a_picture_alone_is_drawn_again_bit_for_bit(self) -> None:
        """The same request and batch give the same file."""
        keep("dog")
        first = gen().pictures[0].path

        again = generate(DrawRequest(replay=first)).pictures[0].path

        assert again.read_bytes() == first.read_bytes()


class TestReplay:
    """A picture drawn again, and what may have changed since."""

    def replayed(self, path: Path, **options: Any) -> list[str]:
        """The warnings of drawing `path` again."""
        events: list[Event] = []
        generate(DrawRequest(replay=path, **options), events.append)
        return [e.text for e in events if isinstance(e, Note) and e.level == "warning"]

    def test_options_are_over_the_pictures_own(self) -> None:
        """--from with --seed draws the same thing from other noise."""
        keep("dog")
        first = gen(guidance=3.0).pictures[0].path

        record = read_record(generate(DrawRequest(replay=first, seed=9)).pictures[0].path)

        assert (record.seed, record.guidance, record.steps) == (9, 3.0, 2)

    def test_a_concept_that_was_trained_again_is_said(self) -> None:
        """The picture will be another, and the user hears of it."""
        keep("dog", 1)
        first = gen().pictures[0].path
        assert self.replayed(first) == []

        keep("dog", 2)

        assert self.replayed(first) == ["'dog' has been trained again since that picture was drawn"]

    def test_a_picture_is_drawn_again_on_its_own_base(self, tmp_path: Path) -> None:
        """A picture without concepts is drawn where it was first, unless another base is named."""
        folder = save_tiny_pipeline(tmp_path / "other")
        first = gen("a red dog", base=str(folder)).pictures[0].path

        again = generate(DrawRequest(replay=first)).pictures[0].path
        (warning,) = self.replayed(first, base="mini", size=(64, 64))

        assert np.array_equal(levels(first), levels(again))
        assert "local:other" in warning and "mini" in warning

    def test_a_base_that_has_gone_is_said(self, tmp_path: Path) -> None:
        """What cannot be found again is not replaced by another base in silence."""
        folder = save_tiny_pipeline(tmp_path / "other")
        first = gen("a red dog", base=str(folder)).pictures[0].path
        folder.rename(tmp_path / "elsewhere")

        with pytest.raises(BaseNotFound, match="'local:other' is not where it was"):
            generate(DrawRequest(replay=first))


class TestRequests:
    """Sizes, counts and files."""

    def test_a_size_is_width_and_height(self) -> None:
        """--size 96x64 is a picture of 96 by 64 px, and the record says so."""
        path = gen("a red dog", size=(96, 64)).pictures[0].path

        with Image.open(path) as drawn:
            assert drawn.size == (96, 64)
        assert (read_record(path).width, read_record(path).height) == (96, 64)

    @pytest.mark.parametrize("size", [(65, 64), (64, 8), (0, 64), (-64, 64), (64, 8192)])
    def test_a_size_that_the_base_cannot_draw_is_refused(self, size: tuple[int, int]) -> None:
        """The hint says of what sides must be multiples."""
        assert "multiples of 16" in refused(OptionRefused, "a dog", size=size).hint

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"count": 0}, "--count"),
            ({"count": 1001}, "--count"),
            ({"seed": -1}, "--seed"),
            ({"seed": MAX_SEED + 1}, "--seed"),
            ({"steps": 0}, "drawing.steps"),
            ({"guidance": 0.5}, "drawing.guidance"),
            ({"guidance": float("nan")}, "drawing.guidance"),
        ],
    )
    def test_a_number_out_of_range_is_refused(self, options: dict[str, Any], named: str) -> None:
        """Before anything is loaded, and by name."""
        assert named in refused(OptionRefused, "a dog", **options).message

    def test_a_file_that_exists_is_not_written_over(self) -> None:
        """--out names a file that is there: refused before anything is drawn, unless forced."""
        Path("mine.PNG").write_bytes(b"mine")

        with pytest.raises(NameTaken, match=r"mine.PNG exists"):
            gen("a dog", out=Path("mine.PNG"))

        assert Path("mine.PNG").read_bytes() == b"mine"
        gen("a dog", out=Path("mine.PNG"), force=True)
        assert read_record(Path("mine.PNG")).prompt == "a dog"

    @pytest.mark.parametrize("links", [True, False])
    def test_a_file_that_comes_while_it_is_drawn_is_not_written_over(
        self, links: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The picture takes the next free name; one whose name was given is refused."""

        def refuse(*args: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        if not links:
            monkeypatch.setattr(os, "link", refuse)
        catalog_load = catalog.load

        def load(entry: BaseEntry, runtime: Runtime) -> Backbone:
            for name in ("picture-5.png", "mine.png"):
                Path(name).write_bytes(b"another's")
            return catalog_load(entry, runtime)

        monkeypatch.setattr(catalog, "load", load)

        result = gen("A dog", count=2)
        with pytest.raises(NameTaken, match=r"mine\.png exists"):
            gen("A dog", out=Path("mine.png"))

        assert [one.path.name for one in result.pictures] == ["picture-5-2.png", "picture-6.png"]
        assert read_record(Path("picture-5-2.png")).seed == 5
        assert result.sheet == Path("picture-5-2-sheet.png")
        for name in ("picture-5.png", "mine.png"):
            assert Path(name).read_bytes() == b"another's"
        assert not list(Path().glob(".*"))

    def test_several_pictures_of_one_file_name_are_numbered(self) -> None:
        """--out a.png -n 2 writes a-1.png and a-2.png into a folder that need not exist."""
        result = gen("a dog", count=2, out=Path("new/a.png"))

        assert [p.path for p in result.pictures] == [Path("new/a-1.png"), Path("new/a-2.png")]
        assert all(p.path.is_file() for p in result.pictures)

    def test_every_step_of_every_batch_is_reported(self) -> None:
        """Five pictures are two batches on mini: 2 x 2 steps in one stage."""
        events: list[Event] = []

        generate(DrawRequest(prompt="a dog", count=5, seed=1, steps=2), events.append)

        stages = [e for e in events if isinstance(e, StageBegan | StageMoved | StageEnded)]
        assert stages == [
            StageBegan("drawing", 4),
            *(StageMoved("drawing", step) for step in range(1, 5)),
            StageEnded("drawing", 4, "done"),
        ]

    def test_an_error_while_drawing_leaves_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files are written once every picture is there."""

        def fail(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("prism_cli.services.generate.draw", fail)

        with pytest.raises(KeyboardInterrupt):
            gen("a dog")
        assert not list(Path().iterdir())
