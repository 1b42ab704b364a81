"""Models: loaded, built or cut down; logits at chosen positions; checkpoints.

Axes: B sequences, T tokens, N supervised positions, H hidden size, V vocabulary.
"""

import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError, StrictDataclassError
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from srd.config import Config, Engine, Side
from srd.errors import UserError
from srd.runtime import processes
from srd.store.files import disk_errors
from srd.tokens import Batch

# The stages show bars of their own.
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def load_tokenizer(cfg: Config, inputs: dict[str, Path]) -> PreTrainedTokenizerBase:
    """The tokenizer of a stage: the trained one where there is one, else that of the student's weights.

    Teacher and student must have the same vocabulary, or a `UserError` gives both sizes.
    """
    if "tokenizer" in inputs:
        return AutoTokenizer.from_pretrained(inputs["tokenizer"])
    student, teacher = (_side_tokenizer(cfg.model.side(role), role) for role in ("student", "teacher"))
    if student.get_vocab() != teacher.get_vocab():
        raise UserError(
            f"teacher and student have different vocabularies ({len(teacher)} and {len(student)} tokens): "
            "a divergence needs the same tokens; choose a pair that shares its tokenizer"
        )
    if student.eos_token_id != teacher.eos_token_id:
        raise UserError(
            f"teacher and student end a text differently ({teacher.eos_token!r} and {student.eos_token!r}): "
            "choose a pair of one kind, both instruct or both base models"
        )
    return student


