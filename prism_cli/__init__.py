"""prism: learn a concept from a few photos and draw it anywhere."""

__version__ = "0.1.0"
