"""The concepts on disk: one ``.prism`` archive each, in one folder, with no index beside them."""
