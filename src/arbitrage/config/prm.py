"""What scores steps: the process reward model (PRM), of any of the kinds in use."""

from __future__ import annotations

import string
from typing import Literal

from pydantic import Field, model_validator

from arbitrage.config.backends import VllmRoom
from arbitrage.config.prompts import QWEN
from arbitrage.config.section import Count, Section

Kind = Literal["auto", "classifier", "value-head", "marks", "token", "judge"]
FormatName = Literal["plain", "qwen-prm", "math-shepherd", "rlhflow", "judge"]
Chat = Literal["none", "answer", "turns", "question"]
FIELDS = {"question": {"problem", "history", "step"}, "step": {"number", "step"}}
USUAL: dict[str, FormatName] = {"marks": "qwen-prm", "token": "math-shepherd", "judge": "judge"}  # others: plain

# Why `engine: vllm` runs kinds classifier and value-head alone.
VLLM_REFUSES: dict[str, str] = {
    "marks": "vLLM gives a text with marks a score for every token, and then reads nothing from its prefix cache",
    "token": "vLLM reads scores from a classification head, and an answer in one token has none",
    "judge": "vLLM reads scores from a classification head, and an answer in one token has none",
}


class Template(Section):
    """What the PRM reads, where it is not `plain`: a key that is absent is as `prm.format` has it."""

    chat: Chat | None = Field(
        None,
        description="`none`: bare text; through the chat template: `answer`, all steps in one answer; `turns`, a "
        "step a user message, answered by `mark`; `question`, one question that holds everything",
    )
    system: str | None = Field(None, description="System message of the chat template")
    question: str | None = Field(
        None, description="What comes first; `{problem}`, and for a judge `{history}`, `{step}`"
    )
    step: str | None = Field(None, description="A step; `{step}` is its text, `{number}` counts from 1")
    mark: str | None = Field(None, description="What closes a step: one token, at which the score is read")
    join: str | None = Field(None, description="What stands between a mark and the next step")
    right: str | None = Field(None, description="For `token` and `judge`: the one token that means right")
    wrong: str | None = Field(None, description="For `token` and `judge`: the one token that means wrong")

    @model_validator(mode="after")
    def _known_fields(self) -> Template:
        for key, known in FIELDS.items():
            try:
                used = {
                    name for _, name, _, _ in string.Formatter().parse(getattr(self, key) or "") if name is not None
                }
            except ValueError as error:
                raise ValueError(f"`{key}`: {error}; a brace that is meant is written twice") from error
            if unknown := sorted(used - known):
                expected = ", ".join(f"{{{name}}}" for name in sorted(known))
                raise ValueError(
                    f"`{key}` has {{{unknown[0]}}}; expected {expected} (a brace that is meant is written twice)"
                )
        return self


JUDGE = """Here is a mathematical problem, the beginning of a solution, and its next step.

Problem:
{problem}

Solution so far:
{history}

Next step:
{step}

Is the next step correct, and does it help to solve the problem? Answer with one word, Yes or No."""

FORMATS: dict[FormatName, Template] = {
    "qwen-prm": Template(
        chat="answer",
        system=QWEN,
        question="{problem}",
        step="{step}",
        mark="<extra_0>",
        join="",
    ),
    "math-shepherd": Template(
        chat="none", question="{problem} ", step="Step {number}: {step} ", mark="ки", join="\n", right=" +", wrong=" -"
    ),
    "rlhflow": Template(chat="turns", question="{problem} ", step="{step}", mark="+", right="+", wrong="-"),
    "judge": Template(chat="question", question=JUDGE, step="{step}", join="\n\n", right="Yes", wrong="No"),
}


class Prm(Section):
    """The process reward model (docs/scorers.md)."""

    path: str = Field(description="Local directory, or hub id")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub id")
    kind: Kind = Field(
        "auto",
        description="`classifier`: a sequence- or token-classification head at a step's last token; `value-head`: "
        "Skywork-o1-Open-PRM, converted once; `marks`: a head at a mark after each step (Qwen2.5-Math-PRM); `token`: "
        "answers with a token (Math-Shepherd, RLHFlow); `judge`: any chat model, asked a question; `auto`: classifier "
        "or marks, by the checkpoint's head",
    )
    format: FormatName | None = Field(
        None,
        description="What it reads; absent: `plain` (a head), `qwen-prm` (marks), `math-shepherd` (token), `judge`",
    )
    template: Template = Field(Template(), description="Changes to `format`")
    right_label: Literal[0, 1] = Field(
        1, description="Which of two labels means right; with one label there is no choice"
    )
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="What runs it, in the job's process; `vllm`: kinds `classifier` and `value-head` (docs/engines.md)",
    )
    vllm: VllmRoom = Field(VllmRoom(), description="For `engine: vllm`")
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = Field(
        "float32",
        description="Type of weights and activations; `float64` makes scores independent of batches, and slow",
    )
    device: str = Field("cpu", description="torch device")
    batch_size: Count = Field(64, description="Steps scored together")

    @model_validator(mode="after")
    def _engine_fits(self) -> Prm:
        self.require_engine(self.kind)
        if self.engine == "vllm" and self.dtype == "float64":
            raise ValueError("engine vllm has no dtype float64; use float32, bfloat16 or float16")
        return self

    @model_validator(mode="after")
    def _format_fits(self) -> Prm:
        by_head = self.kind in ("classifier", "value-head")
        if by_head and self.format not in (None, "plain"):
            raise ValueError(f"kind {self.kind} reads `plain` input, got format {self.format}; drop one of them")
        if self.kind in USUAL and self.format == "plain":
            raise ValueError(f"kind {self.kind} reads no `plain` input; use format {USUAL[self.kind]} and `template`")
        if self.kind in ("auto", "classifier", "value-head") and self.template != Template():
            raise ValueError(f"kind {self.kind} knows no `template`; it goes with kind marks, token or judge")
        if self.kind == "auto" and self.format is not None:
            raise ValueError("kind auto chooses the format itself; name the kind beside `format`")
        if self.kind in USUAL:
            self.resolved_template(self.kind)
        return self

    def require_engine(self, kind: str) -> None:
        """Raises ValueError where `engine` does not run a PRM of `kind`."""
        if self.engine == "vllm" and kind in VLLM_REFUSES:
            raise ValueError(
                f"engine vllm runs PRMs of kind classifier and value-head, got {kind}: {VLLM_REFUSES[kind]}; "
                "set prm.engine to transformers"
            )

    def resolved_template(self, kind: str) -> Template:
        """The template of `kind` (marks, token, judge): `format` with the changes. Raises ValueError where it lacks."""
        changes = self.template.model_dump(exclude_none=True)
        template = FORMATS[self.format or USUAL[kind]].model_copy(update=changes)
        needed = ["right", "wrong"] if kind != "marks" else ["mark"]
        needed += ["mark"] if template.chat in ("answer", "turns") and kind != "marks" else []
        if missing := [key for key in needed if not getattr(template, key)]:
            raise ValueError(f"kind {kind} needs template.{missing[0]}, one token")
        if kind == "marks" and template.chat not in ("none", "answer"):
            raise ValueError(
                f"kind marks reads its steps in one text; expected chat none or answer, got {template.chat}"
            )
        if kind != "marks" and template.right == template.wrong:
            raise ValueError(f"template.right and template.wrong are both {template.right!r}; expected two tokens")
        return template
