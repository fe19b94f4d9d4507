"""A tiny model is made, saved, loaded and generates; a tokenizer is trained, saved and loaded. No network."""

import json
import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

print("transformers", transformers.__version__, "torch", torch.__version__)


def make_tokenizer(work):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(["a small computer with a GPU", "the GPU of a small computer"] * 8, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(work)


def make_model(work):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(work)
    return model


with tempfile.TemporaryDirectory() as work:
    make_tokenizer(work)
    model = make_model(work)
    with open(os.path.join(work, "config.json")) as file:
        assert json.load(file)["model_type"] == "llama"
    tokenizer = AutoTokenizer.from_pretrained(work)
    loaded = AutoModelForCausalLM.from_pretrained(work).eval()
    inputs = tokenizer("a small computer", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        assert torch.allclose(model(**inputs).logits, loaded(**inputs).logits, atol=1e-5)
    once = loaded.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert torch.equal(once, loaded.generate(**inputs, max_new_tokens=8, do_sample=False))
    assert "small" in tokenizer.decode(once[0])
    print("generated:", tokenizer.decode(once[0]))
