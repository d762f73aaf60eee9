"""ConceptPrism, a file for each piece of the paper. Knows of a base only its protocol."""
