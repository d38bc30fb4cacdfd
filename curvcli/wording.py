"""Names of options in messages: ``--layer`` to whoever types commands, ``layer=`` to a caller in Python.

A message holds both spellings until it reaches its reader. `in_shell` and `in_python` choose one: for errors on their
way out, for warnings where they are shown. What is written into a report has the shell's, by `shell_option`, since its
reader may be anybody.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

OptionValue = str | int | float | bool

# Characters of the C0 set that no path, pattern or name has a use for.
_START, _BETWEEN, _END = "\x0e", "\x1f", "\x0f"
_BOTH: Final = re.compile(f"{_START}([^{_START}{_BETWEEN}{_END}]*){_BETWEEN}([^{_START}{_BETWEEN}{_END}]*){_END}")


def option(name: str, value: OptionValue | None = None) -> str:
    """An option as a message names it, in both spellings.

    Args:
        name: of the argument in Python: ``memory_limit``.
        value: of the option, where the message names one: ``option("dtype", "float64")``.
    """
    return either(shell_option(name, value), f"{name}=" if value is None else f"{name}={value!r}")


def either(shell: str, python: str) -> str:
    """Words that differ between the two readers: ``either("curvcli layers MODEL", "open_model(path).layers")``."""
    return f"{_START}{_without_marks(shell)}{_BETWEEN}{_without_marks(python)}{_END}"


def shell_option(name: str, value: OptionValue | None = None) -> str:
    """An option as typed: ``--memory-limit``, ``-k 3``, ``--no-verify``, ``--layer 'conv*'``."""
    spelled = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{spelled}"
    dashed = f"-{spelled}" if len(spelled) == 1 else f"--{spelled}"
    return dashed if value is None else f"{dashed} {shlex.quote(str(value))}"


def in_shell(text: str) -> str:
    """The message with every option as typed on the command line."""
    return _BOTH.sub(r"\1", text)


def in_python(text: str) -> str:
    """The message with every option as an argument of a Python function."""
    return _BOTH.sub(r"\2", text)


def _without_marks(text: str) -> str:
    return re.sub(f"[{_START}{_BETWEEN}{_END}]", "�", text)
