"""OpenAI's own client against the fake: a spoken turn, and a tool."""
import base64
import sys

import openai

from stt_voice import pieces, speak

url, key = sys.argv[1:3]
base = url + "/v1"
client = openai.OpenAI(api_key=key, base_url=base, websocket_base_url=base.replace("http", "ws", 1), max_retries=0)
with client.realtime.connect(model="gpt-realtime-2.1") as connection:
    assert connection.recv().type == "session.created"
    form = {"type": "audio/pcm", "rate": 24000}
    connection.session.update(session={
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": {"format": form, "turn_detection": None}, "output": {"format": form, "voice": "marin"}},
        "tools": [{"type": "function", "name": "weather", "description": "-", "parameters": {"type": "object"}}],
    })
    assert connection.recv().type == "session.updated"

    def turn(words):
        for piece in pieces(speak(words, 24000), 24000):
            connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        connection.input_audio_buffer.commit()
        connection.response.create()

    def answer():
        audio, words, events = b"", "", []
        while not events or events[-1].type != "response.done":
            event = connection.recv()
            events.append(event)
            if event.type == "response.output_audio.delta":
                audio += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.delta":
                words += event.delta
        return audio, words, events

    turn("hello there")
    audio, words, events = answer()
    assert words == "you said hello there" and len(audio) == 4 * 80 * 48, (words, len(audio))
    heard = [e.transcript for e in events if e.type == "conversation.item.input_audio_transcription.completed"]
    assert heard == ["hello there"], heard
    assert events[-1].response.usage.input_token_details.cached_tokens == 10, events[-1]

    turn("weather please")
    *_, events = answer()
    call = events[-1].response.output[0]
    assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city":"Basel"}'), call
    connection.conversation.item.create(item={"type": "function_call_output", "call_id": call.call_id, "output": "{}"})
    connection.response.create()
    _, words, _ = answer()
    assert words == "it is sunny today", words
