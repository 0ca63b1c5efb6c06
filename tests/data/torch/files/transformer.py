"""Small transformers with random weights, as factories; for the runtime that holds the package."""

# mypy: disable-error-code="misc,import-not-found"
# (torch and transformers are not in the environment that checks this file)

from __future__ import annotations

from typing import Any

import torch
from transformers import BertConfig, BertModel, ViTConfig, ViTForImageClassification, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

_SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
_HOW = {"attn_implementation": "eager"}


class First(torch.nn.Module):
    """The first tensor that a model returns."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        """``x`` is whatever the model takes."""
        return self.model(x)[0]


class Text(torch.nn.Module):
    """BERT on tokens, with a mask."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Both have shape [batch, sequence]."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]


def bert() -> Any:
    """Hidden states [batch, sequence, 32]."""
    torch.manual_seed(0)
    return Text(BertModel(BertConfig(vocab_size=100, max_position_embeddings=32, **_SMALL, **_HOW), add_pooling_layer=False))


def vit() -> Any:
    """Scores [batch, 5] of images [batch, 3, 32, 32]."""
    torch.manual_seed(0)
    return First(ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, num_labels=5, **_SMALL, **_HOW)))


def whisper() -> Any:
    """Hidden states [batch, 25, 32] of spectrograms [batch, 16, 50]."""
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
    return First(WhisperEncoder(WhisperConfig(num_mel_bins=16, max_source_positions=25, **sizes, **_HOW)))
