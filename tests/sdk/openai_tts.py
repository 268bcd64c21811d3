"""OpenAI's own client against the fake: speech as it is streamed, and the errors by their classes."""
import sys

import openai

url, key = sys.argv[1:3]
client = openai.OpenAI(api_key=key, base_url=url + "/v1", max_retries=0)
audio = b""
with client.audio.speech.with_streaming_response.create(
    model="gpt-4o-mini-tts", voice="alloy", input="one two three", response_format="pcm"
) as response:
    for chunk in response.iter_bytes():
        audio += chunk
try:
    openai.OpenAI(api_key="poor-key", base_url=url + "/v1", max_retries=0).models.list()
    raise AssertionError("a key without credit was accepted")
except openai.RateLimitError as error:
    assert error.code == "insufficient_quota", error
try:
    client.audio.speech.create(model="gpt-4o-mini-tts", voice="nobody", input="one", response_format="pcm")
    raise AssertionError("a voice that is not there was accepted")
except openai.BadRequestError:
    pass
print(len(audio))
