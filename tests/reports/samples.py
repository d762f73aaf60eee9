"""A report with every section, its texts as hostile as an archive's may be."""

from __future__ import annotations

import dataclasses

from prism_cli.reports.model import (
    Caption,
    Curve,
    DrawnPrompt,
    Evaluation,
    Interference,
    InterferingLayer,
    InterferingPair,
    KeptLikeness,
    Matrix,
    Picture,
    PromptResult,
    Rate,
    Report,
    Satisfaction,
    Score,
    Setting,
    TokenGrid,
    TokenRow,
)
from tests.registry.samples import png

NASTY = '<script>alert(1)</script> | *bold* "quoted" & \n [link](javascript:x)'
LONG = "photograph" * 12


def picture(label: str = "a picture") -> Picture:
    """Two pixels."""
    return Picture(label=label, data=png(), mime="image/png", width=2, height=1)


RESULT = PromptResult(
    prompt="a [mydog] in the snow",
    plain="a dog in the snow",
    text="a dog in the snow",
    alignment=0.3125,
    base_alignment=0.25,
    pictures=("drawn/concept-00-0.png",),
    base_pictures=("drawn/base-00-0.png",),
)
EVALUATION = Evaluation(
    created="2026-01-31T12:00:00Z",
    base="mini",
    revision="0123456789ab",
    prompt_list="DreamBench, objects",
    word="dog",
    count=4,
    seed=0,
    steps=25,
    guidance=7.5,
    references=2,
    held_out=1,
    scores=(
        Score(
            name="CLIP-T",
            encoder="CLIP ViT-B/32",
            meaning="prompt to picture",
            wanted="at the base's own or above",
            value=0.3125,
            base=0.25,
        ),
        Score(
            name="DINO",
            encoder="DINO ViT-S/16",
            meaning="pictures to photos",
            wanted="above the base's own",
            value=0.5,
            base=0.125,
            held_out=0.75,
        ),
    ),
    prompts=(RESULT,),
    target=("drawn/target-00-0.png",),
    residuals=("drawn/residual-00-0.png",),
    both=("drawn/both-00-0.png",),
    satisfaction=Satisfaction(
        judge="gemini:gemini-3.8-flash",
        rates=(
            Rate(
                criterion="Concept Fidelity",
                satisfied=3,
                answered=4,
                unanswered=1,
                share=0.75,
                low=0.3006,
                high=0.9544,
            ),
            Rate(
                criterion="Text Alignment",
                satisfied=0,
                answered=0,
                unanswered=5,
                share=None,
                low=None,
                high=None,
            ),
        ),
        verdicts=(),
    ),
)
FULL = Report(
    name="mydog",
    kind="subject",
    created="2026-01-31T12:00:00Z",
    prism_version="0.1.0",
    base="mini",
    revision="0123456789ab",
    facts={"learned from": "2 photos", "LoRA": "rank 4"},
    preview=picture(),
    references=(picture("photo 0"), picture("photo 1")),
    held_out=(picture("held out 0"),),
    curves=(
        Curve(stage="tokens", ended="came to rest after 20 steps", points=((0, 1), (10, 0.5))),
        Curve(stage="lora", ended="reached its cap after 0 steps", points=((0, 0.5),)),
    ),
    captions=(
        Caption(photo="a" * 12, text=NASTY, source="sidecar"),
        Caption(photo="b" * 12, text=LONG, source="sidecar"),
    ),
    settings=(
        Setting(name="finetuning.evaluation_times", value="2", source="default"),
        Setting(name="class", value=LONG, source="flag"),
    ),
    use=(('prism gen "A [mydog] box" -n 4', "Draw it."),),
    evaluation=EVALUATION,
    grid=TokenGrid(
        target=(picture("target"),),
        rows=(TokenRow(reference=picture(), residual=picture(), both=picture()),),
    ),
    drawn=(DrawnPrompt(result=RESULT, pictures=(picture(),) * 4, base=picture()),),
    leakage=Matrix(
        labels=("photo 0", "photo 1"), values=((0.0, 0.5), (0.25, 1.0)), note="Low is good."
    ),
    interference=Interference(
        pairs=(
            InterferingPair(
                one="dog",
                other=NASTY,
                cosine=-0.125,
                tokens={"clip_l": 0.5, "t5": 0.25},
                changed=2,
                clashes=1,
                layers=(
                    InterferingLayer(
                        layer=LONG, cosine=-0.75, reads=0.5, writes=0.25, clashes=True
                    ),
                    InterferingLayer(
                        layer="a.to_k", cosine=0.125, reads=0.0, writes=1.0, clashes=False
                    ),
                ),
            ),
        ),
        likeness=(KeptLikeness(name="dog", measure="design", alone=0.75, composed=0.5),),
        advice=(NASTY, "try a lower weight of one of them"),
    ),
)
BARE = dataclasses.replace(
    FULL,
    preview=None,
    references=(),
    held_out=(),
    curves=(),
    evaluation=None,
    grid=None,
    drawn=(),
    leakage=None,
    interference=None,
)