def load_model(cfg: Config, role: str, inputs: dict[str, Path], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model of a role in its newest form among a stage's inputs, in eval mode on the engine's device.

    The configured weights, then the role's fine-tuned ones, then the distilled `checkpoint`: whole
    weights replace what came before, LoRA adapters are merged into it. A model to train gets an
    adapter of its own through `trainable`.
    """
    side = cfg.model.side(role)
    folders = [
        folder
        for folder in (inputs[role] / "model" if role in inputs else None, inputs.get("checkpoint"))
        if folder is not None
    ]
    whole = [place for place, folder in enumerate(folders) if not (folder / "adapter_config.json").is_file()]
    if whole:
        options = {"dtype": getattr(torch, side.dtype), "trust_remote_code": side.trust_remote_code}
        model = AutoModelForCausalLM.from_pretrained(folders[whole[-1]], **options)
    else:
        model = _initial(side, role, tokenizer)
    for adapter in folders[whole[-1] + 1 if whole else 0 :]:
        model = _merge(model, str(adapter))
    _check_size(model, role, tokenizer, cfg)
    nn.Module.to(model, device(cfg.engine))
    return model.eval()


def _check_size(model: PreTrainedModel, role: str, tokenizer: PreTrainedTokenizerBase, cfg: Config) -> None:
    """A `UserError` for a model with fewer rows than tokens or fewer positions than a text may have."""
    rows = len(model.get_input_embeddings().weight)  # pyright: ignore[reportArgumentType]
    if rows < len(tokenizer):
        raise UserError(
            f"model.{role}: {rows} embedding rows for {len(tokenizer)} tokens; its tokenizer belongs to another model"
        )
    decodings = [cfg.reflect.generation, cfg.evaluate.generation]
    decodings += [cfg.method.student_data.generation] if cfg.method.is_on_policy else []
    decodings += [cfg.method.answers] if cfg.method.responses == "teacher" else []
    longest = max(
        cfg.model.max_tokens, cfg.model.max_prompt_tokens + max(decoding.max_new_tokens for decoding in decodings)
    )
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and longest > positions:
        raise UserError(
            f"model.{role}: {positions} positions, but a prompt with its answer may take {longest}; "
            "lower model.max_tokens, model.max_prompt_tokens or generation.max_new_tokens"
        )


def trainable(model: PreTrainedModel, side: Side, seed: int) -> nn.Module:
    """The model ready to train: all weights, or a seeded LoRA adapter in front of frozen ones."""
    if side.lora.rank == 0:
        return model.requires_grad_(True)
    peft = _peft()
    torch.manual_seed(seed)
    lora = peft.LoraConfig(
        r=side.lora.rank, lora_alpha=side.lora.alpha, lora_dropout=side.lora.dropout, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, lora).eval()  # the loop turns its dropout on for the steps alone


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Weights (or adapter) and tokenizer in Hugging Face format, safetensors only; of several processes the first one
    writes."""
    if not processes.is_first():
        return
    with disk_errors(folder):
        model.save_pretrained(folder)
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        # peft writes this list from a set, in an order that changes from process to process.
        settings = json.loads(adapter.read_text())
        adapter.write_text(json.dumps({**settings, "target_modules": sorted(settings["target_modules"])}, indent=2))
    tokenizer.save_pretrained(folder)


def fold_adapter(folder: Path, tokenizer: PreTrainedTokenizerBase, merged: Callable[[], PreTrainedModel]) -> None:
    """Replace the adapter saved in `folder` by the whole model that it is `merged` into; a killed run repeats it."""
    whole = folder.with_name(folder.name + "-merged")
    if (folder / "adapter_config.json").is_file():
        save_model(merged(), tokenizer, whole)
        (folder / "adapter_config.json").unlink()
    if whole.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(whole, folder)


def hidden_at(model: nn.Module, batch: Batch) -> Tensor:
    """What enters the model's head at the supervised positions of `batch`: [N, H], the last hidden state after the
    final norm."""
    seen: list[Tensor] = []

    def take(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(arguments[0].flatten(0, 1)[batch.places])
        return (arguments[0][:, :0],)  # nobody wants the logits of this pass

    hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(take)
    try:
        model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        )
    finally:
        hook.remove()
    return seen[0]


def head_logits(model: nn.Module, hidden: Tensor, vocabulary: int) -> Tensor:
    """The model's own way from hidden states [N, H] to logits, cut to the first `vocabulary` classes: [N, V].

    Its forward pass runs with the body replaced, so that whatever follows the head (bias, scale,
    soft-cap) follows here too. Rows that pad the vocabulary to a round size hold noise and are cut.
    """
    inner = unwrapped(model)
    body = getattr(inner, inner.base_model_prefix)
    setattr(inner, inner.base_model_prefix, Echo(hidden.unsqueeze(0)))
    try:
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        return inner(input_ids=ids, use_cache=False).logits.squeeze(0)[:, :vocabulary]
    finally:
        setattr(inner, inner.base_model_prefix, body)


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters that `head_logits` uses: the head's, tied or not, and whatever else stands outside the
    body."""
    inner = unwrapped(model)
    body = {id(parameter) for parameter in getattr(inner, inner.base_model_prefix).parameters()}
    outside = [parameter for parameter in inner.parameters() if id(parameter) not in body]
    return [
        parameter
        for parameter in dict.fromkeys((*outside, *inner.get_output_embeddings().parameters()))
        if parameter.requires_grad
    ]


def unwrapped(model: nn.Module) -> Any:
    """The causal language model inside what other libraries put around it (data parallel's `module`, peft's base
    model)."""
    inner: Any = model.module if isinstance(getattr(model, "module", None), nn.Module) else model
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


class Echo(nn.Module):
    """Stands where a body was and gives back the hidden states it was made with."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *arguments: Any, **named: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=self.hidden)  # pyright: ignore[reportArgumentType]


def logits_at(model: nn.Module, batch: Batch, vocabulary: int) -> Tensor:
    """Logits [N, V] at the supervised positions of `batch`; nothing of size B x T x V exists."""
    return head_logits(model, hidden_at(model, batch), vocabulary)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def device(engine: Engine) -> torch.device:
    """The device of the engine settings (this rank's own, of several GPUs); one that is not there is a `UserError`."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if engine.device == "auto":
        return _for_each_rank(torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind])))
    kind, _, index = engine.device.partition(":")
    if kind not in available or (index and not index.isdigit()):
        raise UserError(f"engine.device={engine.device}: expected auto, cpu, cuda, cuda:N or mps")
    if not available[kind] or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        raise UserError(
            f"engine.device={engine.device}: no such device on this machine ({torch.cuda.device_count()} CUDA "
            "devices); "
            "use engine.device=auto or cpu"
        )
    return _for_each_rank(torch.device(engine.device))


def _for_each_rank(device: torch.device) -> torch.device:
    """The device, where every process that shares the stage can have one of its kind."""
    count = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, processes.size())
    if processes.size() > count:
        raise UserError(
            f"engine.processes={processes.size()}: this machine has {count} GPU(s); use engine.processes={count} or "
            "engine.device=cpu"
        )
    return device


def autocast(device: torch.device, engine: Engine) -> torch.autocast:
    """Forward passes in the engine's precision; the loss itself is float32 always."""
    return torch.autocast(device.type, torch.bfloat16, enabled=engine.precision == "bfloat16")


def _initial(side: Side, role: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The weights that the config names, before any training."""
    if side.architecture is not None:
        return _random(side, role, tokenizer)
    where, options = location(side)
    options |= {
        "dtype": getattr(torch, side.dtype),
        "trust_remote_code": side.trust_remote_code,
        "use_safetensors": True,
    }
    if side.gguf_file is not None:
        del options["use_safetensors"]
    model = from_hub(AutoModelForCausalLM, where, role, **options)
    if side.gguf_file is not None:
        model = _unquantised(model)
    if side.adapter is not None:
        model = _merge(model, side.adapter)
    if side.layers is not None:
        keep_layers(model, side.layers)
    return model


def _unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a plain model: transformers de-quantises GGUF on load but goes on calling it quantised, and
    would not save it."""
    settings = deepcopy(model.config)
    vars(settings).pop("quantization_config")
    fresh = AutoModelForCausalLM.from_config(settings, dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


UNTRAINED = 32_000
"""Classes of a model whose tokenizer has yet to be trained."""


def random_config(side: Side, role: str, more: dict[str, Any]) -> Any:
    """The transformers config of a side that starts from nothing; a setting that it does not have is a `UserError`."""
    architecture = dict(side.architecture or {})
    try:
        kind = CONFIG_MAPPING[architecture.pop("model_type", None)]
        unknown = [key for key in architecture if not hasattr(kind(), key)]
        if unknown:
            raise UserError(f"model.{role}.architecture.{unknown[0]}: {kind.__name__} has no such setting")
        return kind(**{**more, **architecture})
    except (KeyError, ValueError, TypeError, StrictDataclassError) as error:
        raise _not_a_model(side, role, error) from None


def _random(side: Side, role: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Weights drawn with the seed of the side's recipe: the same wherever a stage starts from nothing."""
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = random_config(side, role, {"vocab_size": len(tokenizer), **special})
    torch.manual_seed(side.finetune.seed)
    try:
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, side.dtype))
    except (ValueError, TypeError) as error:
        raise _not_a_model(side, role, error) from None


def _not_a_model(side: Side, role: str, error: Exception) -> UserError:
    return UserError(
        f"model.{role}.architecture={side.architecture}: not a causal language model that can be built "
        f"({_first_line(error)}); "
        "expected model_type (llama, gpt2 …) and fields of its transformers config"
    )


def keep_layers(model: PreTrainedModel, layers: list[int]) -> None:
    """Keep the transformer blocks with these indices, in this order, in place (layer-subset student)."""
    stacks = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == model.config.num_hidden_layers
    ]
    if len(stacks) != 1:
        raise UserError(f"model.student.layers: {type(model).__name__} has no single stack of layers to choose from")
    parent, name, blocks = stacks[0]
    outside = [layer for layer in layers if not 0 <= layer < len(blocks)]
    if outside or not layers or len(set(layers)) < len(layers):
        raise UserError(f"model.student.layers={layers}: expected different indices in 0 … {len(blocks) - 1}")
    setattr(parent, name, nn.ModuleList(blocks[layer] for layer in layers))
    model.config.num_hidden_layers = len(layers)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[layer] for layer in layers]
    for index, block in enumerate(getattr(parent, name)):
        # The key-value cache files each layer's keys under this number.
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index


