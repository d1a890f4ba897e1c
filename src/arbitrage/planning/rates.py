"""What a study will take on GPUs that are not at hand, by published rates: `arbitrage plan --on 4xH100`.

The study says how many questions, jobs and rows there are, `machines` what a pass takes, and `rates.yaml` what texts
are assumed to be. Models of a job take turns, as they do on one GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from arbitrage.config.models import Model
from arbitrage.config.policies import POLICIES, TIMED_POLICIES
from arbitrage.config.study import Study
from arbitrage.planning.estimates import Cost, rule_of, size_of, thresholds_listed
from arbitrage.planning.machines import FILE, Loaded, Machine, RatesError, rates
from arbitrage.runtime import resources
from arbitrage.runtime.gpu_memory import Portion, divided, local_shapes, parts, shortage
from arbitrage.runtime.memory import GB, Shape
from arbitrage.runtime.placement import STAGES, placed

READ_TOGETHER = 2048  # tokens that vLLM reads in a pass at most, unless it is told otherwise


class Estimate:
    """What the stages of a pair that run a model will take on a machine."""

    def __init__(self, study: Study, pair: str, machine: Machine) -> None:
        """Raises RatesError where a model's size is not known."""
        self.study, self.pair, self.machine = study, pair, machine
        self.told, limits = rates()["assumed"], study.generation
        usual = self.told["step_tokens"] * math.exp(self.told["step_spread"] ** 2 / 2)  # a log-normal's mean
        self.step = (1 - self.told["runaway"]) * usual + self.told["runaway"] * limits.max_step_tokens
        longest = min(limits.max_steps, math.ceil(limits.max_tokens / self.step))
        shares = ((min(self.told["steps"], longest), 1 - self.told["endless"]), (longest, self.told["endless"]))
        self.lengths: tuple[tuple[int, float], ...] = shares  # steps of solutions, and the share of these
        self.steps = sum(steps * share for steps, share in shares)
        self.tokens = self.told["prompt_tokens"] + self.steps * self.step  # of a question and its solution
        self.context = (self.told["prompt_tokens"] + self.tokens) / 2  # on the way there
        self.shapes = known_shapes(study, pair)

    def costs(self) -> Iterator[Cost]:
        """Stage by stage. Raises RatesError where a job does not fit."""
        study, pair = self.study, self.pair
        stages = ["label", *["lookahead"] * study.looks_ahead(pair), *["states"] * study.reads_states(pair)]
        stages += ["router", "heldout", *(f"sweep {name}" for name in study.benchmarks)]
        for stage in [*stages, "latency"] if study.pairs[pair].latency else stages:
            gpus = resources.gpus(study, rule_of(stage), pair)
            if not 1 <= gpus <= self.machine.count:
                raise RatesError(
                    f"{stage} {pair}: a job takes {gpus} GPUs, by `device` and `placement` of the study; expected "
                    f"1 to {self.machine.count}, as --on says: change one of them"
                )
            if rule_of(stage) in STAGES:
                yield self._with_pair(stage, gpus)
            else:
                yield self._with_draft(gpus) if stage == "states" else self._with_router(stage, gpus)

    def nodes(self, policies: int, listed: float) -> float:
        """Contexts of a question's tree that so many policies come to, each at `listed` thresholds.

        Where scores are spread evenly a policy's paths part once at every depth: it has one path more with each.
        """
        return sum(
            share * sum(min(2.0**depth, policies * min(depth + 1, listed)) for depth in range(steps))
            for steps, share in self.lengths
        )

    def units(self, rule: str) -> dict[str, float]:
        """Tokens that draft and target write, and inputs that PRM and router score, for one question."""
        study, samples = self.study, self.study.steps.target_samples
        entries = {name: POLICIES[name] for name in study.sweep.policies if POLICIES[name].has_threshold}
        if rule == "label":
            steps = {"draft": self.steps, "target": samples * self.steps, "prm": (1 + samples) * self.steps}
        elif rule == "lookahead":  # from one side of every step; from the other it is written, or a later step's
            steps = {"target": sum(share * count * (count - 1) / 2 for count, share in self.lengths)}
        elif rule == "sweep":
            trainings = {name: study.router.seeds if entry.trained else 1 for name, entry in entries.items()}
            every, own = (self.nodes(count, thresholds_listed(study)) for count in (sum(trainings.values()), 1))
            needs = [need for name, entry in entries.items() for need in [entry.needs] * trainings[name]]
            scored = sum(("prm" in need) * (1 + ("target" in need)) for need in needs)
            asked = own * any("target" in need for need in needs)  # and escalated at half of the others
            steps = {"draft": every, "target": (every + asked) / 2, "prm": own * scored}
            steps |= {"router": own * sum("router" in need for need in needs)}
        else:
            timed = [entry for name, entry in entries.items() if name in TIMED_POLICIES]
            timed += [entries[name] for name in study.latency.speculative_policies if name in entries]
            each = self.steps * len(study.latency.acceptances)
            alone = 2 + len(study.latency.speculative_tokens)  # in one piece, step by step; the target speculatively
            escalated = self.steps * sum(1 - share for share in study.latency.acceptances)
            steps = {"draft": 2 * self.steps + len(timed) * each, "target": alone * self.steps + len(timed) * escalated}
            steps |= {model: each * sum(model in entry.needs for entry in timed) for model in ("prm", "router")}
        return {model: count * (self.step if model in ("draft", "target") else 1) for model, count in steps.items()}

    def _with_pair(self, stage: str, gpus: int) -> Cost:
        """Low: batches full, scorers read new steps alone; high: they read all anew, and one question ends alone."""
        rule = rule_of(stage)
        study = placed(self.study, rule, self.pair)
        jobs, questions = size_of(study, self.pair, stage)
        portions = self._portions(study, stage)
        units = {role: questions * count for role, count in self.units(rule).items() if count}
        start_s = self._start_s(study, portions)
        low_s = high_s = jobs * start_s
        for role, count in units.items():
            subject = f"models.{getattr(study.pairs[self.pair], role)}" if role in ("draft", "target") else role
            own = [portion for portion in portions if portion.part.subject == subject]
            if not own:
                raise RatesError(f"{stage} {self.pair}: {subject} is on no GPU of the job; --on is for models on GPUs")
            if role in ("draft", "target"):
                model = study.models[subject.removeprefix("models.")]
                least_s, most_s = self._written_s(model, own, rule, count, questions, jobs)
            else:
                scorer = study.prm if role == "prm" else study.router
                rows = 1 if rule == "latency" else scorer.batch_size
                least_s, most_s = self._read_s(own[0], scorer.engine, rows, count)
                most_s = least_s if rule == "latency" else most_s  # timing keeps what was read
            low_s, high_s = low_s + least_s, high_s + most_s
        return Cost(f"{stage} {self.pair}", jobs, units, low_s, high_s, gpus, start_s=start_s)

    def _with_draft(self, gpus: int) -> Cost:
        """The draft alone, as labelling has it, reads its labelled steps for the states behind them."""
        study = placed(self.study, "label", self.pair)
        jobs, questions = size_of(study, self.pair, "states")
        name = study.pairs[self.pair].draft
        own = [each for each in self._portions(study, "label") if each.part.subject == f"models.{name}"]
        start_s, model = self._start_s(study, own), study.models[name]
        read = self._read_s(own[0], model.engine, model.batch_size, questions * self.steps)
        low_s, high_s = (jobs * start_s + seconds for seconds in read)
        return Cost(f"states {self.pair}", jobs, {}, low_s, high_s, gpus, start_s=start_s)

    def _start_s(self, study: Study, portions: Sequence[Portion]) -> float:
        """Seconds until a job works: its own start, the models' weights read, each engine of vLLM started."""
        engines = {f"models.{name}": model.engine for name, model in study.models.items()}
        engines |= {"prm": study.prm.engine, "router": study.router.engine}
        subjects = dict.fromkeys(portion.part.subject for portion in portions)
        started = sum(engines.get(subject) != "transformers" for subject in subjects)  # what checks tokens is on vLLM
        loading_s = sum(portion.part.weights for portion in portions) / (GB * self.told["load_gb"])
        return float(self.told["job_start_s"] + loading_s + started * self.told["vllm_start_s"])

    def _read_s(self, portion: Portion, engine: str, rows: int, count: float) -> tuple[float, float]:
        """Seconds in which a model reads `count` steps, so many rows at once: new steps alone; whole contexts."""
        parameters = self.shapes[portion.part.subject].parameters
        loaded = Loaded(self.machine, portion.part.weights, 0, parameters, engine)
        least_s, most_s = (count * loaded.pass_s(rows * tokens) / rows for tokens in (self.step, self.context))
        return least_s, most_s

    def _portions(self, study: Study, stage: str) -> list[Portion]:
        """What a job puts on GPUs, by the devices in `study`. Raises RatesError where it does not fit."""
        sized = study.resources.model_copy(update={"gpu_memory_gb": self.machine.memory / GB})
        study = study.model_copy(update={"resources": sized})
        members = list(parts(study, rule_of(stage), self.pair, self.shapes))
        portions = divided(members, dict.fromkeys((part.gpu for part in members), self.machine.memory))
        if reason := shortage(study, rule_of(stage), portions):
            raise RatesError(f"{stage} {self.pair} on {self.machine.name}: {reason}")
        return portions

    def _written_s(
        self, model: Model, own: Sequence[Portion], rule: str, tokens: float, questions: int, jobs: int
    ) -> tuple[float, float]:
        """Seconds in which `model` writes so many tokens, and reads what others, or other jobs, wrote."""
        part, shape = own[0].part, self.shapes[own[0].part.subject]
        engine, most = "transformers" if model.engine == "transformers" else "vllm", self.study.generation.max_tokens
        longest = min(model.vllm.longest(most), shape.positions)
        loaded = Loaded(self.machine, part.weights, part.context / longest, shape.parameters / len(own), engine)
        fitting = min(portion.contexts for portion in own) * longest / self.tokens
        under_way = model.server.concurrency if model.engine == "openai" else model.batch_size
        rows = 1.0 if rule == "latency" else max(1.0, min(under_way, questions / jobs, fitting))
        both_sides = 2 * questions * self.steps * self.step  # of labelled steps, which other jobs wrote
        read = questions * self.told["prompt_tokens"] + (both_sides if rule == "lookahead" else tokens / 2)
        seconds = tokens * loaded.token_s(rows, self.context) + read * loaded.pass_s(READ_TOGETHER) / READ_TOGETHER
        return seconds, seconds + (0.0 if rule == "latency" else jobs * most * loaded.token_s(1, most / 2))

    def _with_router(self, stage: str, gpus: int) -> Cost:
        """Trainings of the text router, a question's steps read together; or the scores of its held-out steps.

        A router that reads numbers takes no time worth counting but that of its jobs to start.
        """
        jobs, questions = size_of(self.study, self.pair, stage)
        training, shape, held = self.study.router.training, self.shapes["router"], self.study.dataset.validation
        cap = self.study.dataset.max_examples
        share = min(training.top_layers or shape.layers, shape.layers) / shape.layers
        passes = 2 + 4 * share + (2 * share if training.recompute else 0)  # operations a parameter and token
        if self.study.router.variants["default"].kind != "classifier":
            operations = 0.0
        elif stage == "router":
            self._portions(self.study, stage)
            operations = (1 - held) * (training.epochs * passes + (2 if training.head_first else 0))
            operations *= min(1.0, cap * jobs / ((1 - held) * questions * self.steps)) if cap else 1.0
        else:
            operations = held * 2
        flops = questions * self.tokens * shape.parameters * operations
        seconds = flops / (self.machine.peak * self.told["transformers"]["peak_share"] * gpus)
        units = {"router": questions * held * self.steps} if stage == "heldout" else {}
        start_s = self.told["job_start_s"]
        seconds += jobs * start_s
        return Cost(f"{stage} {self.pair}", jobs, units, seconds, seconds, gpus, start_s=start_s)


def known_shapes(study: Study, pair: str) -> dict[str, Shape]:
    """Shapes of a pair's models, PRM and router by subject: of the files here, or else of `rates.yaml`.

    Raises RatesError where neither knows one.
    """
    paths = {f"models.{name}": study.origin(name).path for name in (study.pairs[pair].draft, study.pairs[pair].target)}
    paths |= {"prm": study.prm.path, "router": study.router.init or study.prm.path}
    shapes = local_shapes(study, pair)
    for subject in (name for name, shape in shapes.items() if not shape.parameters or not shape.layers):
        told = rates()["models"].get(paths[subject])
        if told is None:
            raise RatesError(
                f"{subject}: how large {paths[subject]} is cannot be told; fetch it, or add an entry to {FILE}"
            )
        sizes = {key: told[key] for key in told if key != "head_size"}
        shapes[subject] = Shape(cached=2 * told["layers"] * told["kv_heads"] * told["head_size"], **sizes)
    return shapes
