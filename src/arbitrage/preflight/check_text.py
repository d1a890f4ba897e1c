"""Whether models read the questions of a study as they are written: some tokenizers normalise or lack characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from arbitrage.engines.text_codec import codec_of
from arbitrage.preflight.findings import Finding

SIGNS = "²½"  # what compatibility normalisation (NFKC) makes other signs of
SPACES = " ▁"  # the second as SentencePiece writes it
SHOWN = 12  # characters of a difference
NAMED = 60  # characters of a question


def text_findings(subject: str, tokenizer: Any, problems: Sequence[str]) -> Iterator[Finding]:
    """Warnings where ids say something else than text: of the problems, or of signs that a model's steps may hold.

    Raises EngineError for a tokenizer that is not of the `tokenizers` library.
    """
    codec = codec_of(tokenizer)
    if changed := codec.changed(problems):
        problem, read = changed[0]
        at = next((i for i, (one, other) in enumerate(zip(problem, read, strict=False)) if one != other), len(read))
        yield Finding(
            subject,
            "warning",
            f"{len(changed):,} of {len(problems):,} questions are not read as they are written: its tokenizer makes "
            f"{read[at : at + SHOWN]!r} of {problem[at : at + SHOWN]!r} in {problem[:NAMED]!r}; write these signs "
            "otherwise (LaTeX), or use another checkpoint",
        )
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and SIGNS not in (read := normalizer.normalize_str(SIGNS)):
        yield Finding(
            subject,
            "warning",
            f"its tokenizer makes {read.strip(SPACES)!r} of {SIGNS!r}: a step of another model that holds such signs "
            "is not read as it was written",
        )
