"""The caller of the fake recognisers: every word is a tone (tests/fakes/voice.rs)."""
import math
import struct

WORDS = "table for two"


def pitch(word):
    state = 0x811C9DC5
    for letter in word:
        state = (state ^ ord(letter)) * 0x01000193 & 0xFFFFFFFF
    return 300 + 50 * ((state ^ state >> 16) % 48)


def speak(text, rate):
    """16-bit samples, little-endian, with 100 ms of silence behind."""
    samples = []
    for word in text.split():
        turn = 2 * math.pi * pitch(word) / rate
        samples += [int(12000 * math.sin(turn * n)) for n in range(rate * 60 // 1000)]
        samples += [0] * (rate * 20 // 1000)
    samples += [0] * (rate // 10)
    return struct.pack(f"<{len(samples)}h", *samples)


def mulaw(audio):
    """16-bit samples as µ-law."""
    octets = bytearray()
    for (sample,) in struct.iter_unpack("<h", audio):
        magnitude = min(abs(sample), 32635) + 0x84
        exponent = magnitude.bit_length() - 8
        octets.append(~((0x80 if sample < 0 else 0) | exponent << 4 | (magnitude >> (exponent + 3) & 0x0F)) & 0xFF)
    return bytes(octets)


def pieces(audio, rate, milliseconds=100):
    size = rate * milliseconds // 1000 * 2
    whole = [audio[at : at + size] for at in range(0, len(audio), size)]
    whole[-1] = whole[-1].ljust(size, b"\0")
    return whole
