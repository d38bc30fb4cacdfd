"""Starts the command line; ``python -m curvcli`` and the console script both come here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run, and exit with what the command says; this process is curvcli's own."""
    from curvcli.cli.main import run

    sys.exit(run(own_process=True))


if __name__ == "__main__":
    main()
