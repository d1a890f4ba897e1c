"""Where the results of a study are: every path below `<results>/<study>/`, written once.

    StudyPaths.of(study).trajectories("small", "lab500")  # results/lab/trajectories/small/lab500.parquet

Rules give wildcards for names (`trajectories("{pair}", "{benchmark}")`); commands, stages, figures and the report give
the names themselves.
"""

from __future__ import annotations

from pathlib import Path

from arbitrage.config.study import Study

TRAIN, VALIDATION, REPORT = "train.parquet", "validation.parquet", "report.json"  # in a router's data set


class StudyPaths:
    """Paths of the results in `folder`, relative where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, study: Study) -> StudyPaths:
        """The paths of `study`'s own results."""
        return cls(Path(study.folder))

    @property
    def store(self) -> Path:
        """The step store, which all studies below one folder of results share."""
        return self.folder.parent / ".store"

    def questions(self, benchmark: str) -> Path:
        """Evaluation questions of a benchmark."""
        return self.folder / "questions" / f"{benchmark}.parquet"

    @property
    def labelling_questions(self) -> Path:
        """The questions whose steps are labelled; no benchmark may be called so."""
        return self.folder / "questions" / "labelling.parquet"

    @property
    def sampling_report(self) -> Path:
        """Duplicates, overlaps with the benchmarks and strata of the labelling questions."""
        return self.folder / "questions" / "labelling.json"

    def fetched(self, repository: str) -> Path:
        """A note that a repository of the hub is in its cache; repository: `HubEntry.file_name`."""
        return self.folder / ".study" / "fetched" / f"{repository}.json"

    def model(self, name: str) -> Path:
        """A model that the study makes from another one."""
        return self.folder / "models" / name

    def label(self, pair: str, shard: str | int) -> Path:
        """Labelled steps of one shard."""
        return self.folder / "steps" / pair / f"shard-{shard}.parquet"

    def steps(self, pair: str) -> Path:
        """All labelled steps of a pair."""
        return self.folder / "steps" / f"{pair}.parquet"

    def lookahead(self, pair: str, shard: str | int) -> Path:
        """Look-ahead labels of one shard of the labelled steps."""
        return self.folder / "lookahead" / pair / f"shard-{shard}.parquet"

    def states(self, pair: str, shard: str | int) -> Path:
        """The draft's hidden states after the labelled steps of one shard."""
        return self.folder / "states" / pair / f"shard-{shard}.parquet"

    def dataset(self, pair: str, variant: str) -> Path:
        """A router's training and validation data: a folder with TRAIN, VALIDATION and REPORT."""
        return self.folder / "router" / pair / variant / "dataset"

    def router(self, pair: str, variant: str = "default", seed: str | int = 0) -> Path:
        """A trained router; seed: which training of the variant."""
        return self.folder / "router" / pair / variant / f"seed-{seed}" / "model"

    def heldout(self, pair: str, variant: str) -> Path:
        """The scores of the held-out steps by every training of a variant."""
        return self.folder / "router" / pair / variant / "heldout.parquet"

    def quantiles(self, pair: str) -> Path:
        """Thresholds at quantiles of each policy's own scores, for the sweep."""
        return self.folder / "thresholds" / f"{pair}.json"

    @property
    def router_quality(self) -> Path:
        """How well every router ranks the held-out steps."""
        return self.folder / "router" / "quality.csv"

    def router_detail(self, name: str) -> Path:
        """What the report's page says of the routers' data and errors (`outputs.ROUTER_DETAILS`)."""
        return self.folder / "router" / f"{name}.csv"

    def sweep(self, pair: str, benchmark: str, shard: str | int) -> Path:
        """Trajectories of one shard."""
        return self.folder / "trajectories" / pair / benchmark / f"shard-{shard}.parquet"

    def trajectories(self, pair: str, benchmark: str) -> Path:
        """All trajectories of a pair on a benchmark."""
        return self.folder / "trajectories" / pair / f"{benchmark}.parquet"

    def latency(self, pair: str) -> Path:
        """Timed solutions of a pair."""
        return self.folder / "latency" / f"{pair}.parquet"

    def cost_model(self, pair: str) -> Path:
        """Seconds a token and a call, fitted to the timed solutions."""
        return self.folder / "latency" / f"{pair}.cost.json"

    def curves(self, kind: str) -> Path:
        """Curves of one kind (`outputs.CURVES`)."""
        return self.folder / "curves" / f"{kind}.csv"

    def figure(self, name: str, suffix: str) -> Path:
        """A figure of the paper; suffix: pdf or png."""
        return self.folder / "figures" / f"{name}.{suffix}"

    def table(self, name: str, suffix: str) -> Path:
        """A table of the paper; suffix: csv or md."""
        return self.folder / "tables" / f"{name}.{suffix}"

    @property
    def summary(self) -> Path:
        """The report: our numbers beside the paper's."""
        return self.folder / "summary.md"

    @property
    def page(self) -> Path:
        """The report as one file to open in a browser, with an explorer of the solutions."""
        return self.folder / "report" / "index.html"

    def zoo(self, name: str) -> Path:
        """What retraining the lab's models leaves: tokenizer, draft, target, prm, metrics.json."""
        return self.folder / "zoo" / name

    def log(self, rule: str, job: str = "") -> Path:
        """What a job printed; job: which, where the rule has several."""
        return self.folder / "logs" / (f"{rule}/{job}.log" if job else f"{rule}.log")

    def timing(self, rule: str, job: str = "") -> Path:
        """Seconds and memory of a job, as Snakemake measures them."""
        return self.timings / (f"{rule}/{job}.tsv" if job else f"{rule}.tsv")

    @property
    def timings(self) -> Path:
        """The timings of all jobs."""
        return self.folder / "timings"

    @property
    def server_logs(self) -> Path:
        """Logs of the servers that jobs start."""
        return self.folder / "logs" / "servers"
