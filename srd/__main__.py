"""`python -m srd`."""

from srd.cli import program

program()
