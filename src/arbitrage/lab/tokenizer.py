"""The lab's tokenizer: whole words for what the lab writes, bytes for everything else.

Every digit is a token, so that numbers are spelled out; the step separator is one token that merges with nothing, so
that a context's ids are the concatenation of its parts' ids. Any text comes back exactly.
"""

from collections import Counter
from typing import TYPE_CHECKING

from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.question_stream import draw_questions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 512
BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
MARKS = ("Model 0: ", "Model 1: ")
"""What precedes a step of the draft, of the target, in a router's input."""
ADDED = (SEPARATOR, "\\boxed{", *MARKS)
# A word or an operator takes its following (and an operator also its preceding) space along: fewer tokens a step.
PIECES = r"\d|[A-Za-z]+ ?| ?[-+*/=^:,.?()]+ ?|\n| +|[^\sA-Za-z\d]"
# One conversation turn: the question on a line of its own, after the one BOS; the answer follows.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ eos_token }}{% endif %}{% endfor %}"
)


def prompt_text(problem: str) -> str:
    """The text of a prompt, without BOS: the question on a line of its own."""
    return problem + "\n"


def build_tokenizer(questions: int = 20_000, seed: int = 0) -> "PreTrainedTokenizerFast":
    """A tokenizer whose words are the most frequent pieces of `questions` questions of the zoo-training split."""
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from transformers import PreTrainedTokenizerFast

    pieces = Sequence([Split(Regex(PIECES), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    counts: Counter[str] = Counter()
    stream = draw_questions("zoo-training", seed, "training")
    for _ in range(questions):
        question = next(stream)
        for text in (question.problem, *question.solution.split(SEPARATOR)):
            counts.update(piece for piece, _ in pieces.pre_tokenize_str(text.replace("\\boxed{", "")))
    vocabulary = dict.fromkeys(sorted(ByteLevel.alphabet()), 0)
    room = VOCABULARY_SIZE - len(vocabulary) - 3 - len(ADDED)
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    vocabulary |= dict.fromkeys([piece for piece, _ in words if len(piece) > 1][:room], 0)
    # Without merges, a piece is a word of the vocabulary or falls apart into bytes.
    model = BPE(vocab={piece: i for i, piece in enumerate(vocabulary)}, merges=[], ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (BOS, EOS, PAD)])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=1024,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
