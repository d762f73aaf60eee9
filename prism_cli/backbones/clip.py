"""CLIP's text side: a tokenizer and its encoder, reading prompts with learned rows among words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from prism_cli.backbones import splice
from prism_cli.backbones.base import Prompt, Rows
from prism_cli.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Reading:
    """What an encoder makes of B prompts of L tokens.

    last: (B, L, d), after the final norm. penultimate: (B, L, d), what the last layer reads.
    end: (B, d), `last` at each prompt's end-of-text.
    """

    last: Tensor
    penultimate: Tensor
    end: Tensor


@dataclass(frozen=True, slots=True)
class Clip:
    """A text encoder with its tokenizer. name: under which a concept keeps its rows for it."""

    name: str
    tokenizer: CLIPTokenizer
    encoder: CLIPTextModel | CLIPTextModelWithProjection

    @classmethod
    def load(
        cls,
        name: str,
        tokenizer: Path,
        encoder: Path,
        kind: type[CLIPTextModel] | type[CLIPTextModelWithProjection],
    ) -> Clip:
        """Read both from their folders, in fp32; what the libraries raise comes through.

        Two things they would make up for, and are errors here: of a folder without a vocabulary
        transformers makes a tokenizer of three tokens, and weights that a file lacks are random.
        """
        if not any((tokenizer / file).is_file() for file in ("tokenizer.json", "vocab.json")):
            raise FileNotFoundError(f"there is no vocabulary in {tokenizer.name}")
        model, found = kind.from_pretrained(
            encoder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if found["missing_keys"]:
            raise ValueError(f"{encoder.name} lacks weights: {min(found['missing_keys'])}")
        return cls(name, CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True), model)

    def frozen(self, runtime: Runtime) -> Clip:
        """Itself, where text is read.

        In fp32 unless memory is short, as the gradient of the learned rows runs through it.
        """
        place = runtime.text_device or runtime.device
        self.encoder.to(place, runtime.text_dtype).eval().requires_grad_(False)
        return self

    def read(self, prompts: Sequence[Prompt], rows: Rows) -> Reading:
        """Encode B prompts, differentiable in `rows`.

        The end-of-text is found among the tokens as they were laid out. transformers finds it by
        the config's id instead, and for the id 2 of old configs (SD 1.5's, SDXL's) takes the
        largest id for it, which is an added token's.
        Raises PromptRefused when a prompt is longer than the encoder's context.
        """
        layouts = [self.lay_out(prompt, rows) for prompt in prompts]
        ids = splice.input_ids(layouts, filler=self.tokenizer.pad_token_id).to(self.encoder.device)
        with splice.rows_spliced(self.encoder.get_input_embeddings(), layouts, rows, self.name):
            output = self.encoder(ids, output_hidden_states=True)
        end = splice.end_positions(layouts, self.tokenizer.eos_token_id)  # (B,)
        last = output.last_hidden_state
        each = torch.arange(len(end))
        return Reading(
            last, output.hidden_states[-2], last[each.to(last.device), end.to(last.device)]
        )

    def lay_out(self, prompt: Prompt, rows: Rows) -> splice.Layout:
        """The prompt as it is read, as long as the context; PromptRefused if it is longer."""
        return splice.lay_out(self.tokenizer, prompt, rows, self.name)

    def word_rows(self, text: str) -> Tensor:
        """The frozen input-embedding rows of `text`: (m, d)."""
        return self.vocabulary()[splice.word_ids(self.tokenizer, text)].clone()

    def vocabulary(self) -> Tensor:
        """Every frozen input-embedding row: (V, d)."""
        weight: Tensor = self.encoder.get_input_embeddings().weight.detach()
        return weight

    def text_room(self) -> int:
        """How many vectors a prompt can hold, special tokens not included."""
        return splice.text_room(self.tokenizer)
