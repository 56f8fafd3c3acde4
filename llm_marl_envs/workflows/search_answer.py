"""Search and answer: a searcher gathers passages, a generator answers from them alone (DAC, arXiv 2606.10684, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal, NamedTuple

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk, UseTool
from llm_marl_envs.reading import passages_in, tagged
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import listed


class Wording(NamedTuple):
    """What the searcher is asked, what it is told that was found, and what the generator is asked."""

    search: str
    found: str
    answer: str


WORDINGS = {
    "full": Wording(
        "You gather evidence for a question; somebody else will answer it from your passages alone.\nQuestion: {question}\n"
        "Reason inside <{tag}> and </{tag}>, again whenever you get new information. Then write one query as "
        "<search>query</search>, or <stop> if nothing more is needed. You have {turns} searches.",
        "<information>{found}</information>",
        "Question: {question}\nPassages:\n{passages}\nReason inside <{tag}> and </{tag}>, then answer.{abstain} {form}",
    ),
    "short": Wording(
        "Question: {question}\nSearch or stop.", "{found}", "Question: {question}\n{passages}\nAnswer.{abstain}"
    ),
}
ABSTAIN = " If the passages do not suffice, answer unknown."


@dataclass(frozen=True)
class SearchAnswer:
    """The searcher reasons and searches until it says `<stop>` or has used its turns; the generator sees the question and the
    passages, never the searcher's words.

    turns: maximum number of searches (paper: 4). abstain: the generator may answer `unknown` (paper: in training, not at test).
    every_turn: the generator is asked after every search, so that each turn's progress can be rewarded (paper: training of the
    searcher). tag: the tag around the reasoning (paper: `think`; `reason` for Qwen3, which reserves `think`). unparseable: what
    a searcher's reply with neither tag means. given: passages that replace the searcher, for example for hard positives: an
    episode's own passages and distractors from a search for the question itself. style: "short" leaves out how to reply, for models
    that were taught it, such as the embedded one: its tags are the same.
    """

    turns: int = 4
    abstain: bool = False
    every_turn: bool = False
    tag: Literal["think", "reason"] = "think"
    unparseable: Literal["stop", "retry"] = "stop"
    given: tuple[str, ...] = ()
    style: Literal["full", "short"] = "full"
    topology: ClassVar[str] = "mixed"
    roster: ClassVar[Roster] = Roster(searcher=1, generator=1)

    def __post_init__(self):
        if self.turns < 1:
            raise ValueError(f"turns starts at 1; got {self.turns}")
        if isinstance(self.given, str):
            raise ValueError("given is a tuple of passages, as in ('Lima is the capital of Peru.',)")
        if self.tag not in ("think", "reason") or self.unparseable not in ("stop", "retry"):
            raise ValueError("tag is 'think' or 'reason', unparseable 'stop' or 'retry'")
        if self.style not in WORDINGS:
            raise ValueError(f"style is 'full' or 'short'; got {self.style!r}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(() if self.given else ("search",))

    def talk(self, question: Question, rng: Random) -> Talk:
        passages, answer, words = list(self.given), None, WORDINGS[self.style]
        prompt, fresh = words.search.format(question=question.text, tag=self.tag, turns=self.turns), True
        for _ in range(0 if self.given else self.turns):
            said = yield Ask("searcher_0", prompt, fresh=fresh, kind="decision")
            query, fresh = self._query(said), False
            if query is None:
                yield Malformed("searcher_0", "<search>query</search> or <stop>")
                if self.unparseable == "stop":
                    break
                prompt = "Write <search>query</search>, or <stop>."
                continue
            if not query:
                break
            found = yield UseTool("searcher_0", "search", {"query": query})
            passages += [passage for passage in passages_in(found) if passage not in passages]
            yield Claim("searcher_0", "\n".join(passages), "evidence")
            prompt = words.found.format(found=found)
            if self.every_turn:
                answer = yield self._ask(question, passages)
                yield Claim("generator_0", answer)
        if answer is None:
            answer = yield self._ask(question, passages)
            yield Claim("generator_0", answer)
        return answer

    def _query(self, said: str) -> str | None:
        """The query; "" for `<stop>`; None for neither. If there are both, the first counts."""
        stop, search = said.find("<stop>"), said.find("<search>")
        if stop >= 0 and (search < 0 or stop < search):
            return ""
        return tagged(said, "search")

    def _ask(self, question: Question, passages: list[str]) -> Ask:
        return Ask(
            "generator_0",
            WORDINGS[self.style].answer.format(
                question=question.text,
                passages=listed(passages),
                tag=self.tag,
                abstain=ABSTAIN if self.abstain else "",
                form=question.answer_format,
            ),
            kind="return",
        )
