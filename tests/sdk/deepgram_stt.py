"""Deepgram's own client against the fake: a stream that is finalized, a turn of Flux, and key terms within both."""
import sys

from deepgram import DeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types import ListenV1Configure
from deepgram.listen.v2.types import ListenV2Configure

from stt_voice import WORDS, pieces, speak

url, key = sys.argv[1:3]
socket = url.replace("http", "ws", 1)
environment = DeepgramClientEnvironment(base=url, production=socket, agent=socket, agent_rest=url)
client = DeepgramClient(api_key=key, environment=environment)
audio = pieces(speak(WORDS, 8000), 8000)

with client.listen.v1.connect(model="nova-3", encoding="linear16", sample_rate=8000, interim_results=True) as v1:
    for piece in audio:
        v1.send_media(piece)
    v1.send_finalize()
    while True:
        message = v1.recv()
        if message.type == "Results" and message.from_finalize:
            break
    best = message.channel.alternatives[0]
    assert best.transcript == WORDS, best
    assert message.is_final and best.words[0].word == "table", message
    v1.send_configure(ListenV1Configure(keyterms=["friday"]))
    answer = v1.recv()
    assert (answer.type, answer.keyterms) == ("ConfigureSuccess", ["friday"]), answer
    v1.send_close_stream()
    assert v1.recv().type == "Metadata"

with client.listen.v2.connect(model="flux-general-en", encoding="linear16", sample_rate=8000) as v2:
    assert v2.recv().type == "Connected"
    v2.send_configure(ListenV2Configure(keyterms=WORDS.split()))
    answer = v2.recv()
    assert answer.type == "ConfigureSuccess" and list(answer.keyterms) == WORDS.split(), answer
    for piece in audio:
        v2.send_media(piece)
    assert v2.recv().event == "StartOfTurn"
    v2.send_force_end_turn()
    while True:
        message = v2.recv()
        if message.event == "EndOfTurn":
            break
    assert (message.transcript, message.turn_index) == (WORDS, 0), message
    assert message.words[0].confidence == 0.99, message
    v2.send_close_stream()
