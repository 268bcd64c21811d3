"""Anthropic's SDK against the fake. Usage: anthropic_llm.py BASE KEY"""
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
TOOLS = [{"name": "look", "input_schema": {"type": "object", "properties": {"day": {"type": "string"}}}}]


def ask(messages):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": [{"type": "text", "text": messages}]}]
    with client.messages.stream(model="model", max_tokens=100, messages=messages, tools=TOOLS) as stream:
        text = "".join(stream.text_stream)
        return text, stream.get_final_message()


text, message = ask("Hello?")
assert text == "Hello there. How can I help?" and message.stop_reason == "end_turn", (text, message)
assert message.usage.cache_read_input_tokens == 100 and message.usage.output_tokens == 9, message.usage
text, message = ask("Please look up Monday.")
call = message.content[-1]
assert message.stop_reason == "tool_use" and call.input == {"day": "Monday"}, message
result = {"type": "tool_result", "tool_use_id": call.id, "content": "free"}
text, message = ask([
    {"role": "user", "content": [{"type": "text", "text": "Please look up Monday."}]},
    {"role": "assistant", "content": message.to_dict()["content"]},
    {"role": "user", "content": [result]},
])
assert text == "It is free at nine.", text
text, message = ask("cut short")
assert message.stop_reason == "max_tokens", message
for words, error in [
    ("overload", anthropic.APIStatusError),
    ("too fast", anthropic.RateLimitError),
    ("no credit", anthropic.BadRequestError),
]:
    try:
        ask(words)
        raise SystemExit(f"{words}: no error")
    except error:
        pass
print("ok")
