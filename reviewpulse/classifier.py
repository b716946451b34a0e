"""The model as the stream and training see it: texts in, calibrated probabilities and labels out."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from reviewpulse.architecture import read_config
from reviewpulse.bert import first_token_logits
from reviewpulse.card import Card, read_card
from reviewpulse.decision import Predictions, decide, outputs_of
from reviewpulse.errors import CheckpointError
from reviewpulse.labels import LABELS

PASS_TOKENS: Final = {"cpu": 1_536, "cuda": 16_384}
"""Tokens in one forward pass by device, padding included: few enough for the caches of one CPU core."""

_SLICE_TEXTS: Final = 4_096
"""Texts tokenized at once: an Encoding takes many times the room of its ids."""

_SPECIAL_TOKENS: Final = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
}


_OUT_OF_MEMORY: Final = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


class SentimentClassifier:
    """A fine-tuned encoder with its tokenizer and card.

    It runs in bfloat16 where the device computes in it, else in float32. Not for use from
    several threads at once.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, card: Card, device: str = "auto") -> None:
        self.card = card
        self.tokenizer = tokenizer
        self.device = torch.device(available_device(device))
        self.model = model
        self.model.to(device=self.device)  # type: ignore[call-arg]  # transformers' decorator hides self
        self.model.eval()
        tokenizer.enable_truncation(card.max_tokens)
        tokenizer.no_padding()
        self._lanes = ThreadPoolExecutor(self.threads, "lane", initializer=torch.set_num_threads, initargs=(1,))

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> Self:
        """Return the classifier of a checkpoint folder; no code from the folder runs.

        Raises CheckpointError when the folder lacks a part, is damaged or does not fit.
        """
        card = read_card(folder)
        chosen = available_device(device)
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=read_config(folder, local_files_only=True),
                attn_implementation=None,  # transformers' own choice, whatever the config says
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=compute_dtype(chosen),
                output_loading_info=True,
            )
        except Exception as exc:  # tokenizers raises plain Exception
            raise CheckpointError(
                f"cannot load the checkpoint {folder}: {exc}; train it again or copy it anew"
            ) from exc
        if fault := _misfit(model, tokenizer, card) or _lacking(report):
            raise CheckpointError(f"the checkpoint {folder} {fault}; train it again or copy it anew")
        return cls(model, tokenizer, card, chosen)

    def save(self, folder: Path) -> None:
        """Write a folder that `load` and transformers' from_pretrained both read; weights as float16."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.model.config.num_labels == len(LABELS):
            self.model.config.id2label = {index: str(label) for index, label in enumerate(LABELS)}
            self.model.config.label2id = {str(label): index for index, label in enumerate(LABELS)}
        weights = {name: tensor.to(torch.float16) for name, tensor in self.model.state_dict().items()}
        self.model.save_pretrained(folder, state_dict=weights)
        special = _special_tokens(self.tokenizer)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, model_max_length=self.card.max_tokens, **special
        )
        try:
            tokenizer.save_pretrained(folder)
        except Exception as exc:  # tokenizers raises plain Exception when the disk is full
            raise OSError(str(exc)) from exc
        (folder / "model.safetensors").chmod(0o644)  # written as 0600, but a worker may be another user
        self.card.write(folder)

    @property
    def threads(self) -> int:
        """CPU threads that a forward pass may use."""
        return torch.get_num_threads()

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in a saved folder, where each takes two."""
        return 2 * sum(int(weight.numel()) for weight in self.model.state_dict().values())

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return calibrated probabilities in label order and labels for texts made by `model_text`."""
        return decide(self.logits(texts), self.card.decision)

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the model's own answers, shape (texts, outputs of the head), for texts made by `model_text`."""
        logits = np.empty((len(texts), outputs_of(self.card.decision.head)), dtype=np.float32)
        for start in range(0, len(texts), _SLICE_TEXTS):
            end = start + _SLICE_TEXTS
            self._score_slice(list(texts[start:end]), logits[start:end])
        return logits

    def _score_slice(self, texts: list[str], logits: npt.NDArray[np.float32]) -> None:
        """Put the logits of some texts, grouped by their lengths, into (texts, outputs)."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        passes = alike_in_length([len(row) for row in tokens], PASS_TOKENS[self.device.type])

        device = self.device.type
        is_autocast, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

        def score(rows: Sequence[int]) -> None:
            with torch.autocast(device, dtype, enabled=is_autocast):  # a lane does not know what its caller entered
                self._score([tokens[row] for row in rows], logits, rows)

        if self.device.type != "cpu" or len(passes) == 1:
            for rows in passes:
                score(rows)
        else:
            with _one_thread_each():
                list(self._lanes.map(score, passes))

    @torch.inference_mode()
    def _score(self, tokens: Sequence[Sequence[int]], logits: npt.NDArray[np.float32], rows: Sequence[int]) -> None:
        """Put the logits of some texts into their rows; in halves when memory cannot hold them at once."""
        try:
            inputs = {name: tensor.to(self.device) for name, tensor in pad(tokens).items()}
            logits[list(rows)] = self._forward(inputs).float().cpu().numpy()
        except RuntimeError as exc:
            if not is_out_of_memory(exc) or len(rows) == 1:
                raise
        else:
            return
        half = len(rows) // 2
        self._score(tokens[:half], logits, rows[:half])
        self._score(tokens[half:], logits, rows[half:])

    def _forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return logits (rows, outputs) for ids and mask (rows, tokens)."""
        if isinstance(self.model, BertForSequenceClassification):
            return first_token_logits(self.model, **inputs)
        logits: torch.Tensor = self.model(**inputs).logits
        return logits


