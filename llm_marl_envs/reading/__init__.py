r"""What a reply says: its thinking apart, its boxes, tags, verdicts, menu choices, programs, short answers and options.

Workflows and graders use the same functions, so a team and its grader never read a reply differently. All of them read what
is said outside thinking (`spoken`). Nothing here raises on any text, and all of it takes linear time.
"""

from llm_marl_envs.reading.boxes import LONGEST_BOX, Box, boxed, final_boxes
from llm_marl_envs.reading.choices import LETTERS, Choice, lettered, options_in, read_choice
from llm_marl_envs.reading.marks import (
    NOTHING_FOUND,
    accepts,
    chosen,
    final_answer,
    passages_in,
    same_answer,
    tagged,
    verdict_in,
    verdict_of,
)
from llm_marl_envs.reading.programs import find_program
from llm_marl_envs.reading.spans import (
    ABSTENTION,
    LONGEST_ANSWER,
    LONGEST_REPLY,
    is_abstention,
    normalize,
    plain_form,
    read_answer,
)
from llm_marl_envs.reading.thinking import spoken, thought_left_open

__all__ = [
    "ABSTENTION",
    "LETTERS",
    "LONGEST_ANSWER",
    "LONGEST_BOX",
    "LONGEST_REPLY",
    "NOTHING_FOUND",
    "Box",
    "Choice",
    "accepts",
    "boxed",
    "chosen",
    "final_answer",
    "final_boxes",
    "find_program",
    "is_abstention",
    "lettered",
    "normalize",
    "options_in",
    "passages_in",
    "plain_form",
    "read_answer",
    "read_choice",
    "same_answer",
    "spoken",
    "tagged",
    "thought_left_open",
    "verdict_in",
    "verdict_of",
]
