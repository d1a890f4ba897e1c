"""What every part of the configuration is made of (`arbitrage.config.study`)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]*(-[A-Za-z0-9._]+)*$", max_length=60)]  # of files


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    aside: ClassVar[frozenset[str]] = frozenset()  # keys that only say where and how fast: no result depends on them
