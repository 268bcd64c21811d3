"""ElevenLabs' own client against the fake: text to speech with times, and the pages of voices."""
import base64
import sys

from elevenlabs.client import ElevenLabs

url, key = sys.argv[1:3]
client = ElevenLabs(api_key=key, base_url=url)
audio, characters = b"", ""
for chunk in client.text_to_speech.stream_with_timestamps(
    voice_id="21m00Tcm4TlvDq8ikWAM", text="one two three", model_id="eleven_flash_v2_5", output_format="ulaw_8000"
):
    audio += base64.b64decode(chunk.audio_base_64)
    if chunk.alignment:
        characters += "".join(chunk.alignment.characters)
        assert len(chunk.alignment.characters) == len(chunk.alignment.character_end_times_seconds)
assert characters == "one two three", characters
page = client.voices.search(page_size=100)
names = [voice.name for voice in page.voices]
assert page.has_more
names += [voice.name for voice in client.voices.search(next_page_token=page.next_page_token).voices]
assert names == ["Abe", "Bea"], names
try:
    ElevenLabs(api_key="wrong", base_url=url).voices.search()
    raise AssertionError("a wrong key was accepted")
except Exception as error:
    assert getattr(error, "status_code", None) == 401, error
print(len(audio))
