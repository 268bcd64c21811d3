//! G.711 against the decision and output values of the Recommendation, transcribed as its tables list them:
//! chord by chord, as step sizes. No arithmetic is shared with the encoder.

use offhook::audio::g711::Law;

/// Decision values x₀, x₁, … and output values y₀, y₁, … of the positive half, in the table's own units.
struct Table {
    decisions: Vec<i32>,
    outputs: Vec<i32>,
    /// Bits by which a 16-bit sample is right of the table's unit.
    shift: u32,
}

/// G.711 Table 1a: eight chords on a scale of 4096; the first two share the step of 2.
fn a_law() -> Table {
    let mut decisions = vec![0];
    for (intervals, step) in [(32, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128)] {
        for _ in 0..intervals {
            decisions.push(decisions.last().unwrap() + step);
        }
    }
    assert_eq!(*decisions.last().unwrap(), 4096);
    let outputs = decisions.windows(2).map(|x| (x[0] + x[1]) / 2).collect();
    Table { decisions, outputs, shift: 3 }
}

/// G.711 Table 2a: the first interval is 1 wide with output 0, then chords to a virtual 8159.
fn mu_law() -> Table {
    let mut decisions = vec![0, 1];
    for (intervals, step) in [(15, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128), (16, 256)] {
        for _ in 0..intervals {
            decisions.push(decisions.last().unwrap() + step);
        }
    }
    assert_eq!(*decisions.last().unwrap(), 8159);
    let mut outputs: Vec<i32> = decisions.windows(2).map(|x| (x[0] + x[1]) / 2).collect();
    outputs[0] = 0;
    Table { decisions, outputs, shift: 2 }
}

impl Table {
    /// The interval a magnitude lies in; everything beyond the virtual decision value is in the last.
    fn interval(&self, magnitude: i32) -> usize {
        // A decision value itself belongs to the interval above it.
        self.decisions[1..128].iter().take_while(|x| **x <= magnitude).count()
    }
}

/// The character signal of interval `n` before the even-bit inversion: for A-law the sign bit and n, for
/// µ-law everything inverted.
fn code(law: Law, positive: bool, n: usize) -> u8 {
    let sign = if positive { 0x80 } else { 0 };
    match law {
        Law::A => (sign | n as u8) ^ 0x55,
        Law::Mu => sign | (0x7F - n as u8),
    }
}

#[test]
fn every_sixteen_bit_sample_encodes_to_the_interval_of_the_table() {
    for (law, table) in [(Law::Mu, mu_law()), (Law::A, a_law())] {
        for sample in i16::MIN..=i16::MAX {
            let positive = sample >= 0;
            let magnitude = i32::from(if positive { sample } else { -1 - sample }) >> table.shift;
            let expected = code(law, positive, table.interval(magnitude));
            assert_eq!(law.encode_sample(sample), expected, "{law:?} {sample}");
        }
    }
}

#[test]
fn every_code_decodes_to_the_output_value_of_the_table() {
    for (law, table) in [(Law::Mu, mu_law()), (Law::A, a_law())] {
        for n in 0..128 {
            let output = table.outputs[n] << table.shift;
            assert_eq!(i32::from(law.decode_sample(code(law, true, n))), output, "{law:?} +{n}");
            assert_eq!(i32::from(law.decode_sample(code(law, false, n))), -output, "{law:?} -{n}");
        }
    }
}

#[test]
fn encoding_a_decoded_code_gives_the_code_back_except_negative_zero() {
    for law in [Law::Mu, Law::A] {
        for code in 0..=255u8 {
            let again = law.encode_sample(law.decode_sample(code));
            // µ-law has a code for −0, which linear audio cannot hold.
            let expected = if law == Law::Mu && code == 0x7F { 0xFF } else { code };
            assert_eq!(again, expected, "{law:?} {code:#04x}");
        }
    }
}

#[test]
fn a_second_pass_changes_nothing() {
    for law in [Law::Mu, Law::A] {
        for sample in i16::MIN..=i16::MAX {
            let once = law.decode_sample(law.encode_sample(sample));
            assert_eq!(law.decode_sample(law.encode_sample(once)), once, "{law:?} {sample}");
        }
    }
}

#[test]
fn silence_and_full_scale_have_their_well_known_codes() {
    assert_eq!([Law::Mu.encode_sample(0), Law::A.encode_sample(0)], [0xFF, 0xD5]);
    assert_eq!([Law::Mu.encode_sample(i16::MAX), Law::A.encode_sample(i16::MAX)], [0x80, 0xAA]);
    assert_eq!([Law::Mu.encode_sample(i16::MIN), Law::A.encode_sample(i16::MIN)], [0x00, 0x2A]);
    assert_eq!([Law::Mu.silence(), Law::A.silence()], [0xFF, 0xD5]);
    assert_eq!([Law::Mu.decode_sample(0x80), Law::A.decode_sample(0xAA)], [32124, 32256]);
}

#[test]
fn slices_are_encoded_up_to_the_shorter_one() {
    let (mut codes, mut samples) = ([0x55; 4], [7i16; 4]);
    Law::Mu.encode(&[0, 0], &mut codes);
    assert_eq!(codes, [0xFF, 0xFF, 0x55, 0x55]);
    Law::A.decode(&[0xD5], &mut samples);
    assert_eq!(samples, [8, 7, 7, 7]);
}
