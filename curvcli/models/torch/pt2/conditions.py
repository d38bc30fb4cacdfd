"""The conditions on sizes under which a graph was exported, read as arithmetic and never evaluated as Python.

An exported graph has but one of the ways that a network may take by the shapes of its inputs; for other shapes it would
compute something else, without a word.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from curvcli.models.torch.pt2.fields import MisfitError, shown

Shapes = Mapping[str, tuple[int, ...]]
Term = Callable[[Shapes], Any]
_LONGEST: Final = 4000
_ARITHMETIC: Final[dict[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"max": max, "min": min, "abs": abs}
_ALONE: Final[dict[type[ast.AST], Callable[[Any], Any]]] = {ast.USub: operator.neg, ast.Not: operator.not_}


@dataclass(frozen=True)
class Condition:
    """A condition on the shapes of the inputs.

    Attributes:
        text: as the file has it.
        holds: whether it does for shapes by the inputs' names.
    """

    text: str
    holds: Term


class _FixedError(Exception):
    """It is about an argument that is always the same."""


def conditions_of(texts: Any, inputs: frozenset[str]) -> tuple[Condition, ...]:
    """The conditions of a graph.

    Args:
        texts: comparisons of sizes, such as ``L['x'].size()[0] % 2 == 0``.
        inputs: the names of what is fed.

    Raises:
        MisfitError: a text is more than arithmetic with sizes.
    """
    conditions = []
    for text in texts if isinstance(texts, list) else [texts]:
        try:
            if not isinstance(text, str) or len(text) > _LONGEST:
                raise MisfitError("a condition on its sizes is none that torch.export writes")
            conditions.append(Condition(text, _term(ast.parse(text, mode="eval").body, inputs)))
        except _FixedError:
            continue
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise _unread(str(text)) from error
    return tuple(conditions)


def _unread(text: str) -> MisfitError:
    return MisfitError(f"it was exported under a condition that curvcli does not read ({shown(text)})")


def _term(node: ast.AST, inputs: frozenset[str]) -> Term:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return lambda _: value
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _ALONE:
            alone, inner = _ALONE[type(op)], _term(operand, inputs)
            return lambda shapes: alone(inner(shapes))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            joined, one, other = _ARITHMETIC[type(op)], _term(left, inputs), _term(right, inputs)
            return lambda shapes: joined(one(shapes), other(shapes))
        case ast.BoolOp(op=op, values=values):
            terms, every = [_term(value, inputs) for value in values], all if isinstance(op, ast.And) else any
            return lambda shapes: every(term(shapes) for term in terms)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _ARITHMETIC:
            joined, one, other = _ARITHMETIC[type(op)], _term(left, inputs), _term(right, inputs)
            return lambda shapes: joined(one(shapes), other(shapes))
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as arguments, keywords=[]) if name in _FUNCTIONS:
            function, terms = _FUNCTIONS[name], [_term(one, inputs) for one in arguments]
            return lambda shapes: function(*(term(shapes) for term in terms))
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=tensor, attr="size"), args=[], keywords=[]),
            slice=ast.Constant(value=int() as axis),
        ):
            name = "_".join(_path(tensor))
            if name not in inputs:
                raise _FixedError
            return lambda shapes: shapes[name][axis]
        case ast.Subscript():
            _path(node)
            raise _FixedError
    raise _unread(ast.unparse(node))


def _path(node: ast.AST) -> list[str]:
    """The keys that lead to an argument: ``L['more']['vector']``."""
    match node:
        case ast.Name(id="L"):
            return []
        case ast.Subscript(value=inner, slice=ast.Constant(value=str() | int() as key)):
            return [*_path(inner), str(key)]
    raise _unread(ast.unparse(node))
