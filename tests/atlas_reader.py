"""An independent solver of the encyclopaedia's questions, which reads nothing but the articles and the question."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_marl_envs.tasks.atlas import FIRST, Atlas
from llm_marl_envs.tools.corpora.encyclopaedia_facts import IS, OF, RELATIONS


class Reader:
    """Knows the phrasings, reads the facts out of the articles, and resolves a question from the inside out."""

    def __init__(self, task: Atlas):
        self.kind: dict[str, str] = {}
        self.facts: dict[tuple[str, str], str] = {}
        kinds = {what: kind for kind, whats in IS.items() for what in whats}
        for passage in task.corpus():
            name = passage.title
            first, *others = re.split(r"(?<=\.) (?=(?:It|He|She|His|Her)\b)", passage.text)
            kind = self.kind[name] = kinds[re.fullmatch(rf'(?:The )?"?{re.escape(name)}"? is (.*)\.', first)[1]]
            for sentence in others:
                for relation in OF[kind]:
                    for tell in relation.tell:
                        pattern = re.escape(tell).replace(r"\{x\}'s", "(?:His|Her)").replace(r"\{x\}", "(?:It|He|She)")
                        found = re.fullmatch(pattern.replace(r"\{o\}", "(.+)"), sentence)
                        if found and found[1].isdecimal() == relation.name.endswith(".year"):
                            assert (name, relation.name) not in self.facts, "told once"
                            self.facts[name, relation.name] = found[1]

    def things(self, words: str) -> dict[str, str]:
        """What a noun phrase can mean -> the title of the article that it leads to."""
        plain = words.strip('"').removeprefix("the ")
        found = {plain: plain} if plain in self.kind else {}
        for relation in RELATIONS:
            for noun in relation.noun:
                for inner in _inside(noun, words):
                    found |= self._facts_of(relation.name, self.things(inner))
        return found

    def answers(self, question: str) -> dict[str, str]:
        """What the question can mean, whatever its wording and the order of two sides -> the answer."""
        found: dict[str, str] = {}
        for relation in RELATIONS:
            for ask in relation.ask:
                for inner in _inside(ask, question):
                    found |= self._facts_of(relation.name, self.things(inner))
            for meanings, sides in self._pairs(relation.same, question):
                theirs = {self.facts.get((x, relation.name)) for x in sides}
                if None not in theirs:
                    found[f"same {relation.name} {meanings}"] = "yes" if len(theirs) == 1 else "no"
        for kind, asks in FIRST.items():
            for later, ask in enumerate(asks):
                for meanings, sides in self._pairs(ask, question):
                    years = {int(self.facts[x, f"{kind}.year"]): x for x in sides if self.kind[x] == kind}
                    if len(years) == 2:
                        found[f"compare {meanings}"] = years[max(years) if later else min(years)]
        return found

    def _facts_of(self, name: str, things: dict[str, str]) -> dict[str, str]:
        return {f"{name} of {m}": self.facts[x, name] for m, x in things.items() if (x, name) in self.facts}

    def _pairs(self, template: str, question: str) -> Iterator[tuple[list[str], tuple[str, str]]]:
        head, _, rest = template.partition("{a}")
        middle, _, tail = rest.partition("{b}")
        if template and question.startswith(head) and question.endswith(tail):
            body = question[len(head) : len(question) - len(tail)]
            for cut in re.finditer(re.escape(middle), body):
                for a, x in self.things(body[: cut.start()]).items():
                    for b, y in self.things(body[cut.end() :]).items():
                        yield sorted((a, b)), (x, y)


def _inside(template: str, text: str) -> Iterator[str]:
    head, _, tail = template.partition("{x}")
    if text.startswith(head) and text.endswith(tail) and len(text) > len(head) + len(tail):
        yield text[len(head) : len(text) - len(tail)]
