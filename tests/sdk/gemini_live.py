"""Google's own client against the fake: a spoken turn, and a tool."""
import asyncio
import sys

from google import genai
from google.genai import types

from stt_voice import pieces, speak

url, key = sys.argv[1:3]


async def main():
    options = types.HttpOptions(base_url=url, api_version="v1beta")
    client = genai.Client(api_key=key, http_options=options)
    config = types.LiveConnectConfig(
        response_modalities=["AUDIO"],
        input_audio_transcription={},
        output_audio_transcription={},
        session_resumption={},
        tools=[{"function_declarations": [{"name": "weather", "description": "-"}]}],
    )
    async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:

        async def turn(words):
            for piece in pieces(speak(words, 16000) + bytes(16000), 16000):
                await session.send_realtime_input(audio=types.Blob(data=piece, mime_type="audio/pcm;rate=16000"))

        async def answer():
            audio, caller, agent = b"", "", ""
            async for message in session.receive():
                if message.tool_call:
                    return message.tool_call.function_calls[0]
                content = message.server_content
                if content and content.input_transcription:
                    caller += content.input_transcription.text
                if content and content.output_transcription:
                    agent += content.output_transcription.text
                audio += message.data or b""
            return audio, caller, agent

        await turn("hello there")
        audio, caller, agent = await answer()
        assert (caller, agent) == ("hello there", "you said hello there"), (caller, agent)
        assert len(audio) == 4 * 80 * 48, len(audio)
        await turn("weather please")
        call = await answer()
        assert (call.name, call.args) == ("weather", {"city": "Basel"}), call
        response = types.FunctionResponse(id=call.id, name=call.name, response={"output": "{}"})
        await session.send_tool_response(function_responses=[response])
        _, _, agent = await answer()
        assert agent == "it is sunny today", agent


asyncio.run(asyncio.wait_for(main(), 15))
