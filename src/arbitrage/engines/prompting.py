"""How a model reads a question: the rendered prompt as token ids, with exactly one BOS; steps follow, each on its own.

Every engine gets its ids here, so that a model reads the very same ids whatever runs it.
"""

from __future__ import annotations

import re
from typing import Any

from arbitrage.config.models import Model
from arbitrage.engines.scoring.step_format import encode
from arbitrage.engines.text_codec import codec_of
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import Ids

# Llama 3's chat template writes today's date into the prompt unless it is given one: results would change overnight.
PROMPT_DATE = "26 Jul 2024"
SPECIAL = re.compile(r"<\|[a-z_]+\|>")
ANSWER = "So 7."  # one to be rendered, to see what a template puts after it


class Prompter:
    """The prompts of one model (`protocols.Prompting`)."""

    def __init__(self, name: str, tokenizer: Any, model: Model) -> None:
        """name: what errors call the model. Raises EngineError where the chat template cannot be rendered, or the
        tokenizer does not give texts back as they are."""
        self.name, self.tokenizer, self.system, self.whole = name, tokenizer, model.system, model.whole_prompt
        strange = sorted(set(SPECIAL.findall(self.whole or "")) - set(tokenizer.get_added_vocab()))
        if strange:
            raise EngineError(
                f"{name}: prompt {model.prompt} needs {', '.join(strange)}, which its tokenizer lacks "
                "as special tokens; choose another prompt (docs/configuration.md)"
            )
        self._codec = codec_of(tokenizer)
        self._codec.check(name)
        self._template_bos = self._render("").count(tokenizer.bos_token_id)

    def _render(self, problem: str) -> list[int]:
        if self.whole is not None:
            return list(self._codec.rendered_ids(self.whole.replace("{problem}", self._codec.guarded(problem))))
        messages = [{"role": "user", "content": self._codec.guarded(problem)}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, date_string=PROMPT_DATE
            )
        except Exception as error:  # jinja's own, where a template refuses a system message for example
            raise EngineError(f"{self.name}: its chat template cannot render the prompt ({error})") from error
        return list(self._codec.rendered_ids(text))

    def prompt_ids(self, problem: str) -> Ids:
        """Ids of the rendered prompt; one BOS, where the tokenizer has one. Raises EngineError where that cannot be."""
        ids, bos = self._render(problem), self.tokenizer.bos_token_id
        if bos is not None:
            if ids[:1] != [bos]:
                ids.insert(0, bos)
            # Some templates open every message with the BOS token: what the template does not write is too many.
            if ids.count(bos) != max(1, self._template_bos) or ids[1:2] == [bos]:
                raise EngineError(
                    f"{self.name}: the prompt of {problem[:60]!r} has {ids.count(bos)} BOS tokens "
                    f"({self.tokenizer.bos_token}); expected one. Mend the chat template or the system message"
                )
        return tuple(ids)

    def step_ids(self, text: str) -> Ids:
        """Ids of one step's text after prompt and steps, without special tokens (`TextCodec.ids`)."""
        return encode(self.tokenizer, text)


def turn_end(tokenizer: Any) -> tuple[int | None, str]:
    """The token by which the chat template ends an answer, or None; and all text it puts after one.

    Such a token ends a solution whether or not a configuration names it: base checkpoints with a chat template are the
    usual case in which none does. Templates that cannot render an answer end none.
    """
    turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": ANSWER}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, date_string=PROMPT_DATE)
    except Exception:  # jinja's own; `Prompter` reports templates that cannot render a question
        return None, ""
    after = text.rpartition(ANSWER)[2]
    first = tokenizer.encode(after.lstrip(), add_special_tokens=False)[:1]
    return next((index for index in first if index in tokenizer.added_tokens_decoder), None), after
