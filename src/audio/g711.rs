//! ITU-T G.711 µ-law and A-law, bit-exact to the reference tools of G.191.
//!
//! Linear samples are 16 bits, left-justified: µ-law uses the upper 14 bits, A-law the upper 13 (12 and a
//! sign). Negative samples are taken by one's complement, as in G.191, so −1 and 0 are mirror images.

/// Which of the two companding laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// Of North America and Japan.
    Mu,
    /// Of the rest of the world.
    A,
}

const fn encode_mu_sample(sample: i16) -> u8 {
    let positive = sample >= 0;
    let magnitude = (if positive { sample } else { !sample } as u16) >> 2;
    // The 33 that the law adds makes every chord start at a power of two; the top code takes the overload.
    let biased = if magnitude + 33 > 0x1FFF { 0x1FFF } else { magnitude + 33 };
    let chord = 10 - biased.leading_zeros() as u16;
    let step = (biased >> (chord + 1)) & 0x0F;
    let code = (chord << 4 | step) as u8;
    // All bits are sent inverted.
    !code & 0x7F | if positive { 0x80 } else { 0 }
}

const fn decode_mu_sample(code: u8) -> i16 {
    let magnitude = !code & 0x7F;
    let (chord, step) = ((magnitude >> 4) as u32, (magnitude & 0x0F) as i32);
    let linear = ((step * 2 + 33) << chord) - 33;
    let sample = (linear << 2) as i16;
    if code & 0x80 != 0 { sample } else { -sample }
}

const fn encode_a_sample(sample: i16) -> u8 {
    let positive = sample >= 0;
    let magnitude = (if positive { sample } else { !sample } as u16) >> 4;
    let code = if magnitude < 32 {
        magnitude
    } else {
        let shift = 11 - magnitude.leading_zeros() as u16;
        ((shift + 1) << 4) | ((magnitude >> shift) & 0x0F)
    };
    // Every other bit is sent inverted.
    (code as u8 | if positive { 0x80 } else { 0 }) ^ 0x55
}

const fn decode_a_sample(code: u8) -> i16 {
    let plain = code ^ 0x55;
    let (chord, step) = (((plain >> 4) & 7) as u32, (plain & 0x0F) as i32);
    let linear = if chord == 0 { step * 2 + 1 } else { (step * 2 + 33) << (chord - 1) };
    let sample = (linear << 3) as i16;
    if plain & 0x80 != 0 { sample } else { -sample }
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, within the array's length")]
const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => decode_mu_sample(code as u8),
            Law::A => decode_a_sample(code as u8),
        };
        code += 1;
    }
    table
}

/// Both laws ignore the lowest two bits, so 2¹⁴ entries hold every answer.
const ENCODE_ENTRIES: usize = 1 << 14;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, within the array's length")]
const fn encode_table(law: Law) -> [u8; ENCODE_ENTRIES] {
    let mut table = [0; ENCODE_ENTRIES];
    let mut entry = 0;
    while entry < ENCODE_ENTRIES {
        let sample = ((entry as u16) << 2) as i16;
        table[entry] = match law {
            Law::Mu => encode_mu_sample(sample),
            Law::A => encode_a_sample(sample),
        };
        entry += 1;
    }
    table
}

static DECODE_MU: [i16; 256] = decode_table(Law::Mu);
static DECODE_A: [i16; 256] = decode_table(Law::A);
static ENCODE_MU: [u8; ENCODE_ENTRIES] = encode_table(Law::Mu);
static ENCODE_A: [u8; ENCODE_ENTRIES] = encode_table(Law::A);

impl Law {
    /// The code of digital silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// One sample to its code.
    #[must_use]
    #[inline]
    pub fn encode_sample(self, sample: i16) -> u8 {
        let table = match self {
            Self::Mu => &ENCODE_MU,
            Self::A => &ENCODE_A,
        };
        table.get(usize::from(sample as u16 >> 2)).copied().unwrap_or_default()
    }

    /// One code to its sample.
    #[must_use]
    #[inline]
    pub fn decode_sample(self, code: u8) -> i16 {
        let table = match self {
            Self::Mu => &DECODE_MU,
            Self::A => &DECODE_A,
        };
        table.get(usize::from(code)).copied().unwrap_or_default()
    }

    /// Encodes as many samples as both slices hold.
    pub fn encode(self, samples: &[i16], codes: &mut [u8]) {
        for (code, sample) in codes.iter_mut().zip(samples) {
            *code = self.encode_sample(*sample);
        }
    }

    /// Decodes as many codes as both slices hold.
    pub fn decode(self, codes: &[u8], samples: &mut [i16]) {
        for (sample, code) in samples.iter_mut().zip(codes) {
            *sample = self.decode_sample(*code);
        }
    }
}
