"""Make a tiny Llama of the Hugging Face kind: enough of a model to go the whole way with, in seconds and without a network.

The directory gets config.json, generation_config.json, model.safetensors, tokenizer.model, tokenizer.json and
tokenizer_config.json with a chat template. The tokenizer is trained on the sentences below and so is the model, for a
few hundred steps: it has learnt these answers by heart and knows nothing else. The same seed gives the same files on the
same machine. All row lengths are multiples of 256, so that K-quants apply to every matrix.
"""

import argparse
import io
import json
import sys
import time
from pathlib import Path

import sentencepiece
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

CONVERSATIONS = [
    ("Hello!", "Hello! I am a very small language model. How can I help you?"),
    ("Who are you?", "I am a tiny llama, made on this machine in a few seconds to show that everything works."),
    ("What can you do?", "I can answer a few questions that I have learnt by heart."),
    ("What is a Jetson?", "A Jetson is a small computer with a GPU that shares its memory with the CPU."),
    ("What is a container?", "A container is a program together with everything it needs, kept apart from the rest."),
    ("What is quantization?", "Quantization stores the weights of a model in fewer bits, so that it fits and runs faster."),
    ("What is llama.cpp?", "It is a program that runs language models on the CPU and the GPU."),
    ("How do I get a real model?", "Download one from the hub, convert it, quantize it, and start the chat again."),
    ("Thank you!", "You are welcome. Good luck with your project!"),
    ("Goodbye!", "Goodbye! Come back soon."),
]
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how sentencepiece writes a space
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + " {{ message['content'] }}{{ eos_token }}"
    "{% else %}" + USER + " {{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
HIDDEN, LAYERS, HEADS, VOCABULARY, CONTEXT = 256, 2, 4, 512, 512


def train_tokenizer(directory):
    """Train tokenizer.model on the conversations; unknown text falls back to bytes."""
    lines = [text for pair in CONVERSATIONS for text in pair]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=VOCABULARY,
        byte_fallback=True, user_defined_symbols=[USER, ASSISTANT], character_coverage=1.0, num_threads=1,
        hard_vocab_limit=False, pad_id=-1, unk_id=0, bos_id=1, eos_id=2, add_dummy_prefix=False,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )
    (directory / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    write_tokenizer_files(directory, tokenizer)
    return tokenizer


def write_tokenizer_files(directory, tokenizer):
    """tokenizer.json and tokenizer_config.json, from the same pieces.

    Made here and not by `LlamaTokenizerFast(vocab_file=...)`: transformers 5 takes no notice of that argument.
    """
    special = [AddedToken(piece, special=True, normalized=False) for piece in ("<unk>", "<s>", "</s>")]
    roles = [AddedToken(piece, special=False, normalized=False) for piece in (USER, ASSISTANT)]
    pieces = {tokenizer.id_to_piece(index): index for index in range(tokenizer.get_piece_size())}
    fast = Tokenizer(models.BPE(pieces, merges_of(tokenizer), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    fast.normalizer = normalizers.Replace(" ", SPACE)
    fast.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    fast.add_special_tokens(special)
    fast.add_tokens(roles)
    fast.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": False, "add_eos_token": False, "add_prefix_space": False, "legacy": False,
        "clean_up_tokenization_spaces": False, "model_max_length": CONTEXT,
        "added_tokens_decoder": {str(pieces[token.content]): describe(token) for token in (*special, *roles)},
        # newer releases of transformers put it into a file of its own; older programs look here
        "chat_template": TEMPLATE,
    }  # fmt: skip
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (directory / "chat_template.jinja").write_text(TEMPLATE)


def describe(token):
    """An added token as tokenizer_config.json says it."""
    names = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {name: getattr(token, name) for name in names}


def merges_of(tokenizer):
    """The merges of a BPE vocabulary, the earliest first: sentencepiece keeps the pieces in the order it made them."""
    plain = [
        index for index in range(tokenizer.get_piece_size())
        if not (tokenizer.is_control(index) or tokenizer.is_unknown(index) or tokenizer.is_byte(index))
        and tokenizer.id_to_piece(index) not in (USER, ASSISTANT)
    ]  # fmt: skip
    order = {tokenizer.id_to_piece(index): index for index in plain}
    merges = []
    for piece in (tokenizer.id_to_piece(index) for index in sorted(plain, key=tokenizer.get_score, reverse=True)):
        halves = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [pair for pair in halves if pair[0] in order and pair[1] in order]
        merges += sorted(known, key=lambda pair: (order[pair[0]], order[pair[1]]))
    return merges


def make_samples(tokenizer):
    """One row of token ids a conversation, padded; the questions take part, so that the model learns to read them."""
    rows = [
        [1, *tokenizer.encode(USER + " " + question + ASSISTANT + " " + answer), 2] for question, answer in CONVERSATIONS
    ]
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), 2)
    labels = torch.full((len(rows), length), -100)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = labels[index, : len(row)] = torch.tensor(row)
    return ids, labels


def make_model(vocabulary):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=2 * HIDDEN, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
            bos_token_id=1, eos_token_id=2, pad_token_id=None, tie_word_embeddings=False, attention_bias=False,
        )
    )


def train(model, samples, steps):
    """Learn the conversations by heart; returns the last loss (nats per token)."""
    ids, labels = samples
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=max(steps, 1))
    loss = torch.tensor(float("nan"))
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def main(argv=None):
    parser = argparse.ArgumentParser(prog="make-tiny-model", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path, help="where the model goes; made when missing")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights (default: 0)")
    parser.add_argument("--steps", type=int, default=160, help="training steps; 0 leaves random weights (default: 160)")
    options = parser.parse_args(argv)

    started = time.monotonic()
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    # Matrices this small gain nothing from a second thread, and on a busy machine threads wait for each other for minutes.
    torch.set_num_threads(1)
    options.directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(options.directory)
    model = make_model(tokenizer.get_piece_size())
    loss = train(model, make_samples(tokenizer), options.steps)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)
    model.half().save_pretrained(options.directory)
    for path in options.directory.iterdir():
        path.chmod(0o644)  # safetensors writes 0600; the directory is shared with the host's user
    print(
        "%s: %.1f M parameters, %d tokens, %d steps, loss %.3f, %.0f s"
        % (options.directory, model.num_parameters() / 1e6, tokenizer.get_piece_size(), options.steps, loss,
           time.monotonic() - started),
        file=sys.stderr,
    )
    print(options.directory)


if __name__ == "__main__":
    main()
