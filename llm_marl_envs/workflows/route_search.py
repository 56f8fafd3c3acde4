"""Route and search: a verifier sends the team to search or to answer (Dr. MAS, arXiv 2602.08847, search)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk, UseTool
from llm_marl_envs.reading import passages_in, tagged, verdict_in
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import listed

ROUTE = (
    "Question: {question}\nFound so far:\n{passages}\nDoes this suffice to answer? Reason, then end with "
    "<verify>yes</verify> or <verify>no</verify>."
)
SEARCH = (
    "Question: {question}\nFound so far:\n{passages}\nReason about what is missing, then write <search>query</search>."
)
ANSWER = "Question: {question}\nFound:\n{passages}\nReason, then answer. {form}"


@dataclass(frozen=True)
class RouteSearch:
    """In each turn the verifier says whether the passages suffice: after yes the answerer is asked, after no the searcher.

    turns: the verifier's maximum number of turns (paper: 4); after the last, the answerer is asked anyway. missing: what a reply without
    a verdict means (paper: yes). The verifier's verdicts are about evidence, so they are not claims about an answer.
    """

    turns: int = 4
    missing: Literal["yes", "no"] = "yes"
    topology: ClassVar[str] = "hierarchical"
    roster: ClassVar[Roster] = Roster(verifier=1, searcher=1, answerer=1)
    needs: ClassVar[frozenset[str]] = frozenset({"search"})

    def __post_init__(self):
        if self.turns < 1:
            raise ValueError(f"turns starts at 1; got {self.turns}")
        if self.missing not in ("yes", "no"):
            raise ValueError(f"missing is 'yes' or 'no'; got {self.missing!r}")

    def talk(self, question: Question, rng: Random) -> Talk:
        passages: list[str] = []
        for _ in range(self.turns):
            said = yield Ask(
                "verifier_0", ROUTE.format(question=question.text, passages=listed(passages)), kind="decision"
            )
            enough = verdict_in(said, "verify", "yes", "no")
            if enough is None:
                yield Malformed("verifier_0", "<verify>yes</verify> or <verify>no</verify>")
                enough = self.missing == "yes"
            if enough:
                break
            said = yield Ask("searcher_0", SEARCH.format(question=question.text, passages=listed(passages)))
            query = tagged(said, "search")
            if query is None:
                yield Malformed("searcher_0", "<search>query</search>")
                continue
            found = yield UseTool("searcher_0", "search", {"query": query})
            passages += [passage for passage in passages_in(found) if passage not in passages]
            yield Claim("searcher_0", "\n".join(passages), "evidence")
        ask = ANSWER.format(question=question.text, passages=listed(passages), form=question.answer_format)
        answer = yield Ask("answerer_0", ask, kind="return")
        yield Claim("answerer_0", answer)
        return answer
