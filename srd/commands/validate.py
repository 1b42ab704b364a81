"""Names that only tables know, and relations between the sections of a config: checked before any work."""

from srd.commands.kinds import check_kinds
from srd.config import SPARSE, WARMUP, Config
from srd.config.checks import check_sections
from srd.datasets import DATASETS
from srd.distillation.divergences import check_parameters, check_sparse
from srd.distillation.schedules import phase_values
from srd.errors import UserError, look_up, require
from srd.metrics import CRITERIA, METRICS
from srd.pipeline.settings import verifier
from srd.report.published import published
from srd.runtime.loggers import LOGGERS
from srd.selection.adaptive import RULES
from srd.selection.curricula import CURRICULA
from srd.selection.importance import IMPORTANCE, check_importance
from srd.selection.positions import POLICIES, asked
from srd.selection.ranking import SIGNALS
from srd.selection.weights import WEIGHTS
from srd.stages.noise import CORRUPTIONS
from srd.text.prompts import TEMPLATES


def validate(cfg: Config) -> Config:
    """The config itself; a `UserError` for an unknown name or for sections that do not go together."""
    check_sections(cfg)
    _check_names(cfg)
    _check_verifier(cfg)
    _check_adaptive(cfg)
    _check_warmup(cfg)
    _check_teacher(cfg)
    _check_selection(cfg)
    _check_vllm(cfg)
    check_kinds(cfg)
    _check_text(cfg)
    _check_metrics(cfg)
    phase_values(cfg.schedule, cfg.num_phases)  # as many values as phases
    require(len(cfg.evaluate.suites) > 0, "evaluate.suites", cfg.evaluate.suites, "at least one suite")
    capacity, size = cfg.method.student_data.replay_capacity, cfg.distill.batch_sequences
    key, expected = "method.student_data.replay_capacity", f"0 or at least distill.batch_sequences={size}"
    require(capacity == 0 or capacity >= size, key, capacity, expected)
    return cfg


def _check_names(cfg: Config) -> None:
    """A `UserError` for a name that its table does not have."""
    look_up(dict.fromkeys(("teacher", "student")), cfg.role, "role")
    look_up(DATASETS, cfg.dataset.name, "dataset.name")
    look_up(CORRUPTIONS, cfg.dataset.corrupt_kind, "dataset.corrupt_kind")
    look_up(CRITERIA, cfg.distill.select_by, "distill.select_by")
    for suite in cfg.evaluate.suites.values():
        look_up(DATASETS, suite.name if suite else cfg.dataset.name, "evaluate.suites.*.name")
        look_up(CORRUPTIONS, (suite or cfg.dataset).corrupt_kind, "evaluate.suites.*.corrupt_kind")
    look_up(LOGGERS, cfg.logger.name, "logger.name")
    look_up(TEMPLATES, cfg.model.template, "model.template")
    look_up(CURRICULA, cfg.curriculum.name, "curriculum.name")
    for signal in cfg.rank.signals:
        look_up(SIGNALS, signal, "ranking signal")
    look_up(dict.fromkeys(("rank", *SIGNALS)), cfg.filter.by, "filter.by")
    look_up(RULES, cfg.filter.rule, "filter.rule")
    positions = cfg.selection.positions
    look_up(POLICIES, positions.policy, "selection.positions.policy")
    look_up(IMPORTANCE, positions.signal, "selection.positions.signal")
    if positions.weight is not None:
        look_up(IMPORTANCE, positions.weight, "selection.positions.weight")
    if cfg.published is not None:
        table, _, row = cfg.published.partition("/")
        rows = look_up(published(), table, "published table")["rows"]
        if rows:  # a table that could not be read has none, and cells that stay empty
            look_up(rows, row, f"row of published={table}/ROW")
    if cfg.method.divergence is not None:
        check_parameters(cfg.method.divergence, cfg.method.parameters)


