"""Groq's own client against the Whisper-compatible fake, under Groq's path: a recording."""
import struct
import sys

import groq

from stt_voice import WORDS, speak

url, key = sys.argv[1:3]
audio = speak(WORDS, 8000)
header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(audio), b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", len(audio))
client = groq.Groq(api_key=key, base_url=url, max_retries=0)
told = client.audio.transcriptions.create(file=("call.wav", header + audio), model="whisper-large-v3-turbo")
assert told.text.strip() == WORDS, told
