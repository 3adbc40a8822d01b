"""Drawing the next token, each row with its own settings and its own random numbers."""

from collections.abc import Sequence

import torch

from drp_plugin.sampling.completions import SampleRequest

_CANDIDATES = 64


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
