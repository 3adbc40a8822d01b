"""The student in transformers, on a CPU or one GPU: text-only causal language models.

A batch is refilled as rows finish. Long rows are finished together later: a loop holds nobody up.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from drp_plugin.errors import UserError
from drp_plugin.sampling import pool
from drp_plugin.sampling.batching import Picker, RowCache
from drp_plugin.sampling.completions import Finish, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pretrained import Chat, Drawn, identity

TIER = 512  # columns of the first pass; rows that need more wait for a later one, with 4 times more


class HFSampler(Sampler):
    """A model of transformers, with a LoRA adapter (`peft`) where one is given.

    `dtype`: `auto` is float32 on a CPU and the checkpoint's own on a GPU. `batch_size`: rows
    that are generated at a time, by the model's size where it is not given. `threads`: of
    torch on a CPU; 1 for small models, torch's default for others. `workers`: processes that
    share the work; as many as there are cores for small models on a CPU, else 1."""

    def __init__(self, model: str, *, peft: str | None = None, device: str = "auto",
                 dtype: str = "auto", batch_size: int | None = None, threads: int | None = None,
                 chat_template: str | None = None, revision: str | None = None,
                 trust_remote_code: bool = False, workers: int | None = None) -> None:
        from transformers import AutoModelForCausalLM

        self.device = torch.device(
            device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
        gpu = self.device.type != "cpu"
        kind: Any = getattr(torch, dtype, None) if dtype != "auto" else \
            "auto" if gpu else torch.float32
        if kind != "auto" and not isinstance(kind, torch.dtype):
            raise UserError(f"unknown dtype {dtype!r}", fix="Use float32, bfloat16 or float16")
        self.chat = Chat(model, template=chat_template, revision=revision,
                         trust_remote_code=trust_remote_code)
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            model, dtype=kind, revision=revision, trust_remote_code=trust_remote_code)
        layers = set(getattr(self.model.config, "layer_types", None) or ()) - {"full_attention"}
        if layers:
            raise UserError(f"{model} has layers without full attention "
                            f"({', '.join(sorted(layers))})",
                            fix="Use the vllm backend (lmms-eval: --model drp_vllm)")
        if peft is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, peft)
            if next(self.model.parameters()).dtype == torch.float32:
                self.model = self.model.merge_and_unload()  # in memory; exact enough in float32
        self.model.to(self.device).eval()
        small = sum(p.numel() for p in self.model.parameters()) < 50e6
        self.batch_size = batch_size or (128 if small else 64 if gpu else 8)
        self.workers = workers or (pool.cores() if small and not gpu else 1)
        if threads or (small and not gpu):
            torch.set_num_threads(threads or 1)
        self._again = {"model": model, "peft": peft, "device": str(self.device), "dtype": dtype,
            "batch_size": self.batch_size, "chat_template": chat_template, "revision": revision,
            "trust_remote_code": trust_remote_code}
        self.context: int = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
        self.identity = identity("hf", model, revision=revision, chat_template=chat_template,
            adapter=peft, dtype=str(next(self.model.parameters()).dtype).removeprefix("torch."))

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        requests = list(requests)
        workers = min(self.workers, len(requests) // pool.LEAST)
        if workers > 1:
            yield from pool.run(HFSampler, self._again, requests, workers)
            return
        every = [Drawn(index, request, self.chat, self.context)
                 for index, request in enumerate(requests)]
        yield from ((row.index, row.failed) for row in every if row.failed)
        rows = sorted((row for row in every if not row.failed), key=lambda row: row.length)
        tier = TIER
        while rows:
            later = [row for row in rows if row.length + TIER // 4 > tier]
            able = deque(row for row in rows if row.length + TIER // 4 <= tier)
            for row, finish in self._run(able, tier):
                if finish is None:
                    later.append(row)
                else:
                    yield row.index, row.ended(finish)
            rows, tier = later, tier * 4

    @torch.inference_mode()
    def _step(self, ids: list[int], columns: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Logits of each row's next token, after appending one token to each."""
        cache.step(columns)
        beyond = torch.arange(int(columns.max()) + 1, device=self.device) > columns.unsqueeze(1)
        mask = torch.zeros(beyond.shape, dtype=self.model.dtype, device=self.device)
        mask.masked_fill_(beyond, torch.finfo(self.model.dtype).min)
        out = self.model(input_ids=torch.tensor(ids, device=self.device).unsqueeze(1),
            position_ids=columns.unsqueeze(1), attention_mask=mask[:, None, None],
            past_key_values=cache, use_cache=True)
        return out.logits[:, -1]

    @torch.inference_mode()
    def _prefill(self, rows: Sequence[Drawn], first: int, cache: RowCache) -> torch.Tensor:
        """Put rows into the cache from place `first` on; logits of each one's next token."""
        lengths = torch.tensor([row.length for row in rows], device=self.device)
        ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, :row.length] = torch.tensor(row.prompt + row.ids)
        # padding stands on the right, where causal attention does not look
        ends, which = (lengths - 1).unique(return_inverse=True)
        out = self.model(input_ids=ids.to(self.device), use_cache=True, logits_to_keep=ends)
        places = torch.arange(len(rows), device=self.device)
        cache.fill(first + places, out.past_key_values)
        return out.logits[places, which]

    def _run(self, queue: deque[Drawn], tier: int) -> Iterator[tuple[Drawn, Finish | None]]:
        """Rows with how they finished; None for one that has filled the tier's columns."""
        cache = RowCache(self.batch_size)
        live: list[Drawn] = []
        picker: Picker | None = None
        chunk = max(1, self.batch_size // 8)
        columns = torch.empty(0, dtype=torch.long, device=self.device)
        while queue or live:
            free = self.batch_size - len(live)
            # refill in chunks: a forward pass over several prompts costs little more than over one
            fresh: list[torch.Tensor] = []
            while queue and free and (free >= chunk or not live):
                some = [queue.popleft() for _ in range(min(chunk, free, len(queue)))]
                fresh.append(self._prefill(some, len(live), cache))
                live += some
                free -= len(some)
            old = len(columns)
            if fresh:
                added = torch.tensor([row.length for row in live[old:]], device=self.device)
                picker = Picker([row.request for row in live], self.device)
            last = [row.ids[-1] for row in live[:old]]
            logits = [self._step(last, columns, cache)] if old else []
            columns = torch.cat([columns + 1, added]) if fresh else columns + 1
            assert picker is not None
            drawn = picker(torch.cat(logits + fresh), [row.random.random() for row in live])
            ended = []
            for place, (row, token) in enumerate(zip(live, drawn.tolist(), strict=True)):
                finish = self._append(row, token)
                if finish is not None or row.length >= tier:
                    ended.append(place)
                    yield row, finish
            if ended:
                columns = self._drop(ended, live, columns, cache)
                picker = Picker([row.request for row in live], self.device) if live else None

    def _append(self, row: Drawn, token: int) -> Finish | None:
        if token in self.chat.stop_ids:
            return "stop"
        row.ids.append(token)
        if row.loops():
            return "loop"
        return None if len(row.ids) < row.limit else row.request.cut(len(row.ids))

    @staticmethod
    def _drop(ended: list[int], live: list[Drawn], columns: torch.Tensor,
              cache: RowCache) -> torch.Tensor:
        """Close the gaps: the last rows move into the places of those that ended."""
        places = columns.tolist()
        for place in reversed(ended):
            row, column = live.pop(), places.pop()
            if place != len(live):
                # the newest token of a row is not in the cache yet
                cache.move(len(live), place, row.length - 1)
                live[place], places[place] = row, column
        return torch.tensor(places, dtype=torch.long, device=columns.device)
