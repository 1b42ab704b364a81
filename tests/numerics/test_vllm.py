"""The vLLM backend asks for what our own decoding does: tried on a stand-in that decodes with ours, for vLLM needs a
GPU."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from srd.config import Engine, Generation
from srd.errors import UserError
from srd.generation.answerer import answer, answerer
from srd.generation.decoding import decode
from srd.pipeline import graph, scoring
from tests.composing import config
from tests.small import encoded, model, tokenizer


class StandIn(ModuleType):
    """What `srd.vllm` uses of vLLM, greedy only."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.asked: list[Any] = []
        self.SamplingParams = SimpleNamespace
        self.LLM = self._load

    def _load(self, **options: Any) -> Any:
        net = AutoModelForCausalLM.from_pretrained(options["model"]).eval()
        self.options = options

        def generate(prompts: list[dict[str, list[int]]], params: list[Any], use_tqdm: bool) -> list[Any]:
            self.asked = params
            p = params[0]
            allowed = net.config.vocab_size - len(p.logit_bias or ())
            ids = [prompt["prompt_token_ids"] for prompt in prompts]
            chosen = decode(
                net,
                ids,
                lambda logits, rows: logits[:, :allowed].argmax(-1),
                set(p.stop_token_ids),
                p.max_tokens,
                4,
                64,
            )
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(answer))]) for answer in chosen]

        self.running = True
        core = SimpleNamespace(shutdown=lambda: setattr(self, "running", False))
        return SimpleNamespace(generate=generate, llm_engine=SimpleNamespace(engine_core=core))


@pytest.mark.parametrize("vocabulary", [300, 320])
def test_greedy_answers_are_ours(monkeypatch: pytest.MonkeyPatch, vocabulary: int) -> None:
    monkeypatch.setitem(sys.modules, "vllm", StandIn())
    net, rows, greedy, told = model(vocabulary=vocabulary), encoded(), Generation(temperature=0.0, max_new_tokens=9), []
    stand_in: Any = sys.modules["vllm"]
    with answerer(net, tokenizer(), Engine(generation_backend="vllm", generation_sequences=8), 80) as vllm_answerer:
        given = vllm_answerer(rows, greedy, [10] * 8, told.append)
        folder = Path(stand_in.options["model"])
        assert folder.is_dir()
        assert stand_in.running
    assert given == answer(net, rows, tokenizer(), greedy, [10] * 8, Engine())
    assert told == [8]
    assert (stand_in.options["max_num_seqs"], stand_in.options["max_model_len"]) == (8, 80)
    assert len(stand_in.asked[0].logit_bias or ()) == vocabulary - len(tokenizer())
    assert not folder.is_dir(), "the weights handed over are gone"
    assert not stand_in.running, "and so is the engine"


def test_every_row_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", StandIn())
    with answerer(model(), tokenizer(), Engine(generation_backend="vllm"), 80) as vllm_answerer:
        vllm_answerer(
            encoded(), Generation(temperature=1.0, top_p=0.9, max_new_tokens=2), [10] * 4 + [20] * 4, lambda rows: None
        )
    stand_in: Any = sys.modules["vllm"]
    assert len({p.seed for p in stand_in.asked}) == 8
    assert all(0 <= p.seed < 2**63 and p.top_k == -1 and p.top_p == 0.9 for p in stand_in.asked)


def test_only_samples_know_who_drew_them() -> None:
    ours, theirs = config(), config("engine.generation_backend=vllm")
    assert graph.reflect(ours).fingerprint == graph.reflect(theirs).fingerprint, "greedy"
    sampled = "evaluate.generation.temperature=1.0"
    nodes = [
        scoring.evaluate(config(sampled, f"engine.generation_backend={who}"), "student", "heldout")
        for who in ("transformers", "vllm")
    ]
    assert nodes[0].fingerprint != nodes[1].fingerprint
    assert "sampler" not in nodes[0].settings


def test_what_vllm_cannot_do_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no_repeat_ngram_size=6 is not something vLLM does"):
        config("engine.generation_backend=vllm", "reflect.generation.no_repeat_ngram_size=6")
    monkeypatch.setitem(sys.modules, "vllm", None)
    vllm_answerer = answerer(model(), tokenizer(), Engine(generation_backend="vllm"), 80)
    with pytest.raises(UserError, match="the package vllm is not installed"), vllm_answerer:
        pass
    with pytest.raises(UserError, match="vLLM takes the first GPU it sees"):
        config("engine.generation_backend=vllm", "engine.device=cuda:1")
