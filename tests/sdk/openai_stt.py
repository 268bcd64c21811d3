"""OpenAI's own client against the fake: a transcription session."""
import base64
import sys

import openai

from stt_voice import WORDS, pieces, speak

url, key = sys.argv[1:3]
base = url + "/v1"
client = openai.OpenAI(api_key=key, base_url=base, websocket_base_url=base.replace("http", "ws", 1), max_retries=0)
with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
    assert connection.recv().type == "session.created"
    connection.session.update(session={
        "type": "transcription",
        "audio": {"input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-live-transcribe"},
            "turn_detection": None,
        }},
    })
    assert connection.recv().type == "session.updated"
    for piece in pieces(speak(WORDS, 24000), 24000):
        connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
    connection.input_audio_buffer.commit()
    told, kinds = "", []
    while not kinds or not kinds[-1].endswith(".completed"):
        event = connection.recv()
        kinds.append(event.type)
        told += event.delta if event.type.endswith(".delta") else ""
    assert event.transcript == WORDS == told, (event, told)
    assert "input_audio_buffer.committed" in kinds, kinds
