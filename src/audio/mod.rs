//! Signal processing, pure and without allocation per frame: frames, G.711, resampling, voice activity, loss concealment, tones, WAV files.
