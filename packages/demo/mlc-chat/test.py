"""The programs run: the plain one answers with a model made on the spot, the others say what is wrong or missing."""

import os
import subprocess
import sys
import tempfile


def run(*command, status=0):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    assert done.returncode == status, (command, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


def tiny_model(directory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(["<unk>", "</s>", "What", "is", "a", "Jetson", "?", "computer"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>").save_pretrained(directory)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), bos_token_id=0, eos_token_id=1, **sizes)).save_pretrained(directory)


def main():
    for program in ("chat-transformers", "chat-mlc"):
        assert "--max-tokens" in run(program, "--help")[0]
    with tempfile.TemporaryDirectory() as directory:
        _, said = run("chat-mlc", directory, "-p", "hello", status=1)
        assert "no mlc-chat-config.json" in said, said
        open(os.path.join(directory, "mlc-chat-config.json"), "w").close()
        _, said = run("chat-mlc", directory, "-p", "hello", status=1)
        assert "no weights" in said, said
    for script, directory in (
        ("Llama-2-7b-chat-hf.py", "models/Llama-2-7b-chat-hf"),
        ("Llama-2-7b-chat-hf-q4f16_ft.py", "Llama-2-7b-chat-hf-q4f16_ft"),
    ):
        if not os.path.isdir("/data/models/mlc/dist/" + directory):
            _, said = run(sys.executable, "/opt/MLC-LLM-on-Jetson/" + script, status=1)
            assert "there is no /data/models/mlc/dist/" in said, said
    with tempfile.TemporaryDirectory() as directory:
        tiny_model(directory)
        out, said = run("chat-transformers", directory, "--device", "cpu", "-n", "4", "-p", "What is a Jetson ?", "-p", "What ?")
        assert said.count("tokens/s") == 2, said
        print(out.strip(), said.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
