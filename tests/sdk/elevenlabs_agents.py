"""ElevenLabs' own client against the fake: a signed URL, a spoken turn with a tool."""
import sys
import threading

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, ClientTools, Conversation

from stt_voice import mulaw, speak

url, key = sys.argv[1:3]


def speech(text):
    return mulaw(speak(text, 8000)) + b"\xff" * 4000


class Telephone(AudioInterface):
    """The agent of the fake takes and gives µ-law."""

    def __init__(self):
        self.heard = b""
        self.whole = threading.Event()

    def start(self, input_callback):
        self.callback = input_callback

    def stop(self):
        pass

    def output(self, audio):
        self.heard += audio
        if len(self.heard) >= 4 * 640:
            self.whole.set()

    def interrupt(self):
        pass


telephone, said, asked = Telephone(), [], []
tools = ClientTools()
tools.register("weather", lambda parameters: asked.append(parameters["city"]) or "{}")
ready = threading.Event()
conversation = Conversation(
    ElevenLabs(api_key=key, base_url=url),
    "agent_1",
    requires_auth=True,
    audio_interface=telephone,
    client_tools=tools,
    callback_agent_response=lambda text: said.append(text),
    callback_user_transcript=lambda text: said.append(text),
    callback_latency_measurement=lambda _: ready.set(),
)
conversation.start_session()
assert ready.wait(10), "no ping"
octets = speech("weather please")
for at in range(0, len(octets), 800):
    telephone.callback(octets[at : at + 800])
assert telephone.whole.wait(10), len(telephone.heard)
conversation.end_session()
assert asked == ["Basel"] and said == ["weather please", "it is sunny today"], (asked, said)
