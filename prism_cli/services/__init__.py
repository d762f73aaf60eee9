"""The verbs: each wires the method to bases, photos and the registry. None prints."""
