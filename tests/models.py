"""Tiny transformers models with working tokenizers, made from a seed: each writes a Hugging Face folder.

The tokenizer knows the 256 bytes and a few special tokens, so it takes any text and needs no training.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

N_SPECIAL = 5
VOCAB_SIZE = 256 + N_SPECIAL


def byte_tokenizer(special: list[str]) -> Tokenizer:
    """A tokenizer of single bytes; `special` takes the first ids, then unused names up to N_SPECIAL."""
    names = special + [f"[unused{i}]" for i in range(N_SPECIAL - len(special))]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(names + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def tiny_bert(
    path: str | Path, *, seed: int = 0, hidden: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a BertModel; like MiniLM's, its tokenizer.json fixes padding and truncation (at 32)."""
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=512,
        initializer_range=0.2,
        pad_token_id=0,
    )
    tokenizer = byte_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.enable_truncation(32)
    tokenizer.enable_padding(length=32, pad_id=0, pad_token="[PAD]")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(seed)
    return _save(BertModel(config), wrapped, path, dtype)


def tiny_llama(
    path: str | Path,
    *,
    seed: int = 0,
    hidden: int = 32,
    layers: int = 2,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a LlamaForCausalLM with grouped-query attention, by default with tied embeddings."""
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    return _save(LlamaForCausalLM(config), _decoder_tokenizer(), path, dtype)


def tiny_gpt2(
    path: str | Path, *, seed: int = 0, hidden: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a GPT2LMHeadModel: Conv1D (transposed) weights, tied embeddings."""
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_embd=hidden,
        n_layer=layers,
        n_head=4,
        n_positions=128,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    return _save(GPT2LMHeadModel(config), _decoder_tokenizer(), path, dtype)


def tiny_albert(path: str | Path, *, seed: int = 0, hidden: int = 32, layers: int = 3) -> Path:
    """Write an AlbertModel: one layer's weights, used `layers` times."""
    config = AlbertConfig(
        vocab_size=VOCAB_SIZE,
        embedding_size=16,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    torch.manual_seed(seed)
    return _save(AlbertModel(config), _decoder_tokenizer(), path, torch.float32)


def tiny_t5(path: str | Path, *, seed: int = 0, hidden: int = 32, layers: int = 2) -> Path:
    """Write a T5ForConditionalGeneration: encoder and decoder, tied embeddings, relative positions."""
    config = T5Config(
        vocab_size=VOCAB_SIZE,
        d_model=hidden,
        d_kv=hidden // 4,
        d_ff=2 * hidden,
        num_layers=layers,
        num_heads=4,
        initializer_factor=1.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    return _save(T5ForConditionalGeneration(config), _decoder_tokenizer(), path, torch.float32)


def tiny_mixtral(
    path: str | Path, *, seed: int = 0, hidden: int = 32, layers: int = 2, experts: int = 4
) -> Path:
    """Write a MixtralForCausalLM: two of `experts` experts per token, their weights stacked."""
    config = MixtralConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=experts,
        num_experts_per_tok=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    return _save(MixtralForCausalLM(config), _decoder_tokenizer(), path, torch.float32)


def _decoder_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def _save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: str | Path, dtype: torch.dtype
) -> Path:
    folder = Path(path)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
