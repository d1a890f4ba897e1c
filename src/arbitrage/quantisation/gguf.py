"""GGUF: llama.cpp's low-bit files (the paper's 3-bit Qwen), made with llama.cpp's own tools and read by transformers.

Our engines read safetensors. `unpack` writes the values a GGUF file stands for as an ordinary checkpoint: the file's
answers, at full-precision speed. The file itself stays beside it for a llama.cpp server (`engine: openai`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arbitrage.engines.vllm.options import GGUF
from arbitrage.speculation.protocols import EngineError

LLAMA_CPP = "LLAMA_CPP"  # the directory of a llama.cpp checkout with its tools built


def quantise_gguf(src: Path, dst: Path, kind: str) -> None:
    """Write `src` in llama.cpp's type `kind` (for example Q3_K_L) as `dst`/model.gguf, and unpacked beside it.

    Raises EngineError where llama.cpp's tools are missing or fail.
    """
    converter, quantiser = require_tools()
    dst.mkdir(parents=True, exist_ok=True)
    full = dst / "full.gguf"
    _run([sys.executable, str(converter), str(src), "--outtype", "f16", "--outfile", str(full)])
    _run([str(quantiser), str(full), str(dst / GGUF), kind])
    full.unlink()
    unpack(dst / GGUF, dst, tokenizer_from=src)


def unpack(file: Path, dst: Path, tokenizer_from: Path | None = None, dtype: str = "float16") -> None:
    """Write the model in a GGUF file as a Hugging Face directory, its weights in `dtype`.

    tokenizer_from: a directory whose tokenizer is copied; the one inside the file if absent. Raises EngineError where
    the package gguf is missing, or transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not file.is_file():
        raise EngineError(f"{file}: no such GGUF file")
    inside = {"gguf_file": file.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=getattr(torch, dtype), **inside)
        source, where = (tokenizer_from, {}) if tokenizer_from else (file.parent, inside)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **where)
    except ImportError as error:
        raise EngineError(
            f"{file}: reading GGUF needs the package gguf (pip install --editable '.[gguf]'): {error}"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"{file}: transformers cannot read this GGUF file ({error})") from error
    # What transformers made of the file are ordinary weights, but it refuses to save a model it calls quantised.
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    plain: Any = type(model)(type(model.config)(**settings))
    plain = plain.to(getattr(torch, dtype))
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(dst)
    tokenizer.save_pretrained(dst)


def require_tools() -> tuple[Path, Path]:
    """llama.cpp's converter and quantiser. Raises EngineError where one of them, or the package gguf, is missing."""
    if find_spec("gguf") is None:
        raise EngineError("quantise.method gguf needs the package gguf: pip install --editable '.[gguf]'")
    return _tool("convert_hf_to_gguf.py"), _tool("llama-quantize")


def _tool(name: str) -> Path:
    """A tool of llama.cpp: under $LLAMA_CPP, or on the path."""
    root = os.environ.get(LLAMA_CPP)
    candidates = [Path(root) / name, Path(root) / "build" / "bin" / name] if root else []
    program = next((candidate for candidate in candidates if candidate.is_file()), None) or shutil.which(name)
    if program is None:
        raise EngineError(
            f"quantise.method gguf needs llama.cpp's {name}: put it on PATH, or set {LLAMA_CPP} to a checkout with its "
            "tools built (cmake -B build && cmake --build build --target llama-quantize)"
        )
    return Path(program)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - llama.cpp's own tools
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        raise EngineError(f"{Path(command[0]).name} {' '.join(command[1:])} failed ({done.returncode}):\n{last}")
