"""`prism compose`: what is in the archive, what it draws, and what cannot be composed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import (
    BaseNotDownloaded,
    ConceptNotFound,
    NameTaken,
    OptionRefused,
    PrismError,
    PromptRefused,
)
from prism_cli.method.composition import factors_of, rank_of
from prism_cli.method.interference import LayerInterference
from prism_cli.registry.archive import Archive, pack
from prism_cli.registry.store import Registry
from prism_cli.services.attaching import PER_TOKEN, attachments
from prism_cli.services.compose import ComposeRequest, ComposeResult, compose
from prism_cli.services.concept_archive import unpack_lora, unpack_tokens
from prism_cli.services.generate import DrawRequest, generate
from prism_cli.services.interference import (
    INTERFERENCE,
    Fidelity,
    PairInterference,
    fidelities,
    read_interference,
    report,
    written_interference,
)
from prism_cli.services.parts import parts_of
from prism_cli.services.picture_metadata import read_record
from prism_cli.services.recognition import PracticeJudge
from tests.bases import fresh_mini
from tests.services.concepts import keep

NOW = datetime(2026, 1, 31, tzinfo=UTC)
FP32_SUM = 1e-6  # a handful of terms


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the embedded base instead of reading it from disk for every picture."""
    monkeypatch.setattr(catalog, "load", lambda entry, run: fresh_mini())


def archive(name: str) -> Archive:
    return Registry(paths.concepts_dir()).load(name)


def recast(name: str, **changes: Any) -> None:
    """Change the manifest of a concept that is kept."""
    old = archive(name)
    data = pack(dataclasses.replace(old.manifest, **changes), old.members)
    Registry(paths.concepts_dir()).add(data, name, replace=True)


@pytest.fixture
def three() -> None:
    """A dog and a cat, and the style ink."""
    for seed, name in enumerate(("dog", "cat", "ink"), start=1):
        keep(name, seed, lora=True)
    recast("ink", kind="style")


def composed(*names: str, **options: Any) -> ComposeResult:
    """Compose without pictures."""
    request = ComposeRequest(names=names, **{"name": "both", "preview": False, **options})
    return compose(request, now=NOW)


def deltas(name: str) -> dict[str, torch.Tensor]:
    return {k: f.delta for k, f in factors_of(unpack_lora(archive(name))).items()}


def picture(prompt: str, **options: Any) -> bytes:
    """The file that two steps of drawing give."""
    request = DrawRequest(prompt=prompt, **{"seed": 5, "steps": 2, "force": True, **options})
    path = generate(dataclasses.replace(request, out=Path("x.png"))).pictures[0].path
    with Image.open(path) as shown:
        return shown.tobytes()


def refused(kind: type[PrismError], *names: str, **options: Any) -> PrismError:
    """The error that a request ends with, nothing having been kept."""
    before = Registry(paths.concepts_dir()).names()
    with pytest.raises(kind) as caught:
        composed(*names, **options)
    assert Registry(paths.concepts_dir()).names() == before
    assert caught.value.hint
    return caught.value