def _check_adaptive(cfg: Config) -> None:
    """A `UserError` for a rule that cannot choose λ of this run."""
    if not cfg.filter.is_auto:
        return
    rule = RULES[cfg.filter.rule]
    expected = f"{' or '.join(rule.ends)} with filter.keep=auto filter.rule={cfg.filter.rule}"
    require(cfg.filter.end in rule.ends, "filter.end", cfg.filter.end, expected)
    if rule.reads == "passes" and cfg.filter.passes is None:
        raise UserError(
            f"filter.rule={cfg.filter.rule}: it needs filter.passes, the sample passes that the distillation may take"
        )


def _check_metrics(cfg: Config) -> None:
    """A `UserError` for metrics that are unknown, or do not have the one that chooses the best weights."""
    names = cfg.evaluate.metrics
    for name in names:
        look_up(METRICS, name, "evaluate.metrics entry")
    require(len(names) == len(set(names)) > 0, "evaluate.metrics", names, "one or more metrics, each once")
    verifiers = ", ".join(name for name, metric in METRICS.items() if metric.is_binary)
    expected = f"one of {verifiers} in it, which say whether an answer is right, for evaluate.pass_at"
    require(
        not cfg.evaluate.pass_at or any(METRICS[name].is_binary for name in names), "evaluate.metrics", names, expected
    )
    if cfg.distill.answers_dev:
        expected = f"nll or one of evaluate.metrics={names}; add it there"
        require(cfg.distill.select_by in names, "distill.select_by", cfg.distill.select_by, expected)


def _check_verifier(cfg: Config) -> None:
    """A `UserError` for a pass rate that nothing says of an answer, or that could only be zero or one."""
    verifiers = {name: metric for name, metric in METRICS.items() if metric.is_binary}
    if cfg.rank.verifier is not None:
        look_up(verifiers, cfg.rank.verifier, "rank.verifier")
    if cfg.filter.weights is not None:
        look_up(WEIGHTS, cfg.filter.weights, "filter.weights")
        key, expected = "reflect.answers", f"2 or more with filter.weights={cfg.filter.weights}; 8 is usual"
        require(cfg.reflect.answers > 1, key, cfg.reflect.answers, expected)
    if any(SIGNALS[name].is_verified for order in cfg.orders for name in order):
        verifier(cfg)


def _check_warmup(cfg: Config) -> None:
    """A `UserError` for a warm start on rows that the data set does not set aside."""
    for role in ("teacher", "student"):
        if cfg.model.side(role).finetune.reads_warmup and cfg.dataset.warmup_samples is None:
            raise UserError(
                f"model.{role}.finetune.split={WARMUP}: the data set has no such split; set dataset.warmup_samples to "
                f"how many samples are set aside for it, or model.{role}.finetune.split=train"
            )


def _check_teacher(cfg: Config) -> None:
    """A `UserError` for a teacher cache that distillation could not read, or not with this loss."""
    if cfg.teacher.signal in ("hidden", *SPARSE) and cfg.needs_online_teacher:
        raise UserError(
            f"teacher.signal={cfg.teacher.signal}: method={cfg.method.name} trains on other responses than the "
            "samples', or the teacher runs code of its own; use teacher.signal=online"
        )


def _check_selection(cfg: Config) -> None:
    """A `UserError` for a choice of positions or classes that does not go with the loss."""
    sparse, divergence = cfg.teacher.signal in SPARSE and cfg.caches_teacher, cfg.method.divergence
    positions, classes = cfg.selection.positions, cfg.selection.classes
    if divergence is None:
        key, expected = "selection.positions.policy", f"all with method={cfg.method.name}, which distils nothing"
        return require(positions.are_all, key, positions.policy, expected)
    policy = POLICIES[positions.policy]
    key, expected = "selection.positions.policy", "another policy, or method.divergence=decoupled_kl (method=atkd)"
    require(not policy.tells_apart or divergence == "decoupled_kl", key, positions.policy, expected)
    key, expected = "selection.positions.quota", f"sequence with selection.positions.policy={positions.policy}"
    require(positions.quota == "sequence" or "quota" in policy.reads, key, positions.quota, expected)
    if not positions.are_all:
        for name in asked(positions):
            check_importance(name, not sparse)
    if sparse:
        key, expected = "selection.positions.cooling", "0: stored classes have one temperature"
        require(positions.cooling == 0, key, positions.cooling, expected)
        check_sparse(cfg.teacher.signal, divergence)
        for phase in phase_values(cfg.schedule, cfg.num_phases):
            fits = phase["temperature"] in (classes.temperature, [classes.temperature] * 2)
            expected = (
                f"{classes.temperature:g} throughout, as selection.classes.temperature has it with "
                f"teacher.signal={cfg.teacher.signal}; add schedule=constant"
            )
            require(fits, "schedule.temperature", phase["temperature"], expected)


