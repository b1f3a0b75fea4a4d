"""`python -m delaminate` is the command `delaminate`."""

from delaminate.cli import main

if __name__ == "__main__":
    main()
