"""What language models are asked, word for word."""

from __future__ import annotations

# Supplement, section 10, "Prompt for Scene Description".
SCENE_DESCRIPTION = """\
You are an AI that describes visual scenes in detail. Your mission is to describe a given image \
using 8-32 words of text.

#### Instructions

- **Purpose of Description:** Describe the image in sufficient detail that the original scene can \
be visually **reconstructed based solely on the text description**.
- **Elements to Describe:** You must include not only the main **subject** but also the core \
visual elements that constitute the scene, such as its key **attributes, background, composition, \
lighting, and style**.
- All descriptions must be written in English and be between 8 and 32 words.
"""

OTHER_LENGTH = (
    'This was your answer, of {words} words: "{earlier}". Describe the image in 8-32 words.'
)
"""Added to `SCENE_DESCRIPTION` when the first answer was shorter or longer than it asks for."""

# Supplement, section 12, "Evaluation Prompts".
_JUDGE = (
    "You are an impartial and unambiguous judge who must evaluate the quality of the given picture."
    " You must assign either 1 (satisfies the condition) or 0 (does not). The condition is:"
)
TEXT_ALIGNMENT = (
    f"{_JUDGE} ‘Does the picture reflect the following text prompt?"
    " - Text Prompt: {text_prompt}’ Please output a single digit (1 or 0)."
)
CONCEPT_FIDELITY = (
    f"{_JUDGE} ‘Does the picture faithfully follow the visual details of the source images?’"
    " Please output a single digit (1 or 0)."
)
OVERALL_PREFERENCE = (
    f"{_JUDGE} ‘Considering both the text prompt and the source images, does the given picture"
    " follow both the text prompt and source visual details?’"
    " Please output a single digit (1 or 0)."
)

WHICH_IS_WHICH = "The first image is the given picture; all others are the source images."
"""Added where source images are shown: the paper's prompts do not say which those are."""

TEXT_PROMPT = "- Text Prompt: {text_prompt}"
"""Added to `OVERALL_PREFERENCE`, which speaks of a text prompt and has no place for it."""
