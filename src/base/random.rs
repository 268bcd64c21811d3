//! Randomness as a parameter, so that a state machine repeats itself under a seed.

/// A source of random numbers: the operating system's, or a seeded sequence for tests and replay.
///
/// Whatever a stranger must not guess (Call-ID, tags, branches, nonces, SSRCs, ports) is drawn from
/// [`Random::system`]; the seeded sequence (xoshiro256++) repeats itself and reveals its state.
#[derive(Debug)]
pub struct Random(Source);

#[derive(Debug)]
enum Source {
    Seeded([u64; 4]),
    System { block: Box<[u8; BLOCK]>, used: usize },
}

/// Bytes asked of the operating system at a time: one system call serves 32 numbers.
const BLOCK: usize = 256;

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Random {
    /// A generator that repeats itself for the same seed. For tests and replay only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut s = seed;
        Self(Source::Seeded(std::array::from_fn(|_| split_mix(&mut s))))
    }

    /// The operating system's generator.
    ///
    /// # Panics
    /// When the system has no randomness to give: nothing that needs secrets may run then.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { block: Box::new([0; BLOCK]), used: BLOCK })
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        match &mut self.0 {
            Source::Seeded([s0, s1, s2, s3]) => {
                let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
                let t = *s1 << 17;
                *s2 ^= *s0;
                *s3 ^= *s1;
                *s1 ^= *s2;
                *s0 ^= *s3;
                *s2 ^= t;
                *s3 = s3.rotate_left(45);
                result
            }
            Source::System { block, used } => {
                if *used >= BLOCK {
                    assert!(getrandom::fill(&mut block[..]).is_ok(), "the operating system gives no random bytes");
                    *used = 0;
                }
                let mut word = [0; 8];
                for (byte, slot) in word.iter_mut().zip(block.iter_mut().skip(*used)) {
                    *byte = std::mem::take(slot);
                }
                *used += 8;
                u64::from_le_bytes(word)
            }
        }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `0..bound`; 0 when `bound` is 0. Bias is below 2⁻³² for bounds of 32 bits.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `digits` lower-case hexadecimal digits, for tags, branches and Call-IDs.
    pub fn hex(&mut self, digits: usize) -> String {
        (0..digits).filter_map(|_| char::from_digit(self.below(16) as u32, 16)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut a, mut b) = (Random::seeded(7), Random::seeded(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert_ne!(Random::seeded(7).next_u64(), Random::seeded(8).next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        for mut random in [Random::seeded(1), Random::system()] {
            let mut seen = [false; 10];
            for _ in 0..1000 {
                seen[random.below(10) as usize] = true;
            }
            assert!(seen.iter().all(|s| *s));
            assert_eq!(random.below(0), 0);
        }
    }

    #[test]
    fn the_system_source_never_hands_out_the_same_block_twice() {
        let mut random = Random::system();
        let numbers: std::collections::HashSet<u64> = (0..1000).map(|_| random.next_u64()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
