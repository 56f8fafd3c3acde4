"""The tokens of a Codex thread, from counts that are totals and come more than once.

A `token_count` event has the thread's total and what the last reply used. It comes again unchanged when a turn ends, when a
session is resumed, or with new rate limits, and a forked thread's file begins with its parent's. So a reply's tokens are what the
total has grown by. Input includes what the cache served, output includes reasoning: neither is added again.
"""

from __future__ import annotations

from typing import Any

from llm_marl_envs.orchestration.importers.records import Skipped, count, tokens_of

Counts = tuple[int, int]  # tokens read and written


class Meter:
    """Reads the counts of one thread in order. forked: its total begins with what its parent used."""

    def __init__(self, skipped: Skipped, forked: bool = False) -> None:
        self.total: Counts = (0, 0)
        self.seen: set[tuple[Counts, Counts | None]] = set()  # a count that came before came again, in whatever order
        self.thread: Any = None
        self.forked = forked
        self.skipped = skipped

    def read(self, record: Any) -> Counts:
        """The new tokens that a record reports; none if it reports none."""
        if not isinstance(record, dict):
            return 0, 0
        payload: Any = record.get("payload")
        match record.get("type"):
            case "session_meta" | "compacted":
                self.seen.clear()  # after these, equal counts may be new ones
            case "thread.started":
                if self.thread not in (None, record.get("thread_id")):
                    self.total = 0, 0
                self.thread = record.get("thread_id")
            case "turn.completed":
                return self.grow(self.counts(record.get("usage")), None)
            case "event_msg" if isinstance(payload, dict) and payload.get("type") == "token_count":
                info = payload.get("info")
                if isinstance(info, dict):
                    return self.grow(
                        self.counts(info.get("total_token_usage")), self.counts(info.get("last_token_usage"))
                    )
                if info is not None:
                    self.skipped.note("ill-typed field info")
        return 0, 0

    def counts(self, usage: Any) -> Counts | None:
        if usage is None:
            return None
        tokens_of(usage, self.skipped)  # notes what is ill-typed
        found = count(usage, "input_tokens"), count(usage, "output_tokens")
        return found if any(found) else None

    def grow(self, total: Counts | None, last: Counts | None) -> Counts:
        """What a total and the last reply's usage say is new.

        Worked example: totals 100, 250, 250, then 40 after a restart: 100, 150, 0, 40 new tokens.
        """
        if total is None:
            key = (self.total, last)
            if last is None or key in self.seen:
                return 0, 0
            self.seen.add(key)
            self.total = self.total[0] + last[0], self.total[1] + last[1]
            return last
        before = self.total
        if before == (0, 0) and self.forked and last is not None:
            before = max(0, total[0] - last[0]), max(0, total[1] - last[1])
        if total == before or (total, last) in self.seen:
            return 0, 0
        self.seen.add((total, last))
        self.total = total
        if last != total and total[0] >= before[0] and total[1] >= before[1]:
            return total[0] - before[0], total[1] - before[1]
        return last or total  # a total that falls, or that is one reply's, has begun again
