"""ElevenLabs' own client against the fake: Scribe with commits by hand."""
import asyncio
import base64
import sys

from elevenlabs.realtime.connection import RealtimeEvents
from elevenlabs.realtime.scribe import AudioFormat, CommitStrategy, ScribeRealtime

from stt_voice import WORDS, pieces, speak

url, key = sys.argv[1:3]


async def main():
    scribe = ScribeRealtime(key, base_url=url.replace("http", "ws", 1))
    connection = await scribe.connect({
        "model_id": "scribe_v2_realtime",
        "audio_format": AudioFormat.PCM_8000,
        "sample_rate": 8000,
        "commit_strategy": CommitStrategy.MANUAL,
    })
    partials, committed = [], asyncio.get_running_loop().create_future()
    connection.on(RealtimeEvents.PARTIAL_TRANSCRIPT, lambda data: partials.append(data["text"]))
    connection.on(RealtimeEvents.COMMITTED_TRANSCRIPT, lambda data: committed.set_result(data["text"]))
    for piece in pieces(speak(WORDS, 8000), 8000):
        await connection.send({"audio_base_64": base64.b64encode(piece).decode()})
    await connection.commit()
    assert await asyncio.wait_for(committed, 10) == WORDS
    assert partials[-1] == WORDS, partials
    await connection.close()


asyncio.run(main())
