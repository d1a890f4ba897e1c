"""Reading with vLLM: the log-probabilities of a prompt's last ids, from a prefix cache where they allow it."""

from __future__ import annotations

from typing import Any

from arbitrage.engines.step_boundary import checked_logprobs
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import Logprobs, ReadRequest

# Readings share prefixes with each other only. The target often writes the very step that it reads; of ids that it
# found in its cache vLLM reports nothing, so that whole contexts would have to be read again.
READ_SALT = "read"


class GivenText:
    """What is read (`engine.Taker`), as vLLM 0.32 is asked: one pass, with one token written that nobody looks at."""

    def __init__(self, vllm: Any, name: str, payload: ReadRequest, salt: str) -> None:
        self._vllm, self._name, self._payload, self._salt = vllm, name, payload, salt
        self._cached = True

    def request(self) -> tuple[Any, Any]:
        """Prompt and parameters of the request."""
        parameters = self._vllm.SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,  # beside that of the id itself
            skip_reading_prefix_cache=not self._cached,  # vLLM's own choice is to skip it wherever a prompt is scored
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )
        return self._vllm.inputs.tokens_input(list(self._payload.ids), cache_salt=self._salt), parameters

    def take(self, output: Any) -> Logprobs | None:
        """What vLLM answered; None where its cache held ids that were asked for, and it has to be asked again.

        Its runners fill in what they computed: all of the prompt or its end, and nothing of what the cache held; so the
        last ones count, as far as the cached ids and one more do not reach. Raises EngineError.
        """
        ids, start = self._payload
        if self._cached and (output.num_cached_tokens or 0) >= start:
            self._cached = False
            return None
        given = ids[start:]
        reported = (output.prompt_logprobs or [])[-len(given) :]
        try:
            logprobs = tuple(min(0.0, each[token].logprob) for token, each in zip(given, reported, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"{self._name}: vLLM reported no log-probabilities of the last {len(given)} of {len(ids)} ids of a "
                "prompt; expected vLLM 0.32"
            ) from error
        return checked_logprobs(self._name, logprobs, ids)
