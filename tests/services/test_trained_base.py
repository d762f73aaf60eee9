"""Every command draws a concept on the very base that it was trained on, or says what mends it."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from prism_cli.backbones import catalog
from prism_cli.errors import BaseMismatch, BaseNotFound
from prism_cli.services.compose import ComposeRequest, compose
from prism_cli.services.evaluate import EvalRequest, prepare_evaluation
from prism_cli.services.generate import DrawRequest, prepare_drawing
from prism_cli.services.inspect import InspectRequest, plan_inspection
from prism_cli.services.transfer import TransferRequest, plan_transfer
from tests.services.concepts import keep

OLD = "0123456789ab"
COMMANDS: dict[str, Callable[[], object]] = {
    "gen": lambda: prepare_drawing(DrawRequest(prompt="a [old]")),
    "gen of two": lambda: prepare_drawing(DrawRequest(prompt="a [new] and an [old]")),
    "compose": lambda: compose(ComposeRequest(names=("new", "old"), dry_run=True)),
    "compose, the old one first": lambda: compose(
        ComposeRequest(names=("old", "new"), dry_run=True)
    ),
    "transfer": lambda: plan_transfer(TransferRequest(name="old", nouns=("box",))),
    "inspect": lambda: plan_inspection(InspectRequest(name="old")),
    "eval": lambda: prepare_evaluation(EvalRequest(name="old")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_concept_of_another_revision_is_refused(command: str) -> None:
    """The one that is named is the one to train again, and on the base that is here."""
    keep("new", 1, lora=True)
    keep("old", 2, lora=True, revision=OLD)

    with pytest.raises(BaseMismatch) as caught:
        COMMANDS[command]()

    assert "'old'" in caught.value.message and OLD in caught.value.message
    assert catalog.resolve("mini").revision in caught.value.message
    assert "prism train PHOTOS --name old --base mini --force" in caught.value.hint


def test_concepts_of_two_bases_are_refused() -> None:
    """With the command that trains one on the other's, whether that base is here or not."""
    keep("dog", 1)
    keep("cat", 2, base="owner/name", revision="a" * 40)

    with pytest.raises(BaseMismatch) as caught:
        prepare_drawing(DrawRequest(prompt="a [cat] and a [dog]"))

    assert "owner/name" in caught.value.message and "mini" in caught.value.message
    assert "prism train PHOTOS --name dog --base owner/name --force" in caught.value.hint


def test_a_base_that_is_a_command_is_quoted() -> None:
    """An archive may name any base, and its hint is there to be pasted."""
    keep("dog", 1)
    keep("cat", 2, base="mini; rm -r ~ #", revision="a" * 40)

    with pytest.raises(BaseMismatch) as caught:
        prepare_drawing(DrawRequest(prompt="a [cat] and a [dog]"))

    words = shlex.split(caught.value.hint.partition(": ")[2])
    assert words[-3:] == ["--base", "mini; rm -r ~ #", "--force"]


def test_a_folder_that_moved_is_named_once() -> None:
    """By the one command that takes it and notes where it is."""
    keep("dog", 1, base="local:gone", revision=OLD)

    with pytest.raises(BaseNotFound) as caught:
        plan_inspection(InspectRequest(name="dog"))

    assert "prism gen PROMPT --base FOLDER" in caught.value.hint
