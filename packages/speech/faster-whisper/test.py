"""The engine computes, audio is decoded, and the voice filter finds no speech in a tone. No network, no model."""

import os
import tempfile
import wave

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper.audio import decode_audio
from faster_whisper.vad import VadOptions, get_speech_timestamps

print("faster-whisper", faster_whisper.__version__, "ctranslate2", ctranslate2.__version__)
assert "int8" in ctranslate2.get_supported_compute_types("cpu")
view = ctranslate2.StorageView.from_array(np.arange(6, dtype=np.float32).reshape(2, 3))
assert list(view.shape) == [2, 3] and np.array(view)[1, 2] == 5

with tempfile.TemporaryDirectory() as work:
    path = os.path.join(work, "tone.wav")
    tone = (np.sin(np.arange(44100) / 44100 * 2 * np.pi * 440) * 8000).astype("<i2")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(tone.tobytes())
    samples = decode_audio(path, sampling_rate=16000)
assert abs(len(samples) - 16000) < 200, len(samples)
assert samples.dtype == np.float32

features = faster_whisper.feature_extractor.FeatureExtractor()(samples)
assert features.shape[0] == 80 and np.isfinite(features).all()
assert get_speech_timestamps(samples, VadOptions(threshold=0.9)) == []

try:
    faster_whisper.WhisperModel("/no/such/model", local_files_only=True)
except Exception as error:
    print("a missing model is refused:", type(error).__name__)
else:
    raise AssertionError("a model that is not there was loaded")
