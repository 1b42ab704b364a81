"""A fingerprint changes exactly when a result does."""

from pathlib import Path

import pytest

from srd.errors import UserError
from srd.pipeline import graph, scoring
from srd.store.artefacts import closure
from tests.composing import config

pytestmark = pytest.mark.slow  # some hundred compositions

PAIR = ["model.teacher.name=somewhere/teacher", "model.student.name=somewhere/student"]


SMALL = ["debug=smoke", "dataset=pydoc"]
CHAIN = ["samples", "tokenizer", "finetune", "reflect", "rank", "filter", "partition", "distill", "evaluate"]


def fingerprints(*overrides: str) -> dict[str, str]:
    """Fingerprint of every stage on the way to the distilled student's scores."""
    cfg = config(*SMALL, *overrides)
    return {
        node.stage: node.fingerprint
        for node in closure([scoring.evaluate(cfg, "distill", "heldout")])
        if node.settings.get("role") != "teacher"
    }


@pytest.mark.parametrize(
    ("override", "first_changed"),
    [
        ("dataset.limit=7", "samples"),
        ("model.vocabulary=310", "tokenizer"),
        ("model.student.finetune.learning_rate=1e-3", "finetune"),
        ("reflect.generation.max_new_tokens=9", "reflect"),
        ("rank.rrf_k=10", "rank"),
        ("rank.signals=[nll,rouge_l]", "rank"),
        ("filter.keep=0.5", "filter"),
        ("filter.end=hardest", "filter"),
        ("curriculum=mixed", "partition"),
        ("curriculum.sizes=[0.5,0.25,0.25]", "partition"),
        ("dataset.corrupt=0.25", "samples"),
        ("method=gkd", "distill"),
        ("schedule.sft_weight.by=step", "distill"),
        ("distill.handover=best", "distill"),
        ("curriculum.phases=2", "partition"),
        ("schedule.temperature.end=3", "distill"),
        ("method=rkl", "distill"),
        ("distill.seed=11", "distill"),
        ("evaluate.seeds=[10,30]", "evaluate"),
        ("evaluate.checkpoint=last", "evaluate"),
    ],
)
def test_a_setting_redoes_its_stage_and_what_follows_and_nothing_before(override: str, first_changed: str) -> None:
    before, after = fingerprints(), fingerprints(override)
    changed = [stage for stage in CHAIN if before[stage] != after[stage]]
    assert changed == CHAIN[CHAIN.index(first_changed) :]


@pytest.mark.parametrize(
    "override",
    [
        "curriculum.seed=5",
        "curriculum.replay=0.5",
        "dataset.corrupt_seed=5",
        "filter.seed=5",
        "filter.end=easiest",
        "rank.seed=5",
        "method.answers_seed=5",
        "method.student_data.replay_capacity=5",
        "method.temperature_power=2",
        "teacher.dtype=float32",
    ],
)
def test_a_setting_that_nobody_reads_changes_no_fingerprint(override: str) -> None:
    assert fingerprints(override) == fingerprints()


def test_plain_distillation_needs_no_reflection() -> None:
    stages = {node.stage for node in closure(scoring.evaluations(config("experiment=demo/plain")))}
    assert not stages & {"reflect", "rank", "filter"}


@pytest.mark.parametrize(
    ("overrides", "reflects"),
    [
        (["filter.by=random", "curriculum=none"], False),
        (["filter.by=random", "curriculum=random_order"], False),
        (["filter.by=random"], True),
        (["filter.by=length", "rank.signals=[length]"], False),
        (["filter.keep=1", "curriculum=random_order"], False),
        (["filter.by=nll", "curriculum=none"], False),
        (["filter.by=nll"], True),
        (["rank.signals=[nll]"], False),
        (["filter.by=forward_kl", "rank.signals=[nll,student_entropy]"], False),
        (["filter.keep=1", "curriculum=none", "curriculum.order=kept"], True),
    ],
)
def test_the_student_reflects_only_where_its_signals_decide(overrides: list[str], reflects: bool) -> None:
    stages = {node.stage for node in closure([graph.distill(config(*SMALL, *overrides))])}
    assert ("reflect" in stages) == reflects
    assert "partition" in stages


def scores_of(*overrides: str) -> dict[str, str]:
    """Fingerprint of every scoring pass of a run, by its family."""
    nodes = closure([graph.distill(config(*SMALL, *overrides))])
    assert not [node for node in nodes if node.stage == "reflect"]
    return {node.settings["family"]: node.fingerprint for node in nodes if node.stage == "score"}