def _check_text(cfg: Config) -> None:
    """A `UserError` for what needs prompts where there are windows of text, or windows where there are prompts."""
    cut, is_continued = cfg.method.student_data.prompt_tokens, cfg.dataset.is_text and cfg.method.is_on_policy
    if is_continued:
        expected = f"1 to {cfg.model.max_tokens - 1}, the tokens of a window that the student continues"
        key = "method.student_data.prompt_tokens"
        require(cut is not None and cut < cfg.model.max_tokens, key, "null" if cut is None else cut, expected)
    else:
        expected = "null where the student does not continue windows of text (dataset=text, an on-policy method)"
        require(cut is None, "method.student_data.prompt_tokens", cut, expected)
    suites = [suite for suite in cfg.evaluate.suites.values() if suite is not None]
    sets = {"dataset": cfg.dataset, **{f"evaluate.suites.*={suite.name}": suite for suite in suites}}
    texts = [key for key, dataset in sets.items() if dataset.is_text]
    if not texts:
        return
    if cfg.dataset.is_text and cfg.distill.answers_dev:
        raise UserError(
            f"distill.select_by={cfg.distill.select_by}: windows of text are not answered; use distill.select_by=nll"
        )
    reflected = [name for order in cfg.orders for name in order if SIGNALS[name].is_of_answers]
    if cfg.dataset.is_text and reflected:
        raise UserError(
            f"rank.signals, filter.by, filter.weights or curriculum={cfg.curriculum.name}: {reflected[0]} comes of "
            f"answers to prompts, and dataset={cfg.dataset.name} has windows of text; use rank.signals=[nll] or "
            "rank.signals=[length] with filter.by alike, or curriculum=none filter.keep=1"
        )
    if cfg.dataset.is_text and cfg.method.responses == "teacher":
        raise UserError(
            f"method={cfg.method.name}: the teacher answers prompts, and dataset={cfg.dataset.name} has windows of "
            "text; use a method that learns from the references, such as method=fkl"
        )
    require(cfg.model.max_tokens >= 3, "model.max_tokens", cfg.model.max_tokens, "3 or more for windows of text")
    for dataset in sets.values():
        budget, least = dataset.tokens, f"at least one window of model.max_tokens={cfg.model.max_tokens}"
        require(budget is None or budget >= cfg.model.max_tokens, "dataset.tokens", budget, least)


def _check_vllm(cfg: Config) -> None:
    """A `UserError` for what vLLM does not do."""
    if cfg.engine.generation_backend != "vllm":
        return
    decodings = {
        "reflect": cfg.reflect.generation,
        "evaluate": cfg.evaluate.generation,
        "method.answers": cfg.method.answers,
    }
    for key, decoding in decodings.items():
        if decoding.no_repeat_ngram_size > 0:
            raise UserError(
                f"{key}: no_repeat_ngram_size={decoding.no_repeat_ngram_size} is not something vLLM does; "
                "set it to 0 or use engine.generation_backend=transformers"
            )
    if cfg.engine.device.startswith("cuda:"):
        raise UserError(
            f"engine.device={cfg.engine.device}: vLLM takes the first GPU it sees; use engine.device=cuda and "
            "CUDA_VISIBLE_DEVICES"
        )
