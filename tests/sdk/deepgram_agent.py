"""Deepgram's own client against the fake: a spoken turn with a tool."""
import sys

from deepgram import DeepgramClient
from deepgram.agent.v1.types import AgentV1KeepAlive, AgentV1SendFunctionCallResponse, AgentV1Settings
from deepgram.environment import DeepgramClientEnvironment

from stt_voice import pieces, speak

url, key = sys.argv[1:3]
socket = url.replace("http", "ws", 1)
environment = DeepgramClientEnvironment(base=url, production=socket, agent=socket, agent_rest=url)
client = DeepgramClient(api_key=key, environment=environment)
with client.agent.v1.connect() as agent:
    assert agent.recv().type == "Welcome"
    agent.send_settings(AgentV1Settings(
        audio={
            "input": {"encoding": "linear16", "sample_rate": 16000},
            "output": {"encoding": "linear16", "sample_rate": 16000, "container": "none"},
        },
        agent={
            "listen": {"provider": {"type": "deepgram", "version": "v1", "model": "nova-3"}},
            "think": {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Be kind."},
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
        },
    ))
    assert agent.recv().type == "SettingsApplied"
    agent.send_keep_alive(AgentV1KeepAlive())
    for piece in pieces(speak("weather please", 16000) + bytes(16000), 16000):
        agent.send_media(piece)
    audio, kinds = b"", []
    while "AgentAudioDone" not in kinds:
        message = agent.recv()
        if isinstance(message, bytes):
            audio += message
            continue
        kinds.append(message.type)
        if message.type == "FunctionCallRequest":
            call = message.functions[0]
            assert (call.name, call.client_side) == ("weather", True), call
            agent.send_function_call_response(AgentV1SendFunctionCallResponse(id=call.id, name=call.name, content="{}"))
        elif message.type == "ConversationText":
            wanted = {"user": "weather please", "assistant": "it is sunny today"}
            assert message.content == wanted[message.role], message
    assert kinds[0] == "UserStartedSpeaking" and len(audio) == 4 * 80 * 32, (kinds, len(audio))
