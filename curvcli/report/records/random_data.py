"""What is said of reports whose samples were drawn at random."""

from __future__ import annotations

from typing import Final

SAID: Final = "drawn at random: the figures say nothing of a trained minimum"
