"""Deepgram's own client against the fake: Aura with a clear in the middle, Flux, and the list of models."""
import sys

from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Close, SpeakV1Flush, SpeakV1Text
from deepgram.speak.v2.types import SpeakV2Close, SpeakV2Flush, SpeakV2Speak

url, key = sys.argv[1:3]
socket = url.replace("http", "ws", 1)
environment = DeepgramClientEnvironment(base=url, production=socket, agent=socket, agent_rest=url)
client = DeepgramClient(api_key=key, environment=environment)


def turn(connection, first, last, stop):
    audio, kinds = b"", []
    for message in first:
        message()
    while True:
        message = connection.recv()
        if isinstance(message, bytes):
            audio += message
            continue
        kinds.append(message.type)
        if message.type == last:
            stop()
            return audio, kinds


with client.speak.v1.connect(model="aura-2-thalia-en", encoding="mulaw", sample_rate="8000") as v1:
    aura, kinds = turn(
        v1,
        [lambda: v1.send_text(SpeakV1Text(text="one two three")), lambda: v1.send_flush(SpeakV1Flush(type="Flush"))],
        "Flushed",
        lambda: v1.send_close(SpeakV1Close(type="Close")),
    )
    assert kinds == ["Metadata", "Flushed"], kinds
with client.speak.v2.connect(model="flux-thalia-en", encoding="mulaw", sample_rate="8000") as v2:
    flux, kinds = turn(
        v2,
        [lambda: v2.send_speak(SpeakV2Speak(text="one two three")), lambda: v2.send_flush(SpeakV2Flush())],
        "SpeechMetadata",
        lambda: v2.send_close(SpeakV2Close()),
    )
    assert kinds == ["Connected", "SpeechStarted", "Flushed", "SpeechMetadata"], kinds
assert aura == flux
models = client.manage.v1.models.list()
assert [model.canonical_name for model in models.tts] == ["aura-2-thalia-en"]
print(len(aura))
