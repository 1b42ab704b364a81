"""Summaries, translations and mathematics: their metrics on values worked out elsewhere, and their data sets."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from srd.cli import main
from srd.datasets import DATASETS
from srd.errors import UserError
from srd.metrics import METRICS, blind_share, check_installed, corpus_sums, maths
from srd.metrics.bert import Embedder, bert_score
from srd.metrics.maths import math_exact
from srd.report.stats import interval_of
from srd.report.values import Values, pass_at
from srd.stages.samples import clean
from srd.store.rows import Sample
from tests.composing import config
from tests.conftest import SHARED
from tests.reading import write_jsonl

ANSWERS = [
    "The cat sat on the mat.",
    "He gets up at seven o'clock every day.",
    "I can do it now, I think.",
    "",
    "Es ist schön",
    "one",
]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["He gets up at 7 o'clock every day.", "Every day he gets up at seven."],
    ["I can do this now.", "I can do it now."],
    ["Nothing was said.", "Not a word."],
    ["Es ist sehr schön", "Schön ist es"],
    ["one", "two"],
]


def sample(*references: str, **more: str) -> Sample:
    return Sample(id="a", instruction="", input="", output=list(references), split="test", **more)


def test_summaries_are_scored_as_rouge_score_does() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    kinds = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_lsum": "rougeLsum"}
    scorer = RougeScorer([*kinds.values()], use_stemmer=True)
    for answer, references in zip(
        [*ANSWERS, "one cat\nsat there"], [*REFERENCES, ["cats sit\none there"]], strict=True
    ):
        expected = scorer.score_multi(references, answer)
        for name, kind in kinds.items():
            assert METRICS[name](answer, sample(*references)) == expected[kind].fmeasure
    assert METRICS["rouge_lsum"]("b c\na", sample("a\nb c")) > METRICS["rouge_l"]("b c\na", sample("a\nb c"))


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_a_corpus_is_scored_as_sacrebleu_does(name: str) -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    theirs = {"bleu": BLEU, "chrf": CHRF}[name]()
    expected = theirs.corpus_score(ANSWERS, [[*each] for each in zip(*REFERENCES, strict=True)]).score
    rows = [corpus_sums(a, sample(*r), [name]) for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    sums = np.array([(row or {})[name] for row in rows]).T[:, None, :]
    values = Values([*map(str, range(6))], [1], {name: np.zeros((1, 6, 1))}, {name: sums})
    assert 100 * values.mean(name) == pytest.approx(expected, abs=1e-9)
    found = values.interval(name)
    assert found.mean == pytest.approx(expected, abs=1e-9)
    assert found.low < found.mean < found.high
    sentences = [METRICS[name](a, sample(*r)) for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    assert abs(100 * sum(sentences) / 6 - expected) > 0.1, "it is no mean of sentences"
    corpus = METRICS[name].corpus
    assert corpus is not None
    assert corpus.signature().startswith(f"{name}|nrefs:var|case:mixed|")
    same = values.difference(values, name)
    assert same is not None
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_the_interval_of_corpus_bleu_is_near_that_of_the_bootstrap() -> None:
    rng, words = np.random.default_rng(3), [*"abcdefghijkmn"]
    references = [[" ".join(rng.choice(words, 9))] for _ in range(120)]
    answers = [" ".join(w if rng.random() < 0.7 else rng.choice(words) for w in each.split()) for [each] in references]
    corpus = METRICS["bleu"].corpus
    assert corpus is not None
    sums = np.array([corpus.sums(a, r) for a, r in zip(answers, references, strict=True)]).T
    found = interval_of(sums[:, None, :], corpus.score)
    drawn = np.array([sums[:, rng.integers(0, 120, 120)].sum(-1) for _ in range(500)]).T[:, None, :]
    low, high = np.quantile(corpus.score(drawn), [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.015)
    assert found.high == pytest.approx(high, abs=0.015)
    assert high - low > 0.05


RIGHT = [
    ("18", "so she has 16 - 3 - 4 = <<16-3-4=9>>9 eggs\n#### 18"),
    ("#### 1,234", "the answer is $1234.00."),
    ("steps\n#### 5", "5\n#### 5\n#### 7"),
    ("1/2", r"It is \boxed{\frac{1}{2}}"),
    ("0.5", r"therefore $\frac12$"),
    ("-3", "\N{MINUS SIGN}3"),
    (r"$x+1$", r"we get $1+x$"),
    ("18", "She makes 18 dollars every day"),
]
WRONG = [("18", "no number here"), ("18", ""), ("7", "16 - 3 - 4 = 9"), ("7", "7.5"), ("#### 18", "18\n#### 19")]


def test_a_final_answer_is_right_by_what_it_is_worth() -> None:
    assert [math_exact(answer, [gold]) for gold, answer in RIGHT] == [1.0] * 8
    assert [math_exact(answer, [gold]) for gold, answer in WRONG] == [0.0] * 5
    assert math_exact("3", ["4", "3.0"]) == 1.0


def test_an_answer_that_hangs_or_breaks_the_verifier_is_wrong_and_the_next_one_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maths, "SECONDS", 1.0)
    begin = time.monotonic()
    assert math_exact("$9^{9^{9^{9}}}$", ["2"]) == 0.0
    assert math_exact("(" * 5000 + "1", ["2"]) == 0.0
    assert math_exact("\\frac{1}{", ["2"]) == 0.0
    assert time.monotonic() - begin < 15
    assert math_exact("2.0", ["2"]) == 1.0


def test_pass_at_k_is_the_share_of_draws_with_a_right_answer() -> None:
    cases = 0
    for right in itertools.product([0, 1], repeat=5):
        for k in range(1, 6):
            draws = [any(draw) for draw in itertools.combinations(right, k)]
            assert pass_at(np.array([[right]]), k)[0, 0, 0] == pytest.approx(sum(draws) / len(draws))
            cases += 1
    assert cases == 160
    values = Values(["a", "b"], [1, 2], {"exact_match": np.array([[[1, 0], [0, 0]]]), "nll": np.zeros((1, 2, 2))}, {})
    found = values.pass_at([1, 2, 3])
    assert {name: each.mean for name, each in found.items()} == {
        "pass@1 by exact_match": 25.0,
        "pass@2 by exact_match": 50.0,
    }


def test_scripts_without_spaces_are_seen_by_chrf_alone(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [sample("這是一隻貓"), sample("これは猫です")]
    shares = {name: blind_share(name, samples) for name in ("rouge_2", "bleu", "chrf", "exact_match")}
    assert shares == {"rouge_2": 1.0, "bleu": 1.0, "chrf": 0.0, "exact_match": 0.0}
    assert "BLEU sees nothing in 2 of 2 references (100 %): it counts words between spaces; look at chrf" in (
        capsys.readouterr().err
    )
    assert blind_share("bleu", [sample("Это кот"), sample("12 + 3")]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate.pass_at=[1,6]"], "evaluate.pass_at"),
        (["evaluate.pass_at=[2]", "evaluate.generation.temperature=0"], "greedy decoding gives one"),
        (["evaluate.pass_at=[1]", "evaluate.metrics=[rouge_l]"], "exact_match, code_passes, math_exact in it"),
        (["distill.select_by=bleu"], "nll or one of evaluate.metrics"),
        (["evaluate.metrics=[rouge_l,bleuu]"], "bleu"),
    ],
)
def test_what_does_not_go_together_is_one_line(words: list[str], said: str) -> None:
    sampled = ["evaluate.generation.temperature=1", "evaluate.seeds=[1,2,3,4,5]"]
    with pytest.raises(UserError, match=said) as error:
        config(*sampled, *words)
    assert "\n" not in str(error.value)


def test_a_metric_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srd.metrics.find_spec", lambda name: None)
    extras = set()
    for name, metric in METRICS.items():
        if metric.package is None:
            check_installed(name, "evaluate.metrics entry")
            continue
        with pytest.raises(UserError, match="is not installed; run `pip install 'srd") as error:
            check_installed(name, "evaluate.metrics entry")
        extras.add(str(error.value).partition("srd[")[2].partition("]")[0])
    assert extras == {"summarisation", "translation", "maths"}


def test_a_reference_without_a_number_is_none_of_mathematics() -> None:
    check = METRICS["math_exact"].check
    assert check is not None
    check(sample("#### 3"))
    with pytest.raises(UserError, match="sample a: no number or expression"):
        check(sample("a text"))


ROWS = {
    "xsum": ({"document": "Long text.", "summary": "Short.", "id": "1"}, "Long text.", "Short."),
    "iwslt2017_en_de": ({"translation": {"en": "Hello.", "de": "Hallo."}}, "Hello.", "Hallo."),
    "iwslt2017_de_en": ({"translation": {"en": "Hello.", "de": "Hallo."}}, "Hallo.", "Hello."),
    "gsm8k": ({"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"}, "", "1 + 1 = 2\n#### 2"),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_columns_of_a_task_are_read_and_so_are_the_usual_ones(name: str, tmp_path: Path) -> None:
    row, asked, expected = ROWS[name]
    usual = {"instruction": "Do it.", "input": "this", "output": "that"}
    write_jsonl(tmp_path / "train.jsonl", [row, usual])
    dataset = config(f"dataset={name}", f"dataset.path={tmp_path}").dataset
    theirs, ours = DATASETS[dataset.name].load(dataset)
    assert (theirs["input"], theirs["output"]) == (asked, expected)
    fixed = dataset.columns.instruction_text
    assert theirs["instruction"] == (fixed or "What is 1 + 1?")
    assert [ours[key] for key in usual] == [*usual.values()]
    write_jsonl(tmp_path / "train.jsonl", [{"other": 1}])
    with pytest.raises(UserError, match="no column"):
        list(DATASETS[dataset.name].load(dataset))
    assert DATASETS[dataset.name].source(dataset) != DATASETS[dataset.name].source(
        config(f"dataset={name}", f"dataset.path={tmp_path}", "dataset.columns.instruction_text=Other").dataset
    )


SETS = {"scitldr": ("scitldr", [1991, 619, 618]), "gsm8k": ("gsm8k", [7473, 0, 1319])}
SETS["tatoeba_en_de"] = ("tatoeba_en_de", [10000, 0, 0])


@pytest.mark.parametrize("name", SETS)
def test_the_real_sets_are_read_whole(name: str) -> None:
    folder, counts = SETS[name]
    if not (SHARED / "data" / folder).is_dir():
        pytest.skip(f"{SHARED / 'data' / folder} is not here")
    dataset = config(f"dataset={name}", f"dataset.path={SHARED / 'data' / folder}").dataset
    samples, _ = clean(DATASETS[dataset.name].load(dataset), strict=True)
    assert [sum(each.split == split for each in samples) for split in ("train", "dev", "test")] == counts
    check = METRICS["math_exact"].check
    if name == "gsm8k" and check is not None:
        assert not [check(each) for each in samples if check(each)]
        assert {maths.final_answer(each.references[0]).count("#") for each in samples} == {0}


def test_a_suite_in_a_script_that_a_named_metric_does_not_see_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"instruction": f"Translate {i}.", "output": "這是一隻貓" * (1 + i)} for i in range(30)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    words = ["debug=smoke", "dataset=jsonl", f"dataset.path={tmp_path / 'rows.jsonl'}", f"outputs={tmp_path / 'out'}"]
    assert main(["run", *words, "evaluate.metrics=[chrf,bleu]", "distill.select_by=chrf"]) == 2
    said = capsys.readouterr().err
    assert "evaluate.metrics entry bleu: it counts words between spaces and sees nothing in" in said
    assert "such as chrf" in said


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with a vocabulary of the words of `ANSWERS` and of letters."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    words = {word for text in [*ANSWERS, *itertools.chain(*REFERENCES)] for word in text.lower().split()}
    signs = sorted({sign for word in words for sign in word})
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words), *signs, *(f"##{sign}" for sign in signs)]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(entries)))
    torch.manual_seed(1)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=12).save_pretrained(folder)
    model = BertModel(BertConfig(vocab_size=len(dict.fromkeys(entries)), initializer_range=0.5, **size))
    model.save_pretrained(folder)
    return folder


def test_bert_score_is_the_f_of_the_best_cosines_of_tokens(encoder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(encoder), BertModel.from_pretrained(encoder).eval()

    def states(text: str) -> torch.Tensor:
        with torch.no_grad():
            ids = tokenizer(text, truncation=True, return_tensors="pt")
            return model(**ids, output_hidden_states=True).hidden_states[2][0]

    def expected(answer: str, reference: str) -> float:
        ours, theirs = states(answer), states(reference)
        cosine = [[float(torch.cosine_similarity(a, b, dim=0)) for b in theirs] for a in ours]
        if min(len(ours), len(theirs)) == 2:
            return 0.0
        precision = sum(max(row) for row in cosine[1:-1]) / (len(ours) - 2)
        recall = sum(max(column) for column in list(zip(*cosine, strict=True))[1:-1]) / (len(theirs) - 2)
        return 2 * precision * recall / (precision + recall)

    embedder = Embedder(str(encoder), None, 2, "cpu")
    found = bert_score(ANSWERS, [sample(*each) for each in REFERENCES], embedder)
    wanted = [max(expected(a, each) for each in r) for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert found[3] == 0
    assert found[5] == pytest.approx(1)
    assert bert_score(ANSWERS[:1], [sample(*REFERENCES[0])], embedder) == pytest.approx(found[:1], abs=1e-5)
    with pytest.raises(UserError, match=r"evaluate.encoder.layer=4: .* has 3"):
        bert_score(["a"], [sample("b")], Embedder(str(encoder), None, 4, "cpu"))
    with pytest.raises(UserError, match=r"evaluate.encoder.name=nowhere: cannot be loaded"):
        bert_score(["a"], [sample("b")], Embedder("nowhere", None, 1, "cpu"))


@pytest.mark.slow  # a small run
def test_answers_read_by_an_encoder_rank_choose_and_score(
    encoder: Path, smoke: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        *smoke,
        "evaluate.metrics=[bert_score,rouge_l]",
        "distill.select_by=bert_score",
        "evaluate.encoder.layer=2",
    ]
    words += ["rank.signals=[bert_score,nll]", "evaluate.targets=[distill]"]
    assert main(["run", *words]) == 2
    assert "evaluate.encoder.name=null: bert_score reads with a model; set it to a folder" in capsys.readouterr().err
    assert main(["run", *words, "evaluate.encoder.name=far/away"]) == 2
    assert "a hub model needs evaluate.encoder.revision=COMMIT" in capsys.readouterr().err
    assert main(["run", *words, f"evaluate.encoder.name={encoder}"]) == 0
    assert main(["report", "smoke"]) == 0
    assert "| BERTScore | 95 % interval |" in (tmp_path / "outputs/report/smoke/report.md").read_text()
