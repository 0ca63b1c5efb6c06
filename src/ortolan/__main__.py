"""``python -m ortolan``: the console program."""

from .cli import main

main()
