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
