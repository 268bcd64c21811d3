"""OpenAI's SDK against the fake: the events it reads are those that the vendor sends. Usage: openai_llm.py BASE KEY"""
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
PARAMETERS = {"type": "object", "properties": {"day": {"type": "string"}}}


def responses(words):
    text, calls, last = "", [], None
    stream = client.responses.create(
        model="model",
        input=[{"role": "user", "content": words}],
        tools=[{"type": "function", "name": "look", "parameters": PARAMETERS, "strict": False}],
        store=False,
        stream=True,
        stream_options={"include_obfuscation": False},
    )
    for event in stream:
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.output_item.done" and event.item.type == "function_call":
            calls.append((event.item.call_id, event.item.name, event.item.arguments))
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            last = event.response
    return text, calls, last


text, calls, last = responses("Hello?")
assert text == "Hello there. How can I help?", text
assert last.usage.input_tokens == 120 and last.usage.input_tokens_details.cached_tokens == 100, last
text, calls, last = responses("Please look up Monday.")
assert calls == [("call_1", "look", '{"day":"Monday"}')], calls
text, calls, last = responses("cut short")
assert last.incomplete_details.reason == "max_output_tokens", last
text, calls, last = responses("overload")
assert last.error.code == "server_error", last


def chat(words):
    text, calls, finish, usage = "", {}, None, None
    stream = client.chat.completions.create(
        model="model",
        messages=[{"role": "user", "content": words}],
        tools=[{"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}],
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                begun = calls.setdefault(call.index, [call.id, call.function.name, ""])
                begun[2] += call.function.arguments or ""
    return text, calls, finish, usage


text, calls, finish, usage = chat("Hello?")
assert text == "Hello there. How can I help?" and finish == "stop", (text, finish)
assert usage.prompt_tokens == 120 and usage.prompt_tokens_details.cached_tokens == 100, usage
text, calls, finish, usage = chat("Please look up Monday.")
assert calls == {0: ["call_1", "look", '{"day":"Monday"}']} and finish == "tool_calls", calls
try:
    chat("overload")
    raise SystemExit("an error within the stream went unnoticed")
except openai.APIError:
    pass

for words, error in [("no credit", openai.RateLimitError), ("no such model", openai.NotFoundError)]:
    for ask in (chat, responses):
        try:
            ask(words)
            raise SystemExit(f"{words}: no error")
        except error as refused:
            assert words != "no credit" or refused.code == "insufficient_quota", refused
print("ok")
