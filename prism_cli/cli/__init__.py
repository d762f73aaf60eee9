"""The commands. Heavy modules are imported inside them, so that `prism list` starts at once."""
