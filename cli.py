"""Launcher for a checkout: `python cli.py search --dataset digits` is `lossml search --dataset digits`."""

from lossml.cli.main import main

if __name__ == "__main__":
    main()
