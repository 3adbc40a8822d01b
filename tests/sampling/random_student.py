"""A random Qwen2 of a few thousand weights: fast, and its text means nothing."""

from pathlib import Path

from checkout import script

WORDS = ("so wait let me check the total number of apples plus minus is equal to answer final "
         "okay first then boxed \\boxed{12} The answer is 0 1 2 3 4 5 6 7 8 9 + - * = . , ? !\n")


def make(folder: Path, *, seed: int = 0, layers: int = 2, context: int = 2048,
         eos_bias: float = 0.0, kv_heads: int = 2) -> Path:
    """Save a model and its tokenizer; `eos_bias` > 0 makes completions shorter."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    train_tokenizer = script("scripts/student/vocabulary.py").train_tokenizer

    tokenizer = train_tokenizer([WORDS] * 4, vocab_size=320)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=kv_heads, max_position_embeddings=context,
        tie_word_embeddings=False, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3)
    model = Qwen2ForCausalLM(config).float()
    if eos_bias:
        with torch.no_grad():
            model.lm_head.weight[tokenizer.eos_token_id] *= 1 + eos_bias
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
