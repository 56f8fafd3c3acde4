"""Every error this project raises on purpose.

LLMMarlError
├── UnknownName           a name that does not exist: environment, task, workflow, knob, problem, method
├── DataError             a data set that is missing, empty, not UTF-8, or not in the expected layout
├── MissingExtra          an optional dependency that is not installed
├── InvalidAction         an action that is not text
├── SessionOver           a reply to a talk that is not waiting for one
├── WorkflowError         a workflow that breaks the protocol's rules (its author's mistake)
├── ToolFailed            a tool that could not run; the episode becomes FAILED, never an empty result
├── AgentFailed           an agent that could not answer, such as an endpoint that is down; the episode becomes FAILED, not wrong
├── WorkerFailed          a grader's worker process that could not start or was lost; the episode becomes FAILED, not wrong
├── ReplayMismatch        a trace that its workflow would not have produced
├── OlderRules            a record that was made before graders or workflows changed
├── TraceError            a trace file that cannot be read
├── WriteFailed           a file that could not be written (what was written before is safe)
└── ConfigError           settings that contradict each other, or a run folder or model that cannot be used

Messages say what was got, what was expected, and what to do. Text from a model never raises any of these.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class LLMMarlError(Exception):
    """Base of all of this project's errors: the command line prints it without a traceback."""


class UnknownName(LLMMarlError, ValueError):
    """A name that is not known; the message suggests similar ones."""

    def __init__(self, what: str, got: str, known: Iterable[str]):
        names = sorted(known)
        near = get_close_matches(got, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        super().__init__(f"no {what} {got!r}.{hint} Known: {', '.join(names) or 'none'}.")
        self.what, self.got, self.known = what, got, tuple(names)

    def __reduce__(self):
        return UnknownName, (self.what, self.got, self.known)


class DataError(LLMMarlError):
    """A data set is missing, empty or malformed."""


class MissingExtra(LLMMarlError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs packages that are not installed. Run: pip install 'llm-marl-envs[{extra}]'")


class InvalidAction(LLMMarlError, TypeError):
    """An action that is not a text."""


class SessionOver(LLMMarlError, RuntimeError):
    """A reply came although nothing is waiting for one."""


class WorkflowError(LLMMarlError, RuntimeError):
    """A workflow broke one of the protocol's rules."""


class ToolFailed(LLMMarlError, RuntimeError):
    """A tool could not run. Raised by tools; drivers turn it into a FAILED episode."""


class AgentFailed(LLMMarlError, RuntimeError):
    """An agent could not answer, for a reason that is not its own: its server is down. Raised by partners; drivers turn it into a
    FAILED episode."""


class WorkerFailed(LLMMarlError, RuntimeError):
    """A process that grades could not be started, or was lost repeatedly."""


class ReplayMismatch(LLMMarlError):
    """A trace is not what its workflow produces from its replies; `index` is the first event that differs."""

    def __init__(self, message: str, index: int):
        super().__init__(message)
        self.index = index

    def __reduce__(self):
        return ReplayMismatch, (str(self), self.index)


class OlderRules(LLMMarlError):
    """A record was written under older rules than this release's, so it can be shown, but neither replayed nor compared."""

    def __init__(self, older: str, newer: str):
        super().__init__(f"written under older rules ({older}; this release plays {newer}): evaluate again")
        self.older, self.newer = older, newer

    def __reduce__(self):
        return OlderRules, (self.older, self.newer)


class TraceError(LLMMarlError):
    """A trace file cannot be read."""


class TranscriptError(TraceError):
    """A transcript of another system cannot be read."""


class WriteFailed(LLMMarlError, OSError):
    """A file could not be written."""


class ConfigError(LLMMarlError, ValueError):
    """Settings that contradict each other, or a run folder or model that cannot be used."""
