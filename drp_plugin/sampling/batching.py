"""A continuously refilled batch: rows with lengths, settings and random numbers of their own."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from drp_plugin.sampling.completions import SampleRequest

_CANDIDATES = 64
_GROW = 256


class Picker:
    """Next tokens for a batch: a row's depends on its own logits and random number alone."""

    def __init__(self, requests: Sequence[SampleRequest], device: torch.device) -> None:
        self.greedy = torch.tensor([r.temperature <= 0 for r in requests], device=device)
        self.all_greedy = all(r.temperature <= 0 for r in requests)
        self.temperature = torch.tensor(
            [[r.temperature if r.temperature > 0 else 1.0] for r in requests], device=device)
        self.top_p = torch.tensor([[r.top_p] for r in requests], device=device)
        self.cut_p = any(r.top_p < 1 for r in requests)
        self.top_k = [r.top_k or 0 for r in requests]

    def _nucleus(self, probs: torch.Tensor) -> torch.Tensor:
        """Zero outside the smallest set of tokens whose probability reaches top_p."""
        # a few candidates mostly hold it; sorting the whole vocabulary costs many times more
        ranked, order = probs.topk(min(_CANDIDATES, probs.shape[1]), -1)
        if not bool((ranked.sum(-1, keepdim=True) >= self.top_p).all()):
            ranked, order = probs.sort(-1, descending=True)
        before = ranked.cumsum(-1) - ranked
        kept = ranked.masked_fill(before >= self.top_p, 0.0)
        return torch.zeros_like(probs).scatter_(1, order, kept)

    def __call__(self, logits: torch.Tensor, randoms: Sequence[float]) -> torch.Tensor:
        """Ids of shape (rows,) from logits of shape (rows, vocabulary) and numbers in [0, 1)."""
        logits = logits.float()
        best = logits.argmax(-1)
        if self.all_greedy:
            return best
        logits = logits / self.temperature
        for row, k in enumerate(self.top_k):
            if 0 < k < logits.shape[1]:
                floor = logits[row].topk(k).values[-1]
                logits[row][logits[row] < floor] = -torch.inf
        probs = torch.softmax(logits, -1)
        if self.cut_p:
            probs = self._nucleus(probs)
        # inverse distribution function in the order of the vocabulary
        mass = probs.double().cumsum(-1)
        target = torch.tensor(randoms, dtype=torch.float64, device=mass.device).unsqueeze(1)
        drawn = torch.searchsorted(mass, target * mass[:, -1:], right=True).squeeze(1)
        return torch.where(self.greedy, best, drawn.clamp_(max=probs.shape[1] - 1))


class RowCache(Cache):
    """Keys and values of up to `size` rows, each in columns 0 … length(r) - 1. The buffers grow by
    need; attention sees no further than the longest of the rows that take part."""

    def __init__(self, size: int) -> None:
        super().__init__(layers=[])
        self.size = size
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self._columns: torch.Tensor = torch.empty(0, dtype=torch.long)
        self._width = 0

    def fill(self, rows: torch.Tensor, prompt: Any) -> None:
        """Take over what a forward pass over right-padded prompts has left in its own cache."""
        width = prompt.layers[0].keys.shape[2]
        for index, layer in enumerate(prompt.layers):
            self._room(index, layer.keys, width)
            self.keys[index][rows, :, :width] = layer.keys
            self.values[index][rows, :, :width] = layer.values

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        for buffer in (*self.keys, *self.values):
            buffer[target, :, :length] = buffer[source, :, :length]

    def step(self, columns: torch.Tensor) -> None:
        """The next forward pass appends one token to each of the first rows, at these columns."""
        self._columns = columns
        self._width = int(columns.max()) + 1

    def _room(self, index: int, like: torch.Tensor, width: int) -> None:
        have = self.keys[index].shape[2] if index < len(self.keys) else 0
        if width <= have:
            return
        wide = max(-(-width // _GROW) * _GROW, min(2 * have, have + 4 * _GROW))
        for buffers in (self.keys, self.values):
            new = like.new_zeros(self.size, like.shape[1], wide, like.shape[3])
            if have:
                new[:, :, :have] = buffers[index]
            buffers[index:index + 1] = [new]

    # -- what transformers asks of a cache ---------------------------------------------------

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int,
               *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self._room(layer_idx, key_states, self._width)
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        rows = torch.arange(len(self._columns), device=self._columns.device)
        keys[rows, :, self._columns] = key_states[:, :, 0]
        values[rows, :, self._columns] = value_states[:, :, 0]
        return keys[:len(rows), :, :self._width], values[:len(rows), :, :self._width]

    def get_seq_length(self, layer_idx: int = 0, *_: Any) -> int:
        return max(self._width - 1, 0)

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self._width, 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return -1

    @property
    def is_compileable(self) -> bool:
        return False
