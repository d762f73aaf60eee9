"""``python -m prism_cli``."""

from prism_cli.cli.main import main

if __name__ == "__main__":
    main()