def test_arms_share_their_scores_and_read_the_teacher_only_where_they_need_it() -> None:
    entropy = scores_of("rank.signals=[student_entropy]", "method=sft")
    nll = scores_of("rank.signals=[nll]", "method=jsd", "filter.end=hardest", "filter.keep=0.2", "distill.seed=3")
    assert entropy == nll
    assert entropy.keys() == {"student"}
    distances = [scores_of("rank.signals=[nll]", f"filter.by={name}") for name in ("forward_kl", "teacher_nll")]
    assert distances[0] == distances[1] == {**entropy, "teacher": distances[0]["teacher"]}
    assert scores_of("rank.signals=[nll_ratio]") == {"teacher": distances[0]["teacher"]}
    student, teacher = (graph.score(config(*SMALL), family) for family in ("student", "teacher"))
    assert student.inputs.keys() == {"samples", "student", "tokenizer"}
    assert "teacher" not in student.settings
    assert teacher.inputs.keys() == {"samples", "student", "teacher", "tokenizer"}
    assert not student.settings.keys() & {"generation", "seeds"}
    with pytest.raises(
        UserError, match=r"rank.signals and filter.by: rouge_l, nll read no scores; expected one of nll"
    ):
        graph.score_families(config(*SMALL))


def test_an_option_that_is_off_is_not_in_the_filter() -> None:
    for overrides in ([], ["filter.by=random"], ["filter.by=nll"]):
        assert graph.filter(config(*SMALL, *overrides)).settings == {"keep": 0.75}
        assert graph.filter(config(*SMALL, *overrides, "filter.end=hardest")).settings == {
            "keep": 0.75,
            "end": "hardest",
        }
    assert graph.filter(config(*SMALL, "filter.end=hardest", "filter.keep=1")).settings == {"keep": 1}


def test_an_arm_s_name_says_which_end_stays() -> None:
    names = [
        config(*overrides).arm_name
        for overrides in ([], ["filter.end=hardest"], ["filter.end=hardest", "filter.keep=1"])
    ]
    assert names == ["fkl+baby_step-3, keep 0.75", "fkl+baby_step-3, keep 0.75 hardest", "fkl+baby_step-3, keep 1"]


def test_sft_needs_no_teacher_and_no_schedule() -> None:
    plain, scheduled = (
        graph.distill(config("method=sft", "curriculum=none", "filter.keep=1", f"schedule={name}"))
        for name in ("constant", "srd")
    )
    assert plain.fingerprint == scheduled.fingerprint
    assert "teacher" not in plain.inputs


