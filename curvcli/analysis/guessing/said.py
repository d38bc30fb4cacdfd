"""What was guessed, why, and what is left to the person who knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curvcli.text import cut, printable
from curvcli.wording import in_shell

_MOST_TOLD = 8
_MOST_VALUE = 160

# Asks a person: the question, the answers, and the one that is taken without; returns one of the answers.
Ask = Callable[[str, Sequence[str], str], str]


@dataclass(frozen=True)
class Guess:
    """One entry of the spec.

    Attributes:
        place: of the spec: ``inputs.x``, ``target``, ``loss``.
        value: that it has there, as a person reads it.
        why: this one.
        others: that it might have as well, where nothing decides; empty where something does.
        advice: how to name another.
    """

    place: str
    value: str
    why: str
    others: tuple[str, ...] = ()
    advice: str = ""

    @property
    def decided(self) -> bool:
        """Whether nothing else is likely."""
        return not self.others

    @property
    def text(self) -> str:
        """On one line, as in the comments of the spec; options as in a shell."""
        shown = f"{self.place}: {cut(self.value, _MOST_VALUE)}: {self.why}"
        if self.others:
            some = ", ".join(cut(one) for one in self.others[:_MOST_TOLD])
            some += f" … ({len(self.others)} in all)" if len(self.others) > _MOST_TOLD else ""
            shown = f"undecided: {shown}; it may be {some}{f'. {self.advice}' if self.advice else ''}"
        return printable(in_shell(shown))


class Guesses:
    """Collects guesses, says each as it is made, and asks where a person can be asked.

    Attributes:
        made: in the order in which they were.
        mistakes: what keeps the spec from being written.
    """

    def __init__(self, say: Callable[[str], None], ask: Ask | None = None) -> None:
        self.made: list[Guess] = []
        self.mistakes: list[str] = []
        self._say, self._ask = say, ask

    @property
    def undecided(self) -> tuple[Guess, ...]:
        """Those that a person should look at."""
        return tuple(guess for guess in self.made if not guess.decided)

    def add(self, place: str, value: str, why: str) -> None:
        """What is decided."""
        self._made(Guess(place, value, why))

    def choose(self, place: str, answers: Sequence[str], why: str, advice: str = "") -> int:
        """Take one of several answers: the one that is named by who is asked, else the first.

        Args:
            place: of the spec.
            answers: the likeliest first; an only one is decided.
            why: the first.
            advice: how to name another.

        Returns:
            Its position.
        """
        if len(answers) == 1:
            self.add(place, answers[0], why)
            return 0
        if self._ask is not None:
            chosen = list(answers).index(self._ask(f"{place} ({why})", answers, answers[0]))
            self.add(place, answers[chosen], "as answered")
            return chosen
        self._made(Guess(place, answers[0], why, tuple(answers[1:]), advice))
        return 0

    def doubt(
        self, place: str, value: str, why: str, others: Sequence[str], advice: str = "Edit it in the spec."
    ) -> None:
        """What nothing decides, and a person can say in the spec alone."""
        self._made(Guess(place, value, why, tuple(others), advice))

    def mistake(self, text: str) -> None:
        """What can't be guessed, and what to do."""
        if text not in self.mistakes:
            self.mistakes.append(text)

    def _made(self, guess: Guess) -> None:
        self.made.append(guess)
        self._say(guess.text)
