"""A small tokenizer learned from the transcripts themselves.

Byte-level BPE whose merges may cross spaces, so that a fixed prompt is a dozen tokens, with digits kept apart, so that sums
stay sums. All 256 bytes are in it: any text round-trips. It is trained on the pieces *between* special tokens, as they are at
run time; whole chats would teach it merges across the border of prompt and reply that never occur.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


# Capitalised words that begin sentences; all others are taken for names.
OPENERS = "It|She|He|His|Her|In|On|Into|By|Who|What|Which|Where|When|The|Do|Did|Are|Were|Is|Question|Search|Answer|Doc|Title|Passages"


def train_tokenizer(calls: Iterable[tuple[str, str]], vocab_size: int = 512, *, apart: bool = False) -> Any:
    """A tokenizer with a chat template, from (prompt, reply) texts. apart: names are never joined with what stands beside them, so
    that each is the same tokens everywhere."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([pre_tokenizers.Split(Regex(rf"(?!(?:{OPENERS})\b)[A-Z][a-z]+"), "isolated")] if apart else []),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces = (p for prompt, reply in calls for p in (f"user\n{prompt}", "\n", "assistant\n", reply))
    bpe.train_from_iterator(pieces, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        padding_side="left",
        chat_template=TEMPLATE,
    )