def test_the_same_data_in_another_place_is_the_same_data(tmp_path: Path, data_file: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(data_file.read_bytes())
    here, there = (fingerprints("dataset=jsonl", f"dataset.path={path}") for path in (data_file, copy))
    assert here == there
    copy.write_text(copy.read_text() + '{"instruction": "one", "output": "more"}\n')
    assert fingerprints("dataset=jsonl", f"dataset.path={copy}") != here


def test_a_group_of_suites_replaces_the_default() -> None:
    assert list(config("evaluate=vicuna").evaluate.suites) == ["vicuna"]
    with pytest.raises(UserError, match="did you mean 'vicuna'"):
        config("evaluate=vicuna", "evaluate.suites.vicuna.name=vicunia")
    assert sorted(config("evaluate=minillm").evaluate.suites) == ["dolly", "self_inst", "sinst", "uinst", "vicuna"]


def test_greedy_decoding_has_no_use_for_seeds() -> None:
    greedy = ["evaluate.generation.temperature=0", "reflect.generation.temperature=0"]
    assert fingerprints(*greedy) == fingerprints(*greedy, "evaluate.seeds=[7]", "reflect.seed=7")


def test_lora_changes_training_and_no_reflection_of_the_untrained_student() -> None:
    untrained = "model.student.finetune.epochs=0"
    before, after = fingerprints(untrained), fingerprints(untrained, "model.student.lora.rank=2")
    assert before["reflect"] == after["reflect"]
    assert before["distill"] != after["distill"]


def test_the_tokenizer_of_given_weights_is_part_of_every_text() -> None:
    pair = [
        "model=pair",
        "model.teacher.name=org/teacher",
        "model.teacher.revision=a",
        "model.teacher.finetune.epochs=1",
        "model.student.revision=b",
    ]
    one, other = (
        graph.finetune(config(*pair, f"model.student.name=org/{name}"), "teacher") for name in ("base", "instruct")
    )
    assert one.fingerprint != other.fingerprint


def test_a_corpus_counts_by_its_content_and_must_be_there(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    for path in (one, other):
        path.write_text('{"text": "some words"}\n')
    here, there = (fingerprints(f"method.corpus.path={path}") for path in (one, other))
    assert here == there != fingerprints()
    other.write_text('{"text": "more words"}\n')
    assert fingerprints(f"method.corpus.path={other}")["distill"] != here["distill"]
    with pytest.raises(UserError, match=r"method\.corpus\.path=nowhere: no such file"):
        fingerprints("method.corpus.path=nowhere")


def test_the_teacher_is_on_disk_unless_the_student_writes() -> None:
    def reads(*overrides: str) -> set[str]:
        return set(graph.distill(config(*SMALL, *overrides)).inputs) & {"cache", "teacher"}

    assert reads() == reads("teacher.signal=hidden") == {"cache"}
    assert reads("teacher.signal=online") == reads("method=gkd") == {"teacher"}
    assert reads("method=sft") == reads("method=seqkd") == set()
    with pytest.raises(UserError, match=r"method=gkd trains on other responses than the samples'"):
        config("method=gkd", "teacher.signal=hidden")
    shared = {
        graph.cache(config(*SMALL, *o)).fingerprint
        for o in ([], ["method=jsd"], ["filter.keep=0.5"], ["distill.seed=3"])
    }
    assert len(shared) == 1, "one cache for all arms"
    assert graph.cache(config(*SMALL, "teacher.dtype=bfloat16")).fingerprint not in shared


def test_settings_of_student_data_count_where_they_are_read() -> None:
    gkd = fingerprints("method=gkd")
    assert (
        fingerprints("method=gkd", "method.student_data.loss_margin=9", "method.student_data.fresh=increasing") == gkd
    )
    assert fingerprints("method=gkd", "method.student_data.every_steps=1")["distill"] != gkd["distill"]
    assert fingerprints("method=gkd", "method.student_data.replay_capacity=32")["distill"] != gkd["distill"]


def test_two_arms_may_share_a_student(tmp_path: Path) -> None:
    from srd.report.study import file_run, read_study

    for name in ("constant", "srd"):
        file_run(config(*SMALL, "method=sft", f"schedule={name}", f"arm={name}", f"outputs={tmp_path}"))
    assert sorted(run.arm for run in read_study(tmp_path, "smoke")) == ["constant", "srd"]


def test_weights_that_nothing_pins_are_refused() -> None:
    with pytest.raises(UserError, match=r"a hub model needs model.student.revision=COMMIT"):
        graph.reflect(config("model=pair", "model.teacher.name=a/b", "model.student.name=c/d"))
    with pytest.raises(UserError, match=r"no such folder; expected adapter_config.json"):
        graph.finetune(config("model=openllama2_7b_to_3b", "+model.teacher.adapter=nowhere"), "teacher")


def test_runs_of_one_name_and_different_settings_stay_apart(tmp_path: Path) -> None:
    from srd.report.study import file_run, read_study

    outputs = f"outputs={tmp_path}"
    for rate in ("1e-3", "2e-3"):
        file_run(config(*SMALL, outputs, f"distill.learning_rate={rate}"))
    file_run(config(*SMALL, outputs, "arm=other", "distill.learning_rate=3e-3"))
    arms = sorted(run.arm for run in read_study(tmp_path, "smoke"))
    assert len(set(arms)) == len(arms) == 3
    assert arms[-1] == "other"


def test_fingerprints_of_today_are_pinned(data_file: Path) -> None:
    """A change here means that everybody's artefacts are made again: raise `VERSIONS` knowingly or find the
    accident."""
    assert fingerprints("dataset=jsonl", f"dataset.path={data_file}") == PINNED


PINNED = {
    "samples": "ca0627e4155f8567",
    "tokenizer": "5e4b120e62192dbd",
    "finetune": "3f6770d7ef39b4f4",
    "reflect": "1403b6d5e924f214",
    "rank": "ddf722a4a50b6c09",
    "filter": "03581dbe2cf13990",
    "partition": "e96d819ee2491a9b",
    "cache": "6867c16b8f3f34c2",
    "distill": "34f6cb6532cf2636",
    "evaluate": "ac57e10bf1961bd2",
}