def _misfit(model: PreTrainedModel, tokenizer: Tokenizer, card: Card) -> str:
    """Return what of the parts does not go together, or nothing."""
    outputs, positions = outputs_of(card.decision.head), getattr(model.config, "max_position_embeddings", None)
    if model.config.num_labels != outputs:
        return f"has {model.config.num_labels} outputs where its head {card.decision.head} has {outputs}"
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        return f"has {tokenizer.get_vocab_size()} word pieces but vectors for {model.config.vocab_size}"
    if positions is not None and card.max_tokens > positions:
        return f"is to read {card.max_tokens} tokens but its encoder has {positions} positions"
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        return "holds weights that are no numbers"
    return ""


def _lacking(report: dict[str, object]) -> str:
    """Return which weights transformers had to make up, or nothing."""
    missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))  # type: ignore[misc]
    return f"lacks weights ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''})" if missing else ""


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """Return what transformers is to know of the tokenizer's special tokens, by role."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return {role: name for role, names in _SPECIAL_TOKENS.items() for name in names if name in known}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says that the memory of the GPU, or of the machine, is used up."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(sign in said for sign in _OUT_OF_MEMORY)


def silence_transformers() -> None:
    """Turn off transformers' loading bars and reports in this process: its errors are raised all the same."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let each forward pass compute on one thread: cores that each have their own need not wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def alike_in_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Return the rows in groups alike in length, the longest first, of at most so many tokens with their padding.

    A row that is longer by itself is a group of its own.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > tokens:
            groups.append([])
        groups[-1].append(row)
    return groups


def limit_threads(threads: int) -> None:
    """Let this process compute on so many CPU threads; 0 leaves torch's own choice."""
    if threads:
        torch.set_num_threads(threads)


def pad(tokens: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask, each (rows, longest row) of int64, padded with id 0 at the right."""
    longest = max(len(row) for row in tokens)
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(tokens):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def available_device(device: str) -> str:
    """Return cpu or cuda for what REVIEWPULSE_DEVICE says; raises CheckpointError when no GPU answers for cuda."""
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("no GPU answers for REVIEWPULSE_DEVICE=cuda; set it to auto or cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def compute_dtype(device: str) -> torch.dtype:
    """Return bfloat16 where the device multiplies in it (twice as fast, measured), else float32."""
    if device.startswith("cuda"):
        has_bfloat16 = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bfloat16 = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32
