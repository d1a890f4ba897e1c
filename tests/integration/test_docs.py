"""The pages say what is there: the paper's terms lead to code, packages are in the layers' order, links work."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TERMS = re.findall(r"^\| (.+) \| `([^`:]+)(?::(\w+))?` \|$", (ROOT / "docs/paper-to-code.md").read_text(), re.MULTILINE)
OF_THE_PAPER = re.compile(r"paper|[Aa]lgorithm|[Ss]ection|eq\.|Table|Figs?\.|[Tt]heorem|[Cc]orollary|release")


def named(file: Path) -> dict[str, ast.stmt]:
    """What is defined at the top of a module, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


def test_the_paper_has_its_terms_in_the_table() -> None:
    terms = " ".join(term for term, _, _ in TERMS)
    assert len(TERMS) >= 20
    expected = ("Algorithm 1", "eq. 4.4", "B.1", "B.3", "RSD", "Oracle", "Router", "Acceptance rate", "Label y")
    expected += ("Fig. 3", "Fig. 4", "Fig. 5", "Fig. 6", "Fig. A.1", "Fig. E.1")
    expected += ("Table 1", "Table 2", "Table 3", "Table C.1")
    assert [term for term in expected if term not in terms] == []


@pytest.mark.parametrize(("term", "file", "name"), TERMS, ids=[term for term, _, _ in TERMS])
def test_a_term_of_the_paper_leads_to_code_that_names_the_paper(term: str, file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"{term}: {file} does not exist"
    found = named(path)
    assert name in found, f"{term}: {file} has no {name}; it has {', '.join(found)}"
    node = found[name]
    if file.startswith("src/") and isinstance(node, ast.FunctionDef | ast.ClassDef) and not name.startswith("_"):
        texts = [ast.get_docstring(node) or ""]
        if "/figures/" in file:  # a module is one figure or table
            texts.append(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
        assert OF_THE_PAPER.search(" ".join(texts)), f"{file}:{name}: its docstring names no section"


def test_the_packages_are_listed_in_the_order_of_the_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [name.strip() for layer in settings[0]["layers"] for name in layer.split("|")]
    table = (ROOT / "docs/architecture.md").read_text().split("## The import rule")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == layers
    package = ROOT / "src/arbitrage"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__"} == set(layers)


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = page if not file else page.parent / file
        if not there.exists() or (anchor and anchor not in headings(there)):
            dead.append(target)
    assert not dead


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_paths_of_code_in_the_pages_exist() -> None:
    gone = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for path in re.findall(r"`((?:src|tests|rules|studies|performance|profiles|envs)/[\w./-]+)`", page.read_text()):
            if not (ROOT / path).exists():
                gone.append(f"{page.name}: {path}")
    assert not gone
