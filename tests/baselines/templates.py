"""Chat templates of the kinds that models in use have, written for these tests, with a tokenizer for each."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A template, its special tokens (the first ends a turn), and tokens that are added without being special."""

    template: str
    special: tuple[str, ...]
    added: tuple[str, ...] = ()


_QWEN3 = (
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}"
    "{%- set said = m.content.split('</think>')[-1].lstrip('\\n') %}"
    "{{- '<|im_start|>assistant\\n' + (m.content if loop.last else said) + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
)
KINDS = {
    "chatml": Kind(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    ),
    "qwen3": Kind(
        _QWEN3 + "{%- if not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}",
        ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
        ("<think>", "</think>"),
    ),
    "qwen3 that opens the thought": Kind(
        _QWEN3 + "{{- '<think>\\n' }}{%- endif %}",
        ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
        ("<think>", "</think>"),
    ),
    "llama3": Kind(
        "{{ '<|begin_of_text|>' }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + (m.content | trim) + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
    ),
    "gemma": Kind(
        "{{ '<bos>' }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}"
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + (m.content | trim) + '<end_of_turn>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
        ("<end_of_turn>", "<start_of_turn>", "<eos>", "<bos>"),
    ),
    "phi": Kind(
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
        ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|endoftext|>"),
    ),
    "gpt-oss": Kind(
        "{{ '<|start|>system<|message|>You are a model.<|end|>' }}{% for m in messages %}"
        "{% if m.role == 'assistant' %}"
        "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') }}"
        "{% else %}{{ '<|start|>' + ('developer' if m.role == 'system' else m.role) + '<|message|>' + m.content + '<|end|>' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
        ("<|return|>", "<|end|>", "<|start|>", "<|channel|>", "<|message|>", "<|call|>"),
    ),
    "mistral": Kind(
        "{{ '<s>' }}{% for m in messages %}"
        "{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}"
        "{% elif m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}"
        "{% else %}{{ m.content + '</s>' }}{% endif %}{% endfor %}",
        ("</s>", "<s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]"),
    ),
}  # fmt: skip
LEAVES_OUT = Kind(  # a template that shows the last message only
    "{{ '<|im_start|>user\\n' + messages[-1].content + '<|im_end|>\\n' }}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    ("<|im_end|>", "<|im_start|>"),
)


def tokenizer_of(kind: Kind):
    """A byte-level tokenizer without merges beyond a few words."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    words = ["user assistant system model developer What is 1 + 2? The answer is think"] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(kind.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(words, trainer)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in kind.added])
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=kind.special[0],
        pad_token=kind.special[-1],
        additional_special_tokens=list(kind.special[1:]),
        chat_template=kind.template,
    )
    return made
