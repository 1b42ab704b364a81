"""Plain text to windows of tokens: each token once and in its order, borders where documents meet, the same rows
whatever file the documents come in."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from srd.config import Config, Dataset
from srd.datasets import text
from srd.errors import UserError
from srd.pipeline import graph, scoring
from srd.pipeline.make import make
from srd.stages import windows as stage
from srd.store.rows import Sample, read_rows
from srd.text.packing import Packer, document_encoder
from tests.composing import config
from tests.reading import manifest, write_jsonl
from tests.small import texts
from tests.tokenizers import KINDS, tokenizer

pytestmark = pytest.mark.slow  # every kind of tokenizer and of file

SMALL = ["debug=smoke", "engine=cpu", "dataset=text", "dataset.limit=null", "model.max_tokens=50"]


def documents(count: int = 40) -> list[str]:
    """Documents of one to six lines, all different."""
    draw, words = random.Random(0), texts()
    return ["\n".join(draw.choice(words) for _ in range(draw.randint(1, 6))) + f" {i}" for i in range(count)]


def plain_file(path: Path, texts: list[str]) -> Path:
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def small(path: Path, outputs: Path, *more: str) -> Config:
    held_out = ["dataset.dev_samples=4", "dataset.test_samples=5"]
    return config(*SMALL, *held_out, f"dataset.path={path}", f"outputs={outputs}", *more)


def made(cfg: Config) -> Path:
    return make(cfg, graph.rows(cfg))


def windows_in(folder: Path, split: str) -> list[Sample]:
    return [row for row in read_rows(folder / "samples.jsonl", Sample) if row.split == split]


def test_windows_of_documents_packed_by_hand() -> None:
    packer = Packer(4)
    cut = [packer.add(ids) for ids in ([2, 3, 1], [4, 5, 6, 7, 1], [8, 1], [9, 9, 9, 1])]
    found = [[(window.ids, window.borders) for window in windows] for windows in map(list, cut)]
    # Of 2 3 1|4  5 6 7 1|8 1 9 9|9 1 the 4 stands behind another document's EOS, the 8 begins a window, and so on.
    assert found == [[], [([2, 3, 1, 4], [3]), ([5, 6, 7, 1], [])], [], [([8, 1, 9, 9], [2])]]
    assert packer.left == [9, 1]


@pytest.mark.parametrize("size", [3, 4, 7, 64])
def test_every_token_is_in_one_window_in_its_order(size: int) -> None:
    draw, packer, stream, begins = random.Random(size), Packer(size), [], set()
    windows = []
    for _ in range(200):
        ids = [draw.randint(2, 99) for _ in range(draw.choice([1, 2, 3, 50, 300]))] + [1]
        begins.add(len(stream))
        stream += ids
        windows += packer.add(ids)
    assert len(windows) == len(stream) // size > 50
    assert [id for window in windows for id in window.ids] + packer.left == stream
    borders = {number * size + place for number, window in enumerate(windows) for place in window.borders}
    cut = {begin for begin in begins if begin % size and begin < len(windows) * size}
    assert borders == cut
    # Nothing else follows an EOS here: the unsupervised labels are those right behind one, within a window.
    assert borders == {at for at in range(1, len(windows) * size) if stream[at - 1] == 1 and at % size}
    # Borders are never neighbours, so that every window of three tokens has something to learn.
    assert all(len(window.borders) <= size // 2 and len(window.ids) == size for window in windows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_framed_once_and_spells_no_control_token(kind: str) -> None:
    tokens = tokenizer(kind)
    encode = document_encoder(tokens)
    plain, spelt = encode("bace di fo gu"), encode("bace <eos> di <bos> fo")
    begin = [tokens.bos_token_id] if kind != "slow" else []
    for ids in (plain, spelt):
        assert ids[: len(begin)] == begin
        assert ids[-1] == tokens.eos_token_id
        inner = ids[len(begin) : -1]
        assert tokens.eos_token_id not in inner
        assert tokens.bos_token_id not in inner
    assert encode("") == []


def test_a_file_of_any_kind_gives_the_same_windows(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    given = documents()
    rows = [{"text": text, "url": "x"} for text in given]
    plain = plain_file(tmp_path / "a.txt", given)
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    windows_end = tmp_path / "c.txt"
    windows_end.write_bytes(b"\xef\xbb\xbf\n" + plain.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    lines = write_jsonl(tmp_path / "d.jsonl", rows)
    zipped = tmp_path / "e.jsonl.gz"
    zipped.write_bytes(gzip.compress(lines.read_bytes()))
    array = tmp_path / "f.json"
    array.write_text(json.dumps(rows))
    table = tmp_path / "g.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    files = [plain, packed, windows_end, lines, zipped, array, table]
    contents = {(made(small(path, tmp_path / path.stem)) / "samples.jsonl").read_bytes() for path in files}
    assert len(files) == 7
    assert len(contents) == 1


def test_splits_share_no_document_and_counts_and_budget_are_exact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    path, given = plain_file(tmp_path / "a.txt", documents()), documents()
    whole, cut = (small(path, tmp_path / "out", *more) for more in ([], ["dataset.tokens=640"]))
    folder, said = made(whole), capsys.readouterr().err
    splits = {row.output: row.split for row in read_rows(_documents(whole) / "samples.jsonl", Sample)}
    assert sorted(splits) == sorted(given)
    tokens = AutoTokenizer.from_pretrained(graph.tokenizer(whole)["tokenizer"].folder(whole.outputs))
    ledger = manifest(folder)["ledger"]
    for split, count in {"train": 31, "dev": 4, "test": 5}.items():
        of_split = [text for text in splits if splits[text] == split]
        windows = windows_in(folder, split)
        assert len(of_split) == ledger["documents"][split] == count
        stream = "<eos>".join([*of_split, ""])  # documents are in the order of their ids
        ids = tokens(stream)["input_ids"]
        assert [id for window in windows for id in window.ids or []] == ids[: 50 * len(windows)]
        assert ledger["samples"][split] == len(windows) == len(ids) // 50 > 0
        assert ledger["dropped_tokens"][split] == len(ids) % 50
        assert f"{split}: {len(windows)} windows of 50 tokens from {count} documents" in said
        assert (f"{len(ids) % 50} tokens at the end are dropped" in said) or len(ids) % 50 == 0
        assert all(tokens.decode(window.ids) == window.output for window in windows)
    fewer = made(cut)
    assert windows_in(fewer, "train") == windows_in(folder, "train")[: 640 // 50]
    assert windows_in(fewer, "test") == windows_in(folder, "test")
    assert "12 windows of 50 tokens" in (said := capsys.readouterr().err)
    assert "which fill dataset.tokens=640" in said
    made(small(path, tmp_path / "out", "dataset.tokens=100000"))
    assert "less than dataset.tokens=100000: there is no more text" in capsys.readouterr().err


def _documents(cfg: Config) -> Path:
    return graph.samples(cfg.dataset).folder(cfg.outputs)


def test_windows_with_the_same_tokens_are_not_the_same_window(tmp_path: Path) -> None:
    repeated = "ba " * 600
    cfg = small(plain_file(tmp_path / "a.txt", [repeated, *documents()]), tmp_path / "out", "model.max_tokens=60")
    rows = read_rows(made(cfg) / "samples.jsonl", Sample)
    assert len({tuple(row.ids or []) for row in rows}) < len(rows)
    assert len({row.id for row in rows}) == len(rows)


def test_a_stage_that_was_killed_leaves_the_same_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plain_file(tmp_path / "a.txt", documents())
    straight = (made(small(path, tmp_path / "straight")) / "samples.jsonl").read_bytes()
    cfg, left = small(path, tmp_path / "killed"), [17]

    class Killed(Packer):
        def add(self, document: list[int]) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return super().add(document)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "Packer", Killed)
        with pytest.raises(KeyboardInterrupt):
            made(cfg)
    assert not graph.rows(cfg).is_complete(cfg.outputs)
    assert len(list(Path(cfg.outputs).glob("windows/*.partial"))) == 1
    assert (made(cfg) / "samples.jsonl").read_bytes() == straight


def test_a_folder_has_its_own_splits(tmp_path: Path) -> None:
    given = documents()
    for name, part in {"train.txt": given[:20], "valid.txt": given[20:30], "test.txt": given[30:]}.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        plain_file(tmp_path / "data" / name, part)
    rows = list(text.load(Dataset("text", str(tmp_path / "data"))))
    assert [(row["output"], row["split"]) for row in rows] == [
        (document, "train" if i < 20 else "dev" if i < 30 else "test") for i, document in enumerate(given)
    ]
    assert rows[1]["where"].endswith(f"train.txt:{2 + len(given[0].splitlines())}")


def test_the_hub_is_read_no_further_than_the_budget_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"page": document} for document in documents(200)]
    write_jsonl(tmp_path / "hub" / "train.jsonl", rows)
    hub = Dataset("text", hub=str(tmp_path / "hub"), revision="0" * 40, tokens=100)
    hub.columns.text = "page"
    read = [row["output"] for row in text.load(hub)]
    needed = text.BYTES_A_TOKEN * 100
    assert read == [row["page"] for row in rows][: len(read)]
    assert sum(len(each) for each in read[:-1]) < needed <= sum(map(len, read))
    assert text.source(hub) != text.source(Dataset(**{**vars(hub), "tokens": 101}))
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(text.hub, "fetch", lambda name, dataset, **options: (seen.append(options), {"train": rows})[1])
    assert [row["output"] for row in text.load(hub)] == read
    assert seen == [{"streaming": True}]
    hub.tokens = None
    with pytest.raises(UserError, match=r"dataset\.tokens=null: .* is streamed until there is text for so many tokens"):
        text.source(hub)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"body": "x"}\n', r"a\.jsonl:1: no column 'text'; found body; name it with dataset\.col"),
        ("a.jsonl", b'{"text": ["x"]}\n', r"a\.jsonl:1: text is \['x'\]: expected text or a number"),
        ("a.jsonl", b"some words\n", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b"", r"a\.jsonl: empty"),
        ("a.txt", b"", r"a\.txt: empty; expected text, with a blank line between two documents"),
        ("a.txt", b"\n \n\n", r"a\.txt: empty; expected text"),
        ("a.txt", b"fine\n\n\xff\xfe\n", r"a\.txt:3: not UTF-8 \(byte 0\)"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", r"a\.txt: a Git LFS pointer"),
        ("a.txt.gz", b"no gzip", r"a\.txt\.gz: broken gzip file"),
        ("a.txt", "\n\n".join(documents(12)).encode(), r"windows/\w+: the dev documents do not fill one window of mod"),
        ("a.txt", "\n\n".join("abcdefghij").encode(), r"the training documents do not fill one window of model\.max"),
    ],
)  # fmt: skip
def test_text_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    few = ["dataset.dev_samples=1", "model.max_tokens=60"] if message.startswith("windows") else []
    with pytest.raises(UserError, match=message):
        made(small(path, tmp_path / "out", *few))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["distill.select_by=rouge_l"], r"distill\.select_by=rouge_l: windows of text are not answered; use .*=nll"),
        (["curriculum=baby_step"], r"rouge_l comes of answers to prompts, and dataset=text has windows of text"),
        (["filter.keep=0.5", "filter.by=rouge_l"], r"rouge_l comes of answers to prompts"),
        (["method=seqkd"], r"method=seqkd: the teacher answers prompts, and dataset=text has windows"),
        (["method=on_policy_rkl"], r"method\.student_data\.prompt_tokens=null: expected 1 to 49"),
        (["method=gkd", "method.student_data.prompt_tokens=50"], r"prompt_tokens=50: expected 1 to 49"),
        (["method.student_data.prompt_tokens=5"], r"prompt_tokens=5: expected null where the student does not"),
        (["dataset.corrupt=0.5"], r"dataset\.corrupt=0\.5: expected 0: a document has no response"),
        (["dataset.tokens=49"], r"dataset\.tokens=49: expected at least one window of model\.max_tokens=50"),
        (["dataset.tokens=0"], r"dataset\.tokens=0: expected 1 to"),
        (["model.max_tokens=2", "model.max_prompt_tokens=1"], r"model\.max_tokens=2: expected 3 or more"),
        (["dataset.name=jsonl", "dataset.tokens=60"], r"dataset\.tokens=60: expected nothing beside dataset=jsonl"),
        (["dataset=jsonl", "dataset.columns.text=a"], r"dataset\.columns\.text=a: expected nothing beside dataset=js"),
    ],
)
def test_what_needs_prompts_says_what_to_use_instead(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(plain_file(tmp_path / "a.txt", documents()), tmp_path, *overrides)


def test_a_suite_of_text_is_read_and_one_with_prompts_is_answered(tmp_path: Path) -> None:
    path = plain_file(tmp_path / "a.txt", documents())
    text = small(path, tmp_path, "evaluate.targets=[distill]")
    assert [node.stage for node in scoring.scores(text)] == ["likelihood"]
    with pytest.raises(UserError, match=r"evaluate\.suites=\['heldout'\]: windows of text .* `srd likelihood` takes"):
        scoring.evaluations(text)
    suites = f"++evaluate.suites={{heldout: null, pages: {{name: text, path: {path}}}}}"
    both = config("model=tiny", suites, "evaluate.targets=[distill]")
    found = [(node.stage, node.settings["suite"]) for node in scoring.scores(both)]
    assert found == [("evaluate", "heldout"), ("likelihood", "pages")]
    assert scoring.evaluations(both) == scoring.scores(both)[:1]


def test_columns_of_plain_text_and_reflection_are_refused(tmp_path: Path) -> None:
    cfg = small(plain_file(tmp_path / "a.txt", documents()), tmp_path, "dataset.columns.text=body")
    with pytest.raises(
        UserError, match=r"dataset\.columns\.text=body: expected nothing beside .*a\.txt, which is plai"
    ):
        graph.rows(cfg)
    with pytest.raises(
        UserError, match=r"reflect: dataset=text has windows of text and no prompts to answer; use rank"
    ):
        graph.reflect(cfg)


def test_windows_depend_on_the_text_its_size_and_the_tokenizer_alone(tmp_path: Path) -> None:
    path = plain_file(tmp_path / "a.txt", documents())

    def known(*more: str) -> str:
        return graph.rows(small(path, tmp_path, *more)).fingerprint

    same = [[], ["model.template=alpaca"], ["model.max_prompt_tokens=9"], ["method=jsd"], ["distill.seed=3"]]
    other = [["model.max_tokens=51"], ["dataset.tokens=200"], ["model.vocabulary=301"], ["dataset.dev_samples=3"]]
    assert len({known(*more) for more in same}) == 1
    assert len({known(*more) for more in [[], *other]}) == 5


def test_the_budget_of_a_file_remakes_no_document(tmp_path: Path) -> None:
    path = plain_file(tmp_path / "a.txt", documents())
    nodes = [graph.rows(small(path, tmp_path, *more)) for more in ([], ["dataset.tokens=200"])]
    assert len({str(node.inputs["samples"]) for node in nodes}) == 1
    assert len({str(node.inputs["tokenizer"]) for node in nodes}) == 1
