"""The ways through the pipeline that are killed and damaged, each as the overrides that differ; each a few seconds."""

from pathlib import Path

TINY = [
    "debug=smoke",
    "dataset=jsonl",
    "engine=cpu",
    "engine.threads=1",
    "engine.save_steps=1",
    "engine.generation_sequences=2",
    "engine.micro_batch_tokens=64",
    "dataset.limit=16",
    "dataset.test_samples=6",
    "distill.epochs=2",
    "evaluate.targets=[distill]",
]
"""Many places to be killed at; what `engine.*` says changes no result."""
PLAIN = ["schedule=constant", "curriculum=none", "filter.keep=1"]
TUNED = ["model.teacher.finetune.epochs=2", "model.student.finetune.epochs=2"]
PAIR = ["model=pair", "model.template=plain", "model.max_prompt_tokens=48", "model.max_tokens=64"]
LORA = ["model.student.lora.rank=2", "model.student.lora.alpha=4"]

VARIANTS: dict[str, list[str]] = {
    "cached teacher": [],
    "fine-tuned teacher and student": TUNED,
    "pair by name": PAIR,
    "pair by name, fine-tuned": [*PAIR, *(f"{key.replace('epochs=2', 'batch_sequences=4')}" for key in TUNED), *TUNED],
    "online teacher": ["teacher.signal=online"],
    "on-policy": ["method=gkd", *PLAIN],
    "on-policy, replayed": [
        "method=gkd",
        *PLAIN,
        "method.student_data.replay_capacity=10",
        "method.student_data.adaptive=true",
        "method.student_data.loss_margin=0",
    ],
    "answers of the teacher": ["method=seqkd", "curriculum=none", "filter.keep=1"],
    "without a teacher": ["method=sft", "curriculum=none", "filter.keep=1"],
    "adapter, merged": [*PAIR, *LORA, *PLAIN],
    "adapter, kept": [*PAIR, *LORA, *PLAIN, "model.student.lora.merge=false"],
    "adapter, fine-tuned": [*PAIR, *LORA, *TUNED],
    "corpus beside": [*PLAIN, "method.corpus.path={lab}/corpus.jsonl", "method.corpus.batch_sequences=2"],
    "plain": PLAIN,
    "one order kept": ["curriculum=none", "curriculum.order=kept", "schedule=constant"],
    "best weights handed over": ["distill.handover=best", "distill.course=continue"],
    "random filter, wrong rows": ["filter.by=random", "dataset.corrupt=0.25"],
    "several seeds and targets": ["evaluate.seeds=[1,2,3]", "evaluate.targets=[teacher,student,distill]"],
    "two processes": [*PAIR, *PLAIN, "teacher.signal=online", "engine.processes=2"],
    "several arms": ["filter.keep=0.5,1.0"],
}


def overrides(name: str, lab: Path) -> list[str]:
    """The whole line of a variant behind its command; the data and the weights of a named pair lie in `lab`."""
    more = [word.replace("{lab}", str(lab)) for word in VARIANTS[name]]
    if "model=pair" in more:
        more += [f"model.{role}.name={lab / role}" for role in ("teacher", "student")]
    sweep = ["-m"] if any("," in word and "[" not in word for word in more) else []
    return [*sweep, *TINY, f"dataset.path={lab / 'rows.jsonl'}", *more]
