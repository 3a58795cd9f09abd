"""Every error that may reach a person, with its exit code and what to do next.

    SwarmcodeError
    ├── UsageError              2    the request makes no sense as given
    ├── SurroundingsError       3    something that the run needs is not there
    │   ├── ModelError               the model file is missing, corrupt or unsuitable
    │   ├── SandboxUnavailable       no sandbox of the asked kind can be opened here
    │   ├── SuiteError               there is no test command, or its tests cannot be collected
    │   └── StateError               the state directory cannot be written
    ├── PassingFault            75   worth retrying as it is
    │   ├── EngineLost               the engine died or was closed under a request
    │   │   └── StepLost                 it failed at a step of the request, and can go on
    │   └── SandboxLost              a box or its engine died under a command
    └── DiffError               —    text that is no applicable diff; caught where candidates are made

Lower-layer exceptions (llama.cpp, Docker, git, the operating system) are translated into these once, at their seam.
"""


class SwarmcodeError(Exception):
    """An expected failure: one line of what was wrong and where, and one of what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(SwarmcodeError):
    """The request makes no sense as given: an empty issue, a path that is not there, a bad value."""

    exit_code = 2


class SurroundingsError(SwarmcodeError):
    """Something that the run needs is not there; the hint says how to get it."""

    exit_code = 3


class ModelError(SurroundingsError):
    """The model file is missing, corrupt, or cannot do what is asked of it."""


class SandboxUnavailable(SurroundingsError):
    """No sandbox of the asked kind can be opened on this machine."""


class SuiteError(SurroundingsError):
    """There is no test command, or its tests cannot be collected."""


class StateError(SurroundingsError):
    """The state directory, or a file that was asked for, cannot be written."""


class PassingFault(SwarmcodeError):
    """A fault that may be gone at the next try."""

    exit_code = 75


class EngineLost(PassingFault):
    """The engine died, or was closed, under a request."""


class StepLost(EngineLost):
    """The engine could not compute a step of a request; the same request may succeed at the next try."""


class SandboxLost(PassingFault):
    """A box, or the engine that runs it, died under a command."""


class DiffError(SwarmcodeError):
    """Text that is no diff, or a diff that does not apply or leaves its scope."""


def plainest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is meant for a person; else the first of all."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, SwarmcodeError)), leaves[0])
