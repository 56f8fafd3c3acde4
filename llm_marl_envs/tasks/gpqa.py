"""GPQA: questions that experts of a field answer and others cannot, even with a search engine (Rein et al. 2023, arXiv 2311.12022)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_marl_envs.data import DataSource, HubData, load_rows
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.choice import DUPLICATES, METRIC, MultipleChoice
from llm_marl_envs.tasks.families.dataset import Card, Example, LeftOut
from llm_marl_envs.tasks.families.mathematics import text_of

RIGHT = "Correct Answer"
WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
CONFIGS = ("gpqa_diamond", "gpqa_main", "gpqa_extended")


@dataclass(frozen=True)
class GPQA(MultipleChoice):
    """Graduate-level questions in biology, physics and chemistry with four options, in an order drawn for each question.

    config: "gpqa_diamond" (198 questions), "gpqa_main" (448) or "gpqa_extended" (546), each of which contains the one before.
    shuffle: the seed of the options' order.
    """

    config: str = "gpqa_diamond"

    ordered: ClassVar[bool] = False

    card = Card(
        title="GPQA: a graduate-level, Google-proof benchmark",
        source=DataSource(
            "gpqa",
            HubData("Idavidrein/gpqa", "gpqa_diamond", revision="main"),
            layouts=(("Question", RIGHT, *WRONG),),
            files={"train": (("gpqa/gpqa_diamond",),)},
        ),
        splits={"train": 198},
        licence="CC BY 4.0; access on the hub is given after agreeing not to publish examples",
        citation="Rein et al. 2023, arXiv 2311.12022",
        metric=METRIC,
        examples=(
            Example(
                row={
                    "Record ID": "invented_0",
                    "Question": "A lamp of 60 W burns for 5 minutes. How much energy does it take?",
                    RIGHT: "18 kJ",
                    WRONG[0]: "300 J",
                    WRONG[1]: "12 J",
                    WRONG[2]: "1.8 kJ\n",
                    "Explanation": "60 W times 300 s.",
                    "High-level domain": "Physics",
                    "Subdomain": "Physics (general)",
                },
                right=("\\boxed{A}", "\\boxed{18 kJ}", "The answer is 18 kJ.", "18 kJ", "So 60 * 300 J.\n\n**18 kJ**" + "\nFinal answer: 18 kJ"),
                wrong=("\\boxed{B}", "\\boxed{300 J}", "18", "\\boxed{A, B, C, D}", "\\boxed{18 kJ or 300 J}", "not 18 kJ", "\\boxed{E}"),
            ),
            Example(
                row={
                    "Record ID": "invented_1",
                    "Question": "Two parents with the genotypes Aa and aa have a child. What can its genotype be?",
                    RIGHT: "Aa or aa",
                    WRONG[0]: "AA or Aa",
                    WRONG[1]: "aa only",
                    WRONG[2]: "None of the above",
                },
                right=("\\boxed{Aa or aa}", "Answer: Aa or aa"),
                wrong=("\\boxed{D}", "\\boxed{AA or Aa}", "aa", "A or B"),
            ),
        ),
        notes="The authors ask that no example be shown in plain text where models are trained on it: keep the files, and "
        "records of episodes, off the web. Those here are invented. The hub calls the only split train, although it is a test. "
        f"{DUPLICATES} \"None of the above\" stays the last option; letters in an option are taken to be about the question, "
        "since the columns have no letters. The configurations gpqa_main and gpqa_extended lie in `gpqa/<configuration>` "
        "(`.jsonl`, `.jsonl.gz` or the hub's `.csv`). The hub's revision is not pinned.",
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.config not in CONFIGS:
            raise ConfigError(f"gpqa's config is one of {', '.join(CONFIGS)}; got {self.config!r}")

    def rows(self, split: str) -> list[dict[str, Any]]:
        source = self.card.source
        if self.config != source.hub.config:
            place = f"gpqa/{self.config}"
            source = dataclasses.replace(
                source, name=place, hub=dataclasses.replace(source.hub, config=self.config), files={split: ((place,),)}
            )
        return load_rows(source, split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        options = tuple(text_of(row, column, id) for column in (RIGHT, *WRONG))
        return self.problem(id, text_of(row, "Question", id), options, 0)
