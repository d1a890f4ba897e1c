"""`arbitrage export` of the smoke study: the bundle is whole, repeatable, portable, and can be verified."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import metadata_load
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from arbitrage.io.csv_tables import read_csv
from arbitrage.publishing.bundle import export, opened
from arbitrage.publishing.mismatches import ExportError, VerifyError
from arbitrage.publishing.router_cards import licence_of
from arbitrage.publishing.verify import verify
from tests.integration.study.conftest import ROOT, SmokeStudy, environment

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

ROUTER = "router/small/default/seed-0/model"


@pytest.fixture(scope="module")
def bundle(smoke: SmokeStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "smoke.zip"
    export(smoke.folder, path)
    return path


@pytest.fixture
def unpacked(bundle: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_tables_figures_provenance_and_routers_are_packed_and_nothing_else(smoke, bundle):
    names = set(zipfile.ZipFile(bundle).namelist())
    for name in ("steps/small.parquet", "trajectories/lowbit/lab500.parquet", "figures/fig4.pdf", "tables/table1.csv"):
        assert {name, f"{name}.provenance.json"} <= names
    assert {f"{ROUTER}/{file}" for file in ("model.safetensors", "tokenizer.json", "router.json", "README.md")} <= names
    assert {"router/small/default/dataset/train.parquet", "workflow/Snakefile", "workflow/rules/sweep.smk"} <= names
    assert {"README.md", "CLAIMS.md", "croissant.json", "ro-crate-metadata.json", "manifest.json"} <= names
    left_out = r"shard-|four-class/dataset|^models/|^logs|/\.|four-class/model"
    assert not [name for name in names if re.search(left_out, name)]
    assert not (smoke.folder / ROUTER / "README.md").exists()  # the card is made for the bundle


def test_equal_results_give_equal_bytes(smoke, bundle, tmp_path):
    export(smoke.folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_no_place_of_this_machine_is_told(smoke, bundle):
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            assert not re.match(r"/|\.\.", name)
            for place in (smoke.results, ROOT, Path.home()):
                assert f"{place}/".encode() not in archive.read(name), name


def test_a_bundle_is_verified_packed_and_unpacked(bundle, unpacked):
    with opened(bundle) as folder:
        assert verify(folder) == []
    assert verify(unpacked) == []


@pytest.mark.parametrize(
    ("spoil", "kind", "subject"),
    [
        (lambda f: (f / "summary.md").write_text("all is well"), "changed", "summary.md"),
        (lambda f: (f / ROUTER / "README.md").write_text("the best router"), "changed", f"{ROUTER}/README.md"),
        (lambda f: (f / ROUTER / "model.safetensors").unlink(), "missing", f"{ROUTER}/model.safetensors"),
        (lambda f: (f / "extra.csv").write_text("1"), "foreign", "extra.csv"),
        (lambda f: (f / "manifest.json").write_text("{"), "broken", "manifest.json"),
    ],
)
def test_what_was_changed_since_packing_is_found(unpacked, spoil, kind, subject):
    spoil(unpacked)
    assert [(finding.kind, finding.subject) for finding in verify(unpacked)] == [(kind, subject)]


def test_a_damaged_zip_is_one_line_that_says_so(bundle, tmp_path):
    content = bundle.read_bytes()
    place = content.index(b"PAR1") + 40  # inside a table
    (tmp_path / "cut.zip").write_bytes(content[:-100])
    command = ["arbitrage", "verify", str(tmp_path / "cut.zip")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"arbitrage: .*cut.zip: damaged, or no zip at all \(.*\); fetch it again\n", done.stderr)
    (tmp_path / "flipped.zip").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(VerifyError, match=r"damaged.*CRC"), opened(tmp_path / "flipped.zip"):
        pass


def test_a_zip_that_is_no_bundle_or_leads_out_of_its_folder_is_refused(tmp_path):
    for name, why in (("notes.txt", "no manifest.json"), ("../notes.txt", "leads out of it")):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr(name, "x")
        with pytest.raises(VerifyError, match=why), opened(tmp_path / "other.zip"):
            pass


def test_results_with_a_fault_are_not_packed(smoke, tmp_path):
    folder = Path(shutil.copytree(smoke.folder, tmp_path / "smoke"))
    (folder / "summary.md").unlink()
    with pytest.raises(ExportError, match=r"1 faults, the first: summary.md is missing"):
        export(folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_bundle_is_not_given_a_doi_that_is_none(smoke, tmp_path):
    with pytest.raises(ExportError, match=r"'doi:10/x' is no DOI; expected its bare name"):
        export(smoke.folder, tmp_path / "out.zip", "doi:10/x")


def test_claims_are_those_of_the_summary(unpacked):
    summary = (unpacked / "summary.md").read_text()
    rows = re.findall(
        r"^\| ((?:Fig|Tab)\. .*?) \| (.*?) \| (\w+) \| `snakemake", (unpacked / "CLAIMS.md").read_text(), re.M
    )
    assert len(rows) == int(re.search(r"Of (\d+) claims", summary)[1])
    for claim, ours, verdict in rows:
        assert f"| {ours} | {claim} | **{verdict}** |" in summary


def test_snakemake_takes_the_command_of_a_claim(unpacked):
    command = re.search(r"`(snakemake [^`]*)`", (unpacked / "CLAIMS.md").read_text())[1]
    words = shlex.split(command.replace("study.json", str(unpacked / "study.json")))
    done = subprocess.run(
        [sys.executable, "-m", *words, "-n"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_table_is_described_and_its_card_loads_it(unpacked, tmp_path_factory):
    described = json.loads((unpacked / "croissant.json").read_text())["distribution"]
    tables = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.parquet")}
    assert {each["contentUrl"] for each in described} == tables
    cache = str(tmp_path_factory.mktemp("cache"))
    loaded = {
        name: sum(split.num_rows for split in load_dataset(str(unpacked), name, cache_dir=cache).values())
        for name in get_dataset_config_names(str(unpacked))
    }
    rows = {name: pq.read_metadata(unpacked / name).num_rows for name in tables}
    assert sum(loaded.values()) == sum(rows.values())
    assert loaded["steps"] == rows["steps/small.parquet"] + rows["steps/lowbit.parquet"]


def test_transformers_loads_a_packed_router(unpacked):
    model = AutoModelForSequenceClassification.from_pretrained(unpacked / ROUTER)
    tokenizer = AutoTokenizer.from_pretrained(unpacked / ROUTER)
    assert model(**tokenizer("3 + 4 = 7", return_tensors="pt")).logits.shape == (1, model.config.num_labels)


def test_the_model_card_says_what_the_router_is_and_how_good(smoke, unpacked):
    card = unpacked / ROUTER / "README.md"
    assert metadata_load(card)["license"] == "apache-2.0"  # of the checkpoint that it starts from
    text = card.read_text()
    trained = json.loads((smoke.folder / ROUTER / "training.json").read_text())
    record = json.loads(record_text(unpacked))
    for said in (
        "src/arbitrage/lab/zoo/router_start",
        f"{trained['examples']:,} examples",
        record["sha256"],
        "this one among them",
    ):
        assert said in text
    row = next(line for line in text.splitlines() if "this one among them" in line)
    quality = read_csv(smoke.folder / "router/quality.csv")
    (own,) = quality[(quality["pair"] == "small") & (quality["ranking"] == "default")]["rho"]
    assert f"{own:.3f} [" in row


def record_text(folder: Path) -> str:
    return (folder / f"{ROUTER}.provenance.json").read_text()


def test_the_card_shows_how_the_router_is_loaded(unpacked, monkeypatch, capsys):
    monkeypatch.chdir(unpacked)
    code = re.search(r"```python\n(.*?)```", (unpacked / ROUTER / "README.md").read_text(), re.DOTALL)
    exec(code[1], {})
    assert 0 <= float(capsys.readouterr().out.strip("[]\n")) <= 1


def test_a_licence_that_is_not_known_is_not_guessed(tmp_path):
    (tmp_path / "README.md").write_text("no front matter")
    assert licence_of(str(tmp_path), None) is None
    assert licence_of("owner/never-fetched", "0" * 40) is None
