"""AssemblyAI's own client against the fake, which it meets over TLS: a turn with key terms, whose end is forced."""
import queue
import sys
import time
from urllib.parse import urlsplit

from assemblyai.streaming.v3 import (
    StreamingClient,
    StreamingClientOptions,
    StreamingEvents,
    StreamingParameters,
    StreamingSessionParameters,
)

from stt_voice import WORDS, pieces, speak

url, key = sys.argv[1:3]
events = queue.Queue()
client = StreamingClient(StreamingClientOptions(api_key=key, api_host=urlsplit(url).netloc))
for event in (StreamingEvents.Begin, StreamingEvents.Turn, StreamingEvents.Termination, StreamingEvents.Error):
    client.on(event, lambda _, message: events.put(message))
client.connect(StreamingParameters(sample_rate=8000, speech_model="universal-streaming-english"))
assert events.get(timeout=10).type == "Begin"
client.set_params(StreamingSessionParameters(keyterms_prompt=WORDS.split()))
for piece in pieces(speak(WORDS, 8000), 8000):
    client.stream(piece)
    time.sleep(0.1)
client.force_endpoint()
while not (turn := events.get(timeout=10)).end_of_turn:
    pass
assert (turn.transcript, turn.turn_order) == (WORDS, 0), turn
assert turn.words[0].confidence == 0.99, turn
client.disconnect(terminate=True)
assert events.get(timeout=10).type == "Termination"
