"""OpenAI's own client against the Whisper-compatible fake: a recording, and a wrong key."""
import io
import struct
import sys

import openai

from stt_voice import WORDS, speak

url, key = sys.argv[1:3]
audio = speak(WORDS, 8000)
header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(audio), b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", len(audio))
recording = io.BytesIO(header + audio)
recording.name = "call.wav"
client = openai.OpenAI(api_key=key, base_url=url + "/v1", max_retries=0)
told = client.audio.transcriptions.create(file=recording, model="gpt-transcribe", response_format="json")
assert told.text.strip() == WORDS, told
try:
    recording.seek(0)
    other = openai.OpenAI(api_key="wrong", base_url=url + "/v1", max_retries=0)
    other.audio.transcriptions.create(file=recording, model="gpt-transcribe")
    raise SystemExit("a wrong key was accepted")
except openai.AuthenticationError:
    pass
