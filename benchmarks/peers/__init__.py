"""Ways to learn a concept, side by side on one base: prism and its peers in their plainest form."""
