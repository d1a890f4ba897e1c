"""What a model family is told before a problem: system messages by name, as the paper's release and others use them."""

from __future__ import annotations

from typing import Literal

PromptName = Literal["plain", "qwen", "llama3", "arbitrage-llama3"]

QWEN = "Please reason step by step, and put your final answer within \\boxed{}."

# Steps open with `## Step k:` and stand apart by blank lines: the separator; the last sentence boxes the answer.
LLAMA3 = """Solve the following math problem efficiently and clearly:

- For simple problems (2 steps or fewer):
Provide a concise solution with minimal explanation.

- For complex problems (3 steps or more):
Use this step-by-step format:

## Step 1: [Concise description]
[Brief explanation and calculations]

## Step 2: [Concise description]
[Brief explanation and calculations]

...

Regardless of the approach, always conclude with:

Therefore, the final answer is: $\\boxed{answer}$. I hope it is correct.

Where [answer] is just the final number or expression that solves the problem."""

PROMPTS: dict[PromptName, str | None] = {"plain": None, "qwen": QWEN, "llama3": LLAMA3, "arbitrage-llama3": None}

# Whole prompts, without the checkpoint's chat template. The paper's release writes Llama's without the lines on
# knowledge and date that Llama 3's own template adds, and asks for an empty box.
WHOLE_PROMPTS: dict[PromptName, str] = {
    "arbitrage-llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    + LLAMA3.replace("$\\boxed{answer}$", "\\boxed{}")
    + "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{problem}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
}
