"""Input templates of other PRM families: steps in a chat, or in a text with marks (`config.prm.Template`).

The whole text is rendered and encoded at once, as these models were trained. It ends where the score is read, so that
the input of a later step begins like that of the one before, up to a token or two, and caches help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arbitrage.config.prm import Template
from arbitrage.engines.prompting import PROMPT_DATE
from arbitrage.engines.text_codec import codec_of
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import AuthoredStep, Ids

SAMPLE = ("What is 1 + 1?", [AuthoredStep("draft", "We add.")], AuthoredStep("draft", "So 1 + 1 = 2."))


class TemplateReader:
    """Problem, history and step as the ids that a PRM reads (`scorers.Reader`)."""

    def __init__(self, name: str, tokenizer: Any, template: Template, separator: str) -> None:
        """name: what errors call the model. Raises EngineError where its tokenizer cannot do what `template` says."""
        self.name, self.tokenizer, self.template, self.separator = name, tokenizer, template, separator
        self._codec = codec_of(tokenizer)
        if template.chat != "none" and not tokenizer.chat_template:
            raise EngineError(
                f"{name}: its tokenizer has no chat template; put a chat_template.jinja beside the weights, or use a "
                "prm.format that needs none (prm.template.chat: none)"
            )
        self.closing = template.mark if template.chat in ("none", "answer") else None
        if self.closing:
            last = self._encode(self.render(*SAMPLE))[-1]
            if last == tokenizer.unk_token_id or tokenizer.decode([last]).strip() != self.closing.strip():
                raise EngineError(
                    f"{name}: the mark {self.closing!r} is no token of its tokenizer (a step ends in "
                    f"{tokenizer.decode([last])!r}); expected one token. Set prm.template.mark to the model's own mark"
                )
            self._closing_id = last

    @property
    def description(self) -> str:
        """All that changes what is read, for the scorer's identity."""
        return f"{self.template.model_dump_json()}\n{self.separator!r}"

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        """Ids up to the one at which the score is read. Raises EngineError where the mark merges with the step."""
        ids = self._encode(self.render(problem, history, step))
        if self.closing and ids[-1] != self._closing_id:
            raise EngineError(
                f"{self.name}: after the step {step.text[-40:]!r} the mark {self.closing!r} is no token of its own "
                f"(ids {list(ids[-3:])}); set prm.template.step so that it ends in a space or a line break"
            )
        return ids

    def candidates(self) -> tuple[int, int]:
        """Ids of the words for wrong and right. Raises EngineError where one is not exactly one token."""
        text = self.render(*SAMPLE)
        before = self._encode(text)
        answer_ids = []
        for word in (self.template.wrong, self.template.right):
            assert word, "checked by config.prm"
            ids = self._encode(text + word)
            if ids[:-1] != before or ids[-1] == self.tokenizer.unk_token_id:
                raise EngineError(
                    f"{self.name}: {word!r} is not one token after {text[-20:]!r} (ids {list(ids[-4:])} after "
                    f"{list(before[-3:])}); set prm.template.right and .wrong to two words of one token each"
                )
            answer_ids.append(ids[-1])
        return answer_ids[0], answer_ids[1]

    def render(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> str:
        """The text up to where the score is read. Raises EngineError where the chat template refuses it."""
        template, mark, join = self.template, self.template.mark or "", self.template.join or ""
        guarded = self._codec.guarded
        texts = [
            (template.step or "").format(step=guarded(each.text.removesuffix(self.separator)), number=number)
            for number, each in enumerate((*history, step), start=1)
        ]
        opening = (template.question or "").format(
            problem=guarded(problem), history=join.join(texts[:-1]), step=texts[-1]
        )
        if template.chat == "question":
            return self._chat([("user", opening)])
        if template.chat == "turns":
            texts[0] = opening + texts[0]
            turns = [(role, text) for text in texts for role, text in (("user", text), ("assistant", mark))]
            return self._chat(turns[:-1])
        solution = join.join(text + mark for text in texts)
        if template.chat == "none":
            return opening + solution
        return self._chat([("user", opening), ("assistant", solution)], until=mark)

    def _chat(self, turns: list[tuple[str, str]], until: str | None = None) -> str:
        """The rendered turns and the opening of the answer, or all up to the last `until`: without the turn's end."""
        messages = [{"role": role, "content": text} for role, text in turns]
        if self.template.system:
            messages.insert(0, {"role": "system", "content": self.template.system})
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=until is None,
                date_string=PROMPT_DATE,
                enable_thinking=False,  # Qwen3's templates: a judge is to answer at once
            )
            return text if until is None else text[: text.rindex(until) + len(until)]
        except Exception as error:  # jinja's own, where a template refuses a system message for example
            raise EngineError(
                f"{self.name}: its chat template cannot render the PRM's input ({error}); change prm.template.chat or "
                ".system"
            ) from error

    def _encode(self, text: str) -> Ids:
        ids = list(self._codec.rendered_ids(text))
        bos = self.tokenizer.bos_token_id
        return tuple(ids if bos is None or ids[:1] == [bos] else [bos, *ids])
