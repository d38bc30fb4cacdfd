"""Reads the code in a TorchScript archive before torch does, and refuses what calls operators beyond the list.

The code is text in a language of torch's own that looks like Python; torch runs some of it when it loads the file
(``__setstate__``). No parser of Python can be trusted to see what torch's sees, so nothing here depends on where a
string or a comment ends: a name after a dot counts wherever it stands.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator

import torch

from curvcli.models.torch.allowed import ATEN, PRIM

# What may stand between a dot and a name.
_GAP = r"(?:\s|\\|#[^\n]*\n)*"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ATTRIBUTE = re.compile(rf"\.{_GAP}({_NAME})")
_OPS = re.compile(rf"(?<![\w.])ops(?!\w)(?:{_GAP}\.{_GAP}({_NAME})(?:{_GAP}\.{_GAP}({_NAME}))?)?")
# What stands before an expression, unlike before a word of a message.
_BEFORE_VALUE = re.compile(rf"(?:^|[^\w\s.]|\b(?:{'|'.join(keyword.kwlist)}))\s*$")
_CUSTOM_CLASS = re.compile(
    rf"__torch__{_GAP}\.{_GAP}torch{_GAP}\.{_GAP}classes{_GAP}\.{_GAP}({_NAME}{_GAP}\.{_GAP}{_NAME})"
)
# As torch writes it: an attribute whose name is no identifier.
_GETATTR = re.compile(r"(?<![\w.])getattr\(([^\"',#\\]*), \"([^\"\\]*)\"\)")
_ANY_GETATTR = re.compile(r"(?<!\w)getattr(?!\w)")
# Modules within modules, all with names that are no identifiers.
_NESTED_MODULES = 30
_LISTS = {"aten": ATEN, "prim": PRIM}

# More than torch ever writes: brackets in brackets, operators in one line, spaces before it.
_NESTED = 100
_STRING = re.compile(r'"[^"\\\n]*"')
_OPERATOR = re.compile(r"[-+*/%<>=!~&|^]|\b(?:not|and|or|if)\b")
_MOST_OPERATORS, _MOST_INDENTED = 1000, 400


def refused_operators(texts: Iterable[str]) -> list[str]:
    """What the code of an archive calls, or may call, that is not on the list; in alphabetical order.

    Args:
        texts: its members with code.
    """
    schemas = [schema.name.partition("::") for schema in torch._C._jit_get_all_schemas()]
    # Through a dot alone only torch's own are reached; all others through ``ops``.
    unlisted = {name for namespace, _, name in schemas if namespace in _LISTS} - ATEN - PRIM
    return sorted({name for text in texts for name in _refused(text, unlisted)})


def too_deep(code: str) -> bool:
    """Whether torch's reader, which calls itself for what stands in something else, could run out of stack."""
    depth = deepest = 0
    for line in _STRING.sub("", code).splitlines():
        if len(line) - len(line.lstrip(" \t")) > _MOST_INDENTED or len(_OPERATOR.findall(line)) > _MOST_OPERATORS:
            return True
        for character in line:
            if character in "([{":
                depth += 1
                deepest = max(deepest, depth)
            elif character in ")]}":
                depth = max(0, depth - 1)
        if not line.startswith(" "):
            depth = 0  # a bracket in a string that was not recognised must not add up over the file
    return deepest > _NESTED


def _refused(text: str, unlisted: set[str]) -> Iterator[str]:
    for name in _ATTRIBUTE.findall(text):
        if name in unlisted:
            yield name
    for match in _OPS.finditer(text):
        namespace, name = match.groups()
        if namespace and name not in _LISTS.get(namespace, ()):
            yield f"ops.{namespace}.{name or '…'}"[:80]
        elif not namespace and _BEFORE_VALUE.search(text[max(0, match.start() - 200) : match.start()]):
            yield "ops as a value"
    for name in _CUSTOM_CLASS.findall(text):
        yield f"torch.classes.{name}"[:80]
    for _ in range(_NESTED_MODULES):
        if _ANY_GETATTR.search(text) is None:
            return
        for of, name in _GETATTR.findall(text):
            if name in unlisted or of.strip(" ()") in ("torch", "ops"):
                yield f"getattr of {name}"[:80]
        text = _GETATTR.sub("_", text)
    yield "getattr of what can't be read off"
