"""`python -m trafficvault` is the command line."""

from trafficvault.cli import main

main()
