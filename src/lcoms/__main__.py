"""`python -m lcoms` does what `lcoms` does."""

from lcoms.cli.main import main

if __name__ == "__main__":
    main()
