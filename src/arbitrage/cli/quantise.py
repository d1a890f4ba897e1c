"""Commands that make a checkpoint from another: low-bit copies, and GGUF files as ordinary directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from arbitrage.cli.common import Out, StudyPath, stage
from arbitrage.io.atomic import whole_directory

app = typer.Typer()


@app.command()
def quantise(
    study: StudyPath,
    model: Annotated[str, typer.Option(help="A key of `models`")],
    out: Out,
    questions: Annotated[
        Path | None, typer.Option(help="The labelling questions; what `method: gptq` is calibrated on")
    ] = None,
) -> None:
    """Make a model of the study from another one, in few bits."""
    from arbitrage.engines.factory import model_checkpoint

    inputs = [questions] if questions else []
    with stage("quantise", study, inputs, [out], models=True, model=model) as run, whole_directory(out) as directory:
        recipe = run.study.models[model].quantise
        if recipe is None:
            raise typer.BadParameter(f"models.{model} has no `quantise`; nothing to make")
        source = model_checkpoint(run.study, recipe.model).directory
        if recipe.method == "gguf":
            from arbitrage.quantisation.gguf import quantise_gguf

            assert recipe.gguf_type is not None
            quantise_gguf(source, directory, recipe.gguf_type)
            return
        assert recipe.bits is not None
        if recipe.method == "gptq":
            from arbitrage.io.tables import read_table
            from arbitrage.quantisation.gptq import quantise_gptq

            if questions is None:
                raise typer.BadParameter("method gptq is calibrated on the labelling questions: give --questions")
            rows = read_table(questions, "questions")[: recipe.calibration]
            texts = [f"{row['problem']}\n{row['solution']}" for row in rows]
            quantise_gptq(source, directory, recipe.bits, recipe.group_size, texts, run.study.seed)
        else:
            from arbitrage.quantisation.rounding import quantise_directory

            quantise_directory(source, directory, recipe.bits, recipe.group_size)


@app.command("unpack-gguf")
def unpack_gguf(
    gguf: Annotated[Path, typer.Option(help="A GGUF file of a causal language model")],
    out: Out,
    dtype: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option(help="Type of the weights written")
    ] = "float16",
) -> None:
    """Write the model in a GGUF file as an ordinary Hugging Face directory, which every engine reads."""
    from arbitrage.quantisation.gguf import unpack

    with whole_directory(out) as directory:
        unpack(gguf, directory, dtype=dtype)
