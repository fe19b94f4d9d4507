"""A sound becomes a spectrogram and goes through a resampler; sound files are written and read; nothing is downloaded.

Exit status 77: a part needs a GPU.
"""

import math
import os
import re
import sys
import tempfile

import soundfile

try:
    import torch
except (ImportError, OSError) as error:
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and re.match("lib(cu|nv|npp)", str(error))
    if not from_host or os.path.exists("/dev/nvhost-gpu"):
        raise
    print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia:", error)
    sys.exit(77)
import torchaudio

NEEDS_GPU = 77
RATE = 16000


def peak(device):
    """The loudest frequency in Hz of a 1 kHz tone, by torchaudio's spectrogram."""
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(RATE, device=device) / RATE)
    power = torchaudio.transforms.Spectrogram(n_fft=400).to(device)(tone)
    return int(power.mean(dim=-1).argmax()) * RATE // 400


def main():
    print("torchaudio", torchaudio.__version__, "torch", torch.__version__)
    assert peak("cpu") == 1000
    assert torchaudio.transforms.MelSpectrogram()(torch.zeros(1, RATE)).shape[1] == 128
    assert torchaudio.functional.resample(torch.zeros(1, RATE), RATE, 8000).shape == (1, 8000)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tone.wav")
        soundfile.write(path, torch.zeros(RATE).numpy(), RATE)
        samples, rate = soundfile.read(path)
    assert (len(samples), rate) == (RATE, RATE)

    if torch.version.cuda is None:
        return 0
    if not torch.cuda.is_available():
        print("needs a GPU: a spectrogram on it")
        return NEEDS_GPU
    assert peak("cuda") == 1000
    return 0


if __name__ == "__main__":
    sys.exit(main())
