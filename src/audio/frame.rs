//! Twenty milliseconds of one channel.

/// How long a [`Frame`] lasts, in milliseconds: the packet time of telephony and the turn of the media wheel.
pub const FRAME_MS: u32 = 20;

/// Samples of a frame at 8 kHz.
pub const NARROWBAND_FRAME: usize = 160;

/// Samples of a frame at 16 kHz.
pub const WIDEBAND_FRAME: usize = 320;

/// Samples of a frame at 48 kHz, the most a [`Frame`] holds.
pub const FULLBAND_FRAME: usize = 960;

/// Up to 20 ms of linear 16-bit mono audio, held inline so that a frame can cross a ring without allocation.
///
/// The rate is the owner's knowledge: 160 samples are 20 ms at 8 kHz, 320 are 20 ms at 16 kHz, 960
/// are 20 ms at 48 kHz. Rings that carry many frames of a known rate hold arrays of that length instead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    len: u16,
    samples: [i16; FULLBAND_FRAME],
}

impl Frame {
    /// A frame without samples.
    pub const EMPTY: Self = Self { len: 0, samples: [0; FULLBAND_FRAME] };

    /// `len` samples of digital silence, at most [`FULLBAND_FRAME`].
    #[must_use]
    pub fn silence(len: usize) -> Self {
        Self { len: len.min(FULLBAND_FRAME) as u16, samples: [0; FULLBAND_FRAME] }
    }

    /// A frame of the first [`FULLBAND_FRAME`] of `samples`.
    #[must_use]
    pub fn from_samples(samples: &[i16]) -> Self {
        let mut frame = Self::EMPTY;
        frame.append(samples);
        frame
    }

    /// Appends as many of `samples` as fit and says how many did.
    pub fn append(&mut self, samples: &[i16]) -> usize {
        let used = self.len();
        let room = self.samples.get_mut(used..).unwrap_or_default();
        let taken = room.len().min(samples.len());
        for (slot, sample) in room.iter_mut().zip(samples) {
            *slot = *sample;
        }
        self.len = (used + taken) as u16;
        taken
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        self.samples.get(..self.len()).unwrap_or_default()
    }

    /// The samples, to be changed in place.
    pub fn samples_mut(&mut self) -> &mut [i16] {
        let len = self.len();
        self.samples.get_mut(..len).unwrap_or_default()
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Root mean square in dB below full scale (a full-scale square wave is 0 dBFS); −96 for digital silence.
    #[must_use]
    pub fn level_dbfs(&self) -> f32 {
        level_dbfs(self.samples())
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} samples, {:.0} dBFS)", self.len, self.level_dbfs())
    }
}

/// Root mean square of `samples` in dB below full scale; −96 when there is nothing or only zeros.
#[must_use]
pub fn level_dbfs(samples: &[i16]) -> f32 {
    // In lanes: one sum waits for each addition before the next.
    let (whole, rest) = samples.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for chunk in whole {
        for (sum, sample) in sums.iter_mut().zip(chunk) {
            *sum += f32::from(*sample) * f32::from(*sample);
        }
    }
    let rest = rest.iter().map(|sample| f32::from(*sample) * f32::from(*sample));
    let energy = sums.into_iter().chain(rest).sum::<f32>();
    if samples.is_empty() || energy <= 0.0 {
        return -96.0;
    }
    (10.0 * (energy / samples.len() as f32 / (32_768.0 * 32_768.0)).log10()).max(-96.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_at_most_twenty_milliseconds_at_forty_eight_kilohertz() {
        let mut frame = Frame::from_samples(&[7; 900]);
        assert_eq!(frame.append(&[9; 300]), 60);
        assert_eq!(frame.len(), FULLBAND_FRAME);
        assert_eq!(frame.samples()[899..901], [7, 9]);
        assert_eq!(frame.append(&[1]), 0);
    }

    #[test]
    fn level_is_relative_to_full_scale() {
        assert!((level_dbfs(&[i16::MIN, i16::MIN]) - 0.0).abs() < 0.01);
        assert!((level_dbfs(&[3277, -3277]) + 20.0).abs() < 0.01);
        assert_eq!(Frame::silence(160).level_dbfs(), -96.0);
        assert_eq!(level_dbfs(&[]), -96.0);
    }
}
