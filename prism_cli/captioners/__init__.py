"""Where the words come from that residual tokens start as."""
