"""Google's SDK against the fake. Usage: gemini_llm.py BASE KEY"""
import sys

from google import genai
from google.genai import errors, types

client = genai.Client(api_key=sys.argv[2], http_options=types.HttpOptions(base_url=sys.argv[1]))
LOOK = types.FunctionDeclaration(
    name="look", parameters_json_schema={"type": "object", "properties": {"day": {"type": "string"}}}
)
CONFIG = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[LOOK])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def ask(contents):
    text, parts, finish, usage = "", [], None, None
    for chunk in client.models.generate_content_stream(
        model="gemini-3.8-flash", contents=contents, config=CONFIG
    ):
        usage = chunk.usage_metadata or usage
        for candidate in chunk.candidates or []:
            finish = candidate.finish_reason or finish
            for part in (candidate.content.parts if candidate.content else None) or []:
                parts.append(part)
                text += (part.text or "") if not part.thought else ""
    return text, parts, finish, usage


text, parts, finish, usage = ask("Hello?")
assert text == "Hello there. How can I help?" and finish == "STOP", (text, finish)
assert usage.prompt_token_count == 120 and usage.cached_content_token_count == 100, usage
text, parts, finish, usage = ask("Please look up Monday.")
call = next(part for part in parts if part.function_call)
assert call.function_call.args == {"day": "Monday"} and call.thought_signature, call
answer = types.Part.from_function_response(name="look", response={"output": "free"})
text, parts, finish, usage = ask([
    types.Content(role="user", parts=[types.Part(text="Please look up Monday.")]),
    types.Content(role="model", parts=[call]),
    types.Content(role="user", parts=[answer]),
])
assert text == "It is free at nine.", text
assert ask("cut short")[2] == "MAX_TOKENS"
for words, code in [("too fast", 429), ("no such model", 404)]:
    try:
        ask(words)
        raise SystemExit(f"{words}: no error")
    except errors.ClientError as refused:
        assert refused.code == code, refused
print("ok")
