"""``python -m tinycompile``."""

from tinycompile.cli import main

if __name__ == "__main__":
    main()
