"""Cartesia's own client against the fake: words when asked for, and a turn that silence ends."""
import sys

from cartesia import Cartesia

from stt_voice import WORDS, pieces, speak

url, key = sys.argv[1:3]
client = Cartesia(api_key=key, base_url=url, websocket_base_url=url.replace("http", "ws", 1))
terms = {"model": "ink-2", "encoding": "pcm_s16le", "sample_rate": 8000}
audio = pieces(speak(WORDS, 8000), 8000)

with client.stt.manual_finalize.websocket(**terms) as connection:
    for piece in audio:
        connection.send_raw(piece)
    connection.send("finalize")
    said = ""
    while (message := connection.recv()).type != "flush_done":
        said += message.text if message.is_final else ""
    assert said == WORDS, said
    connection.send("close")
    assert connection.recv().type == "done"

with client.stt.auto_finalize.websocket(**terms) as connection:
    assert connection.recv().type == "connected"
    for piece in audio + [bytes(1600)] * 5:
        connection.send_raw(piece)
    kinds = []
    while (message := connection.recv()).type != "turn.end":
        kinds.append(message.type)
    assert kinds[:2] == ["turn.start", "turn.update"] and message.transcript == WORDS, (kinds, message)
    connection.send({"type": "close"})
