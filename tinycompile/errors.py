"""The one exception tree. Imports nothing from the package.

Every error says what is wrong, where, and how to fix it, and carries a stable code (``TC102``) that has a section in
``docs/errors.md``. The command line prints the three parts as three lines on stderr and exits with ``exit_code``.
"""

from __future__ import annotations


def one_line(text: str, limit: int = 400) -> str:
    """`text` on one printable line of at most `limit` characters: names in model files are untrusted."""
    flat = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return flat if len(flat) <= limit else f"{flat[: limit // 2]}...{flat[-limit // 4 :]} ({len(text)} characters)"


class TinyCompileError(Exception):
    """Base of every error that tinycompile raises on purpose.

    `what` went wrong, `where` (file, node, step), and the `fix` that the user can apply.
    """

    code = "TC000"
    exit_code = 70

    def __init__(self, what: str, where: str, fix: str) -> None:
        self.what, self.where, self.fix = (one_line(part, 4000) for part in (what, where, fix))
        super().__init__(f"{self.what} [{self.where}]")

    def lines(self) -> tuple[str, str, str]:
        """The three lines that the command line prints."""
        return (f"error[{self.code}]: {self.what}", f"  where: {self.where}", f"    fix: {self.fix}")


class CheckFailed(TinyCompileError):
    """A verification or emulation ran and found a difference."""

    code = "TC100"
    exit_code = 1


class UsageError(TinyCompileError):
    """A bad option value or combination, or a configuration file that cannot be used."""

    code = "TC200"
    exit_code = 2


class ModelError(TinyCompileError):
    """The model file cannot be compiled as it is."""

    code = "TC300"
    exit_code = 3


class MalformedModelError(ModelError):
    """The file is not a valid model: truncated, corrupt, inconsistent, or over the size limits."""

    code = "TC301"


class UnsupportedError(ModelError):
    """Operators, data types or forms that tinycompile has no implementation for; lists all of them at once."""

    code = "TC302"


class ShapeError(ModelError):
    """Shapes that are dynamic, inconsistent, zero or too large."""

    code = "TC303"


class QuantError(ModelError):
    """Quantisation parameters that are missing, inconsistent, or not finite."""

    code = "TC304"


class TargetError(TinyCompileError):
    """An unknown or malformed target or board."""

    code = "TC310"
    exit_code = 3


class DoesNotFitError(TinyCompileError):
    """The plan needs more memory than the target or the user's limit has."""

    code = "TC400"
    exit_code = 4


class ToolchainError(TinyCompileError):
    """A compiler, emulator or board that is missing or failed."""

    code = "TC500"
    exit_code = 5


class InternalError(TinyCompileError):
    """One of tinycompile's own verifiers failed: a bug in tinycompile, not in the model."""

    code = "TC900"
    exit_code = 70
