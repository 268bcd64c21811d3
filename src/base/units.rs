//! Units that would otherwise be bare numbers.

/// Samples per second of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SampleRate(pub u32);

impl SampleRate {
    /// The telephone network: 8,000 samples per second.
    pub const NARROWBAND: Self = Self(8_000);
    /// G.722 and most speech models: 16,000 samples per second.
    pub const WIDEBAND: Self = Self(16_000);

    /// Samples in `duration_ms` milliseconds.
    #[must_use]
    pub const fn samples_in_ms(self, duration_ms: u32) -> usize {
        (self.0 as usize * duration_ms as usize) / 1000
    }

    /// How long `samples` samples last.
    #[must_use]
    pub fn duration_of(self, samples: usize) -> std::time::Duration {
        std::time::Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(self.0.max(1)))
    }
}
