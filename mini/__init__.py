"""The recipe that made the embedded base: run these modules from the root of the repository."""
