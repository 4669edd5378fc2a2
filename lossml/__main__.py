"""Run the command line as `python -m lossml`."""

from lossml.cli.main import main

if __name__ == "__main__":
    main()