def _side_tokenizer(side: Side, role: str) -> PreTrainedTokenizerBase:
    if side.architecture is not None:
        raise UserError(f"model.{role} has random weights and so no tokenizer; set model.vocabulary to train one")
    where, options = location(side)
    return from_hub(AutoTokenizer, where, role, **options, trust_remote_code=side.trust_remote_code)


def location(side: Side) -> tuple[str, dict[str, Any]]:
    """Where `from_pretrained` finds a side's files."""
    if side.package is not None:
        # Looked up, not imported: the package may need what only its own program uses.
        spec = find_spec(side.package.replace("-", "_"))
        folders = list(spec.submodule_search_locations or []) if spec is not None else []
        assert folders, f"the graph has checked that {side.package} is installed"
        return folders[0], {"gguf_file": side.gguf_file}
    gguf = {"gguf_file": side.gguf_file} if side.gguf_file else {}
    return str(side.name), {"revision": side.revision, **gguf}


def from_hub(factory: Any, where: str, role: str, **options: Any) -> Any:
    """`factory.from_pretrained`, with one line for weights that cannot be had."""
    try:
        return factory.from_pretrained(where, **options)
    except ImportError as error:
        raise UserError(f"model.{role}: {where} needs a package that is not installed ({_first_line(error)})") from None
    except (OSError, ValueError, HfHubHTTPError) as error:
        revision = f"@{options['revision']}" if options.get("revision") else ""
        raise UserError(
            f"model.{role}: weights of {where}{revision} cannot be loaded ({_first_line(error)}); run again when the "
            "hub can be "
            "reached, or place config.json, model.safetensors and the tokenizer files in a folder and set "
            f"model.{role}.name=FOLDER"
        ) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _merge(model: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """The model with a LoRA adapter folded into its weights."""
    peft = _peft()
    try:
        return peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError) as error:
        raise UserError(
            f"adapter {adapter}: cannot be loaded ({_first_line(error)}); place adapter_config.json and "
            "adapter_model.safetensors there"
        ) from None


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise UserError("LoRA needs the package peft, which is not installed; run `pip install 'srd[lora]'`") from None
    return peft
