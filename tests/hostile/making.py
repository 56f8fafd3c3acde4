"""What a hostile file is, honest traces to make it from, and how they are changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from llm_marl_envs import EnvSpec, Limits, Play, Session, Trace, make_task, make_workflow
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.session import Event, Reply
from llm_marl_envs.tools.run import use_tool

MB = 1 << 20
GZ = "x.jsonl.gz"
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`make` writes the file. `good` traces must be verified, `bad` complaints (-1: some) be made, all of them matching `says`; or the file is
    `refused` as a whole. `value` is the score of the trace between the honest ones, where it is verified. fast: in every run."""

    name: str
    make: Callable[[Path], object]
    says: str = ""
    good: int = 2
    bad: int = 1
    refused: bool = False
    value: float | None = None
    file: str = "x.jsonl"
    tools: bool = False
    fast: bool = False


# Honest traces, and how they are changed.


def played(pair: str, *replies: str, data_dir: str | None = None, score: float | None = 0.0, **knobs: Any) -> Trace:
    """A trace of the first test question, wrong as it says, whatever it costs to grade."""
    name, _, workflow = pair.partition("/")
    task = made_task(name, data_dir, **knobs)
    session = Session(Play(make_workflow(workflow), task.problems("test")[0].question))
    for text in replies:
        session.reply(text)
        while type(session.call) is UseTool:
            use_tool(session, task.tools)
    assert session.over
    return replace(
        Trace.of(session, EnvSpec(name, workflow, knobs), None, split="test", meta={"entry": "x"}), score=score
    )


made_task = cache(make_task)


def fresh(text: str) -> Trace:
    return played("arithmetic/solo", text)


@cache
def solo(text: str = "\\boxed{1}") -> Trace:
    return fresh(text)


def data_of(trace: Trace) -> Json:
    return json.loads(trace.to_json())


def forged(data: Json) -> bytes:
    """The line of changed data, its digests made anew."""
    return replace(Trace.from_json(json.dumps(data)), digests=()).to_json().encode()


def honest(number: int) -> bytes:
    return replace(solo(), meta={"entry": "honest", "sample": number}).to_json().encode()


def between(*lines: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    """A file of an honest line, these, and another honest line."""

    def make(path: Path) -> None:
        made = (line if isinstance(line, bytes) else line() for line in lines)
        write(path, b"\n".join((honest(0), *made, honest(1))) + b"\n")

    return make


def write(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def edited(**changes: Any) -> bytes:
    """The line of a changed solo trace, with the digests that it had."""
    return json.dumps(data_of(solo()) | changes).encode()


def remade(trace: Trace | None = None, **changes: Any) -> bytes:
    """The line of a changed trace, its digests made anew."""
    return forged(data_of(trace or solo()) | changes)


def cut(session: Session, replies: Callable[[Any], str], spec: EnvSpec, calls: int) -> bytes:
    """The line of an episode that stops after so many calls. The last reply is only written down, so that what comes of it is
    the verifier's to find."""
    while session.calls < calls - 1:
        call = session.waiting[0]
        session.reply(replies(call))
    call = session.waiting[0]
    events = (*session.events, Event(call, Reply(replies(call)), session.turns))
    made = Trace.of(session, spec, None, split="test", meta={"entry": "x"})
    return replace(made, events=events).to_json().encode()


def bomb(workflow: str, knobs: Json, replies: Callable[[Any], str], calls: int) -> bytes:
    question = solo().question
    session = Session(Play(make_workflow(workflow, **knobs), question, 0, Limits(None, None)))
    return cut(session, replies, EnvSpec("arithmetic", workflow, {}, knobs), calls)


def members(path: Path, *parts: tuple[bytes, int]) -> None:
    """A gzipped file of parts, each so many times."""
    with open(path, "wb") as file:
        for part, times in parts:
            packed = gzip.compress(part, 9)
            for _ in range(times):
                file.write(packed)


def many(part: bytes, times: int, ahead: bytes = b"", behind: bytes = b"\n") -> Callable[[Path], None]:
    """Between honest lines, one long line of the part so many megabytes long."""
    block = part * (MB // len(part))
    return lambda path: members(path, (honest(0) + b"\n" + ahead, 1), (block, times), (behind + honest(1) + b"\n", 1))


def tiny(count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write(path, b"".join(honest(i) + b"\n" for i in range(count)))

    return make


def voted(task: str, drafts: Sequence[str], data_dir: str | None = None) -> bytes:
    """All drafts wrong, and nobody graded them."""
    first = played(f"{task}/solo", "x", data_dir=data_dir) if data_dir else played(f"{task}/solo", "x")
    session = Session(Play(make_workflow("voting", votes=len(drafts)), first.question))
    for text in (*drafts, "\\boxed{2}"):
        session.reply(text)
    made = Trace.of(
        session, EnvSpec(task, "voting", {}, {"votes": len(drafts)}), None, split="test", meta={"entry": "x"}
    )
    return replace(made, score=0.0).to_json().encode()
