"""Whisper knows its models, reads a sound through ffmpeg, and a model of random weights runs on it. No network, no GPU needed."""

import math
import struct
import subprocess
import tempfile
import wave

import torch
import whisper

print("whisper", whisper.__version__, "models:", *whisper.available_models())
with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    with wave.open(file.name, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 4))) for i in range(8000)))
    audio = whisper.load_audio(file.name)
assert len(audio) == whisper.audio.SAMPLE_RATE, len(audio)
spectrum = whisper.log_mel_spectrogram(whisper.pad_or_trim(audio))
assert spectrum.shape == (80, 3000), spectrum.shape

sizes = whisper.model.ModelDimensions(
    n_mels=80, n_audio_ctx=1500, n_audio_state=32, n_audio_head=2, n_audio_layer=1,
    n_vocab=51864, n_text_ctx=448, n_text_state=32, n_text_head=2, n_text_layer=1,
)
torch.manual_seed(0)
model = whisper.model.Whisper(sizes)
features = model.embed_audio(spectrum.unsqueeze(0))
assert model.logits(torch.tensor([[50257]]), features).shape == (1, 1, 51864)
assert "usage" in subprocess.check_output(["whisper", "--help"], universal_newlines=True)