@pytest.mark.usefixtures("three")
class TestArchive:
    """What a composition keeps."""

    def test_the_delta_is_the_weighted_sum(self) -> None:
        """In every layer, of the parents' deltas."""
        composed("dog", "ink", weights=(1.0, -0.8))

        dog, ink, both = deltas("dog"), deltas("ink"), deltas("both")

        assert both.keys() == dog.keys()
        for layer, delta in both.items():
            expected = dog[layer] - 0.8 * ink[layer]
            torch.testing.assert_close(delta, expected, atol=FP32_SUM, rtol=1e-5)

    def test_targets_and_parents_are_recorded(self) -> None:
        """Both targets bit for bit, the ranks, kinds and weights, and the phrase by kinds."""
        result = composed("ink", "dog", weights=(0.8, 1.0))

        manifest, tokens = (
            archive("both").manifest,
            load(archive("both").members["tokens.safetensors"]),
        )
        assert (manifest.kind, manifest.phrase) == ("composition", "[ink] picture of [dog]")
        assert [(p.name, p.weight, p.rank, p.kind) for p in manifest.parents] == [
            ("dog", 1.0, 2, "subject"),
            ("ink", 0.8, 2, "style"),
        ]
        assert manifest.lora is not None and manifest.lora.rank == manifest.lora.alpha == 4
        for name in ("dog", "ink"):
            target = unpack_tokens(archive(name)).target["clip_l"]
            assert torch.equal(tokens[f"target.{name}.clip_l"], target)
        assert "residuals.safetensors" not in archive("both").members
        assert (result.energy, result.rank) == (1.0, 4)

    def test_order_does_not_matter(self) -> None:
        """Two subjects the other way round are the same tensors; only their phrase differs."""
        composed("dog", "cat", weights=(1.0, 0.5), name="one")
        composed("cat", "dog", weights=(0.5, 1.0), name="other")

        one, other = archive("one"), archive("other")
        assert one.members == other.members
        assert one.manifest.metrics == other.manifest.metrics
        assert one.manifest.phrase == "[dog] next to [cat]"
        assert other.manifest.phrase == "[cat] next to [dog]"

    def test_nor_does_that_of_parts_that_are_merged_already(self) -> None:
        composed("dog", "ink", rank=2, name="first")
        composed("dog", "cat", rank=2, name="second")
        composed("first", "second", name="one")
        composed("second", "first", name="other")

        assert archive("one").members == archive("other").members

    def test_what_is_merged_already_is_not_confined_to_its_token(self) -> None:
        """Nor drawn alone, to be compared with."""
        composed("dog", "ink", rank=2)
        error = refused(OptionRefused, "both", "cat", method="per-token", name="all")
        assert "cannot be told apart" in error.message

        found = composed("both", "cat", name="all", preview=True, steps=1).interference
        assert not found.fidelity and "merged before" in found.unscored

    def test_the_same_request_gives_the_same_bytes(self) -> None:
        """Nothing in it is of chance or of the machine."""
        data = [composed("dog", "ink", force=True).path for _ in range(2)]
        assert data[0] == data[1] and data[0] is not None
        first = data[0].read_bytes()
        composed("dog", "ink", force=True)

        assert data[0].read_bytes() == first

    def test_a_composition_is_composed_further(self) -> None:
        """It is taken apart: three parents, whose weights multiply, and the exact sum."""
        composed("dog", "ink", weights=(1.0, 0.5))
        composed("both", "cat", weights=(2.0, 1.0), name="all")

        parents = archive("all").manifest.parents
        assert [(p.name, p.weight) for p in parents] == [("cat", 1.0), ("dog", 2.0), ("ink", 1.0)]
        dog, ink, cat = (deltas(name) for name in ("dog", "ink", "cat"))
        for layer, delta in deltas("all").items():
            expected = 2 * dog[layer] + ink[layer] + cat[layer]
            torch.testing.assert_close(delta, expected, atol=5 * FP32_SUM, rtol=1e-5)

    def test_a_concept_that_comes_in_twice_is_one(self) -> None:
        """By itself and in a composition: its weights add up, and its rows are there once."""
        composed("dog", "ink", weights=(1.0, 0.5))
        composed("both", "ink", weights=(1.0, 0.25), name="all")

        parents = archive("all").manifest.parents
        assert [(p.name, p.weight, p.rank) for p in parents] == [("dog", 1.0, 2), ("ink", 0.75, 2)]
        for layer, delta in deltas("all").items():
            expected = deltas("dog")[layer] + 0.75 * deltas("ink")[layer]
            torch.testing.assert_close(delta, expected, atol=5 * FP32_SUM, rtol=1e-5)

    def test_a_rank_keeps_the_strongest_and_says_how_much(self) -> None:
        """Cut, it is of that rank; its parents cannot be told apart, further or per token."""
        result = composed("dog", "ink", rank=2)
        further = composed("both", "cat", name="all")

        assert 0.3 < result.energy < 1
        assert {f.rank for f in factors_of(unpack_lora(archive("both"))).values()} == {2}
        assert [p.rank for p in archive("both").manifest.parents] == [0, 0]
        assert [p.rank for p in archive("all").manifest.parents] == [0, 0, 0]
        assert further.rank == 4
        with pytest.raises(OptionRefused, match="cannot be told apart"):
            picture("[both]", method="per-token")

    @pytest.mark.parametrize("method", ["ties", "dare"])
    def test_other_merges(self, method: str) -> None:
        """They are of the rank that is asked for, and not the sum."""
        chance = {"seed": 1} if method == "dare" else {}
        result = composed("dog", "ink", method=method, rank=3, **chance)

        lora = factors_of(unpack_lora(archive("both")))
        layer = next(iter(lora))
        assert rank_of(lora) == result.rank == 3 and 0 < result.energy < 1
        assert not torch.allclose(lora[layer].delta, deltas("dog")[layer] + deltas("ink")[layer])
        assert archive("both").manifest.options["compose.method"].value == method

    def test_concepts_without_a_lora(self) -> None:
        """Tokens alone make a composition as well."""
        keep("plain", 4)
        keep("bare", 5)

        composed("plain", "bare")

        assert archive("both").manifest.lora is None

    def test_a_base_that_is_not_here_is_asked_for_only_to_draw_with(self) -> None:
        """Archives say all that merging takes; on another base than mini nothing is drawn."""
        for seed, name in enumerate(("dog", "ink"), start=1):
            keep(name, seed, lora=True, base="owner/photographs", revision="0" * 40)
        recast("ink", kind="style")

        assert composed("dog", "ink", dry_run=True).path is None
        whole = composed("dog", "ink", preview=None)
        assert whole.base == "owner/photographs"
        assert whole.phrase == "[dog] in the style of [ink]"
        refused(BaseNotDownloaded, "dog", "ink", name="drawn", preview=True)

    def test_a_dry_run_reports_and_keeps_nothing(self) -> None:
        """The report is of factors and tokens alone."""
        result = composed("dog", "ink", dry_run=True)

        assert result.path is None and "both" not in Registry(paths.concepts_dir()).names()
        (pair,) = result.interference.pairs
        assert (pair.one, pair.other) == ("dog", "ink") and len(pair.layers) == len(deltas("dog"))
        assert result.interference.unscored

    def test_a_clash_is_named_with_what_to_try(self) -> None:
        """A concept and its copy are one direction in every layer."""
        keep("copy", 1, lora=True)

        found = composed("dog", "copy", dry_run=True).interference

        (pair,) = found.pairs
        assert pair.cosine == pytest.approx(1, abs=1e-6)
        assert pair.tokens["clip_l"] == pytest.approx(1, abs=1e-6)
        assert len(pair.clashes) == len(pair.layers)
        assert pair.layers[0].layer in found.advice[0]
        assert found.advice[1:] == (
            "try prism compose dog copy --weights 0.7,0.7",
            "or prism compose dog copy --method per-token",
        )

    def test_what_is_drawn_has_the_last_word(self) -> None:
        """Layers that clash are no reason for a word where nothing was lost; else who gives way."""
        keep("copy", 1, lora=True)
        pairs = composed("dog", "copy", dry_run=True).interference.pairs

        def advice(**lost: float) -> tuple[str, ...]:
            found = tuple(
                Fidelity(name=name, measure="design", alone=0.9, composed=0.9 - loss)
                for name, loss in lost.items()
            )
            return report(pairs, found, "", {"dog": 1.0, "copy": 0.8}, "").advice

        assert advice(dog=0.0, copy=0.05) == ()
        assert advice(dog=0.0, copy=0.5)[-1] == "try prism compose dog copy --weights 0.6,0.8"
        assert advice(dog=0.5, copy=0.5)[-1] == "try prism compose dog copy --weights 0.7,0.56"


