"""Turns a function that calls another for answers into a generator that yields the questions.

A library's solver calls back for every product; an algorithm here has to yield what it asks for. So the solver runs in
a thread of its own, which waits while its question is answered: never do both run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class _AbandonedError(BaseException):
    """Ends the function where it waits."""


class _Talk(Generic[Question, Answer, Result]):
    def __init__(self, function: Callable[[Callable[[Question], Answer]], Result]) -> None:
        self._function = function
        self.questions: SimpleQueue[list[Question]] = SimpleQueue()  # empty: the function has ended
        self.answers: SimpleQueue[list[Answer]] = SimpleQueue()  # empty: nobody listens any more
        self.result: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._function(self._ask))
        except _AbandonedError:
            pass
        except BaseException as error:  # told by the generator
            self.error = error
        self.questions.put([])

    def _ask(self, question: Question) -> Answer:
        self.questions.put([question])
        for answer in self.answers.get():
            return answer
        raise _AbandonedError


def asking(
    function: Callable[[Callable[[Question], Answer]], Result],
) -> Generator[Question, Answer, Result]:
    """Yield what ``function`` asks of the function it is given; return what it returns, raise what it raises."""
    talk = _Talk(function)
    thread = Thread(target=talk.run, daemon=True)
    thread.start()
    try:
        while question := talk.questions.get():
            talk.answers.put([(yield question[0])])
    finally:
        talk.answers.put([])
        thread.join()
    if talk.error is not None:
        raise talk.error
    return talk.result[0]
