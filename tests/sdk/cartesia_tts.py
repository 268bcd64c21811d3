"""Cartesia's own client against the fake: a context on the WebSocket with word times, and the pages of voices."""
import sys

from cartesia import Cartesia

url, key = sys.argv[1:3]
client = Cartesia(api_key=key, base_url=url, websocket_base_url=url.replace("http", "ws", 1))
audio, words = b"", []
with client.tts.websocket_connect() as connection:
    context = connection.context(
        model_id="sonic-3",
        voice={"mode": "id", "id": "e07c00bc-4134-4eae-9ea4-1a55fb45746b"},
        output_format={"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
        add_timestamps=True,
    )
    context.send(transcript="one two three", continue_=False,
                 model_id="sonic-3", voice={"mode": "id", "id": "e07c00bc-4134-4eae-9ea4-1a55fb45746b"},
                 output_format={"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000})
    for message in context.receive():
        if message.type == "chunk":
            audio += message.audio
        elif message.type == "timestamps":
            words += message.word_timestamps.words
        elif message.type == "error":
            raise AssertionError(message)
assert words == ["one", "two", "three"], words
names = [voice.name for voice in client.voices.list(limit=1)]
assert names == ["ANN", "BEN"], names
print(len(audio))