@pytest.mark.usefixtures("three")
class TestDrawing:
    """What `gen` makes of a composition."""

    def test_weight_zero_draws_the_other_alone(self) -> None:
        """Bit for bit."""
        composed("dog", "ink", weights=(1.0, 0.0))

        assert picture("A [both:dog] box") == picture("A [dog] box")

    def test_weight_zero_has_no_share_of_the_picture(self) -> None:
        """Per token: the LoRA of a concept at 0 takes no place from the other."""
        one, other = Registry(paths.concepts_dir()).load("dog"), archive("ink")
        weights = {"dog": 1.0, "ink": 0.0}

        both = attachments({"dog": one, "ink": other}, weights, PER_TOKEN)

        loras, slots = attachments({"dog": one}, weights, PER_TOKEN)
        assert slots is not None and both[0].keys() == loras.keys() == {"dog"}
        assert both[1] == {"dog": slots["dog"]}

    def test_a_name_stands_for_the_phrase(self) -> None:
        """[both] is its own words and tokens, drawn as on the fly up to rounding."""
        composed("dog", "ink")

        whole = picture("[both] at night")

        assert whole == picture("[both:ink] picture of [both:dog] at night")
        fly = picture("[ink] picture of [dog] at night")
        assert max(abs(a - b) for a, b in zip(whole, fly, strict=True)) <= 2

    def test_a_picture_is_drawn_again(self) -> None:
        """Its record names the composition, and per-token is kept in it."""
        composed("dog", "ink")
        first = picture("[both]", method="per-token")
        Path("x.png").rename("first.png")

        again = generate(DrawRequest(replay=Path("first.png"), out=Path("y.png"))).pictures[0]

        with Image.open(again.path) as shown:
            assert shown.tobytes() == first

    def test_a_composition_made_per_token_is_drawn_so(self) -> None:
        """Unless the sum is asked for; the picture says which."""
        composed("dog", "ink", method="per-token")

        for asked, method in ((None, "per-token"), ("sum", "sum")):
            picture("[both]", method=asked, steps=1)
            assert read_record(Path("x.png")).method == method

    def test_an_unknown_token_of_a_composition(self) -> None:
        """The hint lists those there are."""
        composed("dog", "ink")

        for prompt, hint in (("[both:cat]", "[both:dog], [both:ink]"), ("[dog:cat]", "[dog]")):
            with pytest.raises(PromptRefused, match="no token called 'cat'") as caught:
                picture(prompt)
            assert hint in caught.value.hint
        with pytest.raises(PromptRefused, match="has no residuals"):
            picture("[both:residual:0]")

    def test_the_preview_and_the_likeness(self) -> None:
        """On the practice base every concept is drawn alone and with the others, and judged."""
        result = composed("dog", "ink", preview=True, steps=1)

        assert archive("both").members["preview.png"] == result.preview
        measures = [(f.name, f.measure) for f in result.interference.fidelity]
        assert measures == [("dog", "design"), ("ink", "style")]
        again = read_interference(archive("both").manifest.metrics[INTERFERENCE])
        assert again is not None
        assert [(k.name, k.alone, k.composed) for k in again.likeness] == [
            (f.name, round(f.alone, 4), round(f.composed, 4)) for f in result.interference.fidelity
        ]

    def test_a_report_of_many_layers_is_read_again(self) -> None:
        """Seven LoRAs of SDXL share 560 layers in each of 21 pairs, and a manifest is small."""
        layers = tuple(
            LayerInterference(
                layer=f"unet.down_blocks.1.attentions.0.transformer_blocks.{k}.attn1.to_k",
                cosine=0.5 - k / 1000,
                reads=0.9 - k / 1000,
                writes=0.9,
            )
            for k in range(560)
        )
        pair = PairInterference(
            one="a" * 63, other="b" * 63, cosine=0.1, tokens={"clip_l": 0.1}, layers=layers
        )
        found = report((pair,) * 21, (), "", {}, "")

        again = read_interference(written_interference(found))

        assert again is not None and len(again.pairs) == 21
        assert all(p.changed == 560 for p in again.pairs)
        assert all(p.clashes == len(pair.clashes) > len(p.layers) for p in again.pairs)
        assert [each.layer for each in again.pairs[0].layers] == [
            each.layer for each in layers[: len(again.pairs[0].layers)]
        ]
        whole = read_interference(written_interference(report((pair,), (), "", {}, "")))
        assert whole is not None and len(whole.pairs[0].layers) == 560

    def test_likeness_is_that_of_the_pictures(self) -> None:
        """A concept whose pictures are the composition's keeps all, and another's are another's.

        What two pictures of one noise have in common is not counted as likeness that was kept.
        """
        judge = PracticeJudge.of(catalog.resolve("mini"))
        parts = parts_of({name: archive(name) for name in ("cat", "dog")}, {"cat": 1, "dog": 1})
        folder = Path(__file__).parents[2] / "examples" / "zuzu"
        mine, others = [
            [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))[k:4:2]]
            for k in range(2)
        ]
        drawn = [picture.transpose(Image.Transpose.ROTATE_180) for picture in others]

        same, other = fidelities(judge, parts.concepts, [mine, drawn], mine, {"dog": "left"})

        assert same.composed == pytest.approx(same.alone) and same.alone > 0.5
        assert other.composed < other.alone and (same.halved, other.halved) == (False, True)


