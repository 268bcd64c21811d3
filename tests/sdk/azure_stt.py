"""Microsoft's own client against the fake: phrases within a turn and at its end, in PCM and in µ-law, and a wrong key."""
import json
import queue
import sys

import azure.cognitiveservices.speech as speech

from stt_voice import WORDS, mulaw, speak

url, key = sys.argv[1:3]
host = url.replace("http", "ws", 1)


def recognizer(key, bits, form):
    config = speech.SpeechConfig(subscription=key, host=host)
    config.speech_recognition_language = "en-US"
    config.output_format = speech.OutputFormat.Detailed
    stream = speech.audio.PushAudioInputStream(
        stream_format=speech.audio.AudioStreamFormat(8000, bits, 1, wave_stream_format=form)
    )
    audio = speech.audio.AudioConfig(stream=stream)
    return stream, speech.SpeechRecognizer(speech_config=config, audio_config=audio)


def hear(bits, form, encode):
    stream, ears = recognizer(key, bits, form)
    phrases = speech.PhraseListGrammar.from_recognizer(ears)
    phrases.addPhrase("Lindenhof")
    events = queue.Queue()
    ears.recognizing.connect(lambda event: events.put(("partial", event.result.text)))
    ears.recognized.connect(lambda event: events.put(("final", event.result)))
    ears.session_stopped.connect(lambda event: events.put(("stopped", None)))
    ears.start_continuous_recognition_async().get()
    silence = bytes(8000)
    stream.write(encode(speak(WORDS, 8000) + silence))
    partial, final = None, None
    while final is None:
        kind, value = events.get(timeout=10)
        partial, final = (value, None) if kind == "partial" else (partial, value)
    assert partial == WORDS == final.text, (partial, final)
    assert final.reason == speech.ResultReason.RecognizedSpeech, final
    assert 0 <= final.offset < 1_000_000 and final.duration > 1_000_000, final
    best = json.loads(final.json)["NBest"][0]
    assert best["Confidence"] == 0.9, best
    stream.write(encode(speak("friday please", 8000)))
    stream.close()
    texts = []
    while (item := events.get(timeout=10))[0] != "stopped":
        texts += [item[1].text] if item[0] == "final" else []
    assert texts[:1] == ["friday please"], texts
    ears.stop_continuous_recognition_async().get()


hear(16, speech.AudioStreamWaveFormat.PCM, lambda audio: audio)
hear(8, speech.AudioStreamWaveFormat.MULAW, mulaw)

stream, ears = recognizer("wrong", 16, speech.AudioStreamWaveFormat.PCM)
stream.write(speak(WORDS, 8000))
stream.close()
result = ears.recognize_once()
assert result.reason == speech.ResultReason.Canceled, result
assert result.cancellation_details.code == speech.CancellationErrorCode.AuthenticationFailure, result.cancellation_details
