"""`python -m reviewpulse` is the same as `reviewpulse`."""

from reviewpulse.cli import main

main()
