"""Groq's SDK against the fake. Usage: groq_llm.py BASE KEY"""
import sys

import groq

client = groq.Groq(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)


def chat(words):
    text, calls, usage, finish = "", [], None, None
    for chunk in client.chat.completions.create(
        model="model", messages=[{"role": "user", "content": words}], stream=True
    ):
        usage = chunk.x_groq.usage if chunk.x_groq and chunk.x_groq.usage else usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            calls += [(c.function.name, c.function.arguments) for c in choice.delta.tool_calls or []]
    return text, calls, usage, finish


text, calls, usage, finish = chat("Hello?")
assert text == "Hello there. How can I help?" and finish == "stop" and usage.prompt_tokens == 120, (text, usage)
text, calls, usage, finish = chat("Please look up Monday.")
assert calls == [("look", '{"day":"Monday"}')] and finish == "tool_calls", calls
print("ok")
