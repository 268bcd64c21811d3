"""A bot of Pipecat's own parts: its FastAPI transport and its Twilio serializer, as they come from PyPI.

It repeats what the caller says four seconds later, in pieces of 200 ms, says goodbye to the key 9 by ending its pipeline, and to the key 5
by interrupting itself. Prints its port, then one line for each thing it notices.
"""
import asyncio
import socket
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import EndWorkerFrame, InputAudioRawFrame, InputDTMFFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

app = FastAPI()
DELAY_SECONDS = 4


def say(*words):
    print(*words, flush=True)


class Parrot(FrameProcessor):
    """Sends the caller's audio back as the bot's."""

    def __init__(self):
        super().__init__()
        self.kept = b""
        self.heard = 0

    async def process_frame(self, frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.heard += 1
            if self.heard == 50:
                say("audio", frame.sample_rate)
            self.kept += frame.audio
            second, piece = frame.sample_rate * 2, frame.sample_rate // 5 * 2
            if len(self.kept) >= DELAY_SECONDS * second + piece:
                audio, self.kept = self.kept[:piece], self.kept[piece:]
                await self.push_frame(OutputAudioRawFrame(audio, frame.sample_rate, 1))
            return
        if isinstance(frame, InputDTMFFrame):
            say("key", frame.button.value)
            if frame.button.value == "5":
                self.kept = b""
                await self.push_frame(InterruptionFrame())
            if frame.button.value == "9":
                await self.push_frame(EndWorkerFrame())
        await self.push_frame(frame, direction)


@app.websocket("/media")
async def media(websocket: WebSocket):
    await websocket.accept()
    provider, call = await parse_telephony_websocket(websocket)
    say("start", provider, call["stream_id"][:2], call["call_id"][:2], call["body"].get("caller"))
    serializer = TwilioFrameSerializer(
        stream_sid=call["stream_id"],
        call_sid=call["call_id"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket=websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), Parrot(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000),
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(transport, client):
        say("disconnected")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    say("over")


async def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    say("port", listener.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    watch = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    serve = asyncio.create_task(server.serve(sockets=[listener]))
    # The test ends, and with it standard input.
    await watch
    server.should_exit = True
    await serve


asyncio.run(main())