@pytest.mark.usefixtures("three")
class TestRefusals:
    """What cannot be composed, and why."""

    @pytest.mark.parametrize(
        ("names", "options", "text"),
        [
            (("dog",), {}, "two concepts or more"),
            (("dog", "dog"), {}, "named twice"),
            (("dog", "cat"), {"weights": (1.0,)}, "1 weights for 2 concepts"),
            (("dog", "cat"), {"weights": (1.0, 99.0)}, "between -10 and 10"),
            (("dog", "cat"), {"method": "svd"}, "no method 'svd'"),
            (("dog", "cat"), {"rank": 0}, "--rank must be between"),
            (("dog", "cat"), {"rank": 2, "method": "per-token"}, "keeps apart"),
            (("dog", "cat"), {"density": 0.5}, "--density is of ties and dare"),
            (("dog", "cat"), {"density": 1.5, "method": "ties"}, "between 0 and 1"),
            (("dog", "cat"), {"steps": 0}, "drawing.steps must be between"),
            (("dog", "cat"), {"seed": 3}, "--seed is of dare's chance"),
        ],
    )
    def test_options(self, names: tuple[str, ...], options: dict[str, Any], text: str) -> None:
        """Each contradiction has its sentence."""
        assert text in refused(OptionRefused, *names, **options).message

    def test_names(self) -> None:
        """One that is unknown, one that is taken, and one that means a weight in a prompt."""
        keep("7", 4)

        refused(ConceptNotFound, "dog", "cut")
        refused(NameTaken, "dog", "cat", name="ink")
        refused(NameTaken, "dog", "cat", name="dog", force=True)
        assert "[name:7] means" in refused(OptionRefused, "dog", "7").message

    def test_a_phrase_names_every_concept_and_no_other(self) -> None:
        """The hint has one that does."""
        for phrase in ("[dog]", "[dog] [cat] [ink]", "[dog:0.5] [cat]", "a box"):
            error = refused(PromptRefused, "dog", "cat", phrase=phrase)
            assert "[dog] next to [cat]" in error.hint

    def test_two_concepts_of_one_name(self) -> None:
        """A composition of a concept that has been trained again since does not mix with it."""
        composed("dog", "ink")
        keep("dog", 9, lora=True)

        assert "two different" in refused(OptionRefused, "both", "dog", name="all").message
