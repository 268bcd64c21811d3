//! WAV files: 16-bit mono out, anything usual in.

use super::resample::{ResampleError, convert};
use crate::base::SampleRate;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::io::{Read, Seek, Write};
use std::path::Path;
use thiserror::Error;

/// Longest file read, in samples of all channels: an hour of 48 kHz stereo. A larger one is a mistake.
const MAX_SAMPLES: u32 = 48_000 * 2 * 3_600;

/// Why a WAV file cannot be read or written.
#[derive(Debug, Error)]
pub enum WavError {
    /// The file is damaged, missing, or not WAV.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the reader or the system says.
        source: hound::Error,
    },
    /// Its rate cannot be converted.
    #[error(transparent)]
    Rate(#[from] ResampleError),
    /// It is empty or longer than an hour.
    #[error("{path}: no audio, or more than an hour of it")]
    Length {
        /// Which file.
        path: String,
    },
}

/// Reads a file as 16-bit mono: channels are averaged, 8 to 32 bits and float are taken. The rate is the file's.
///
/// # Errors
/// The file is missing, damaged, empty or too long.
pub fn read(path: impl AsRef<Path>) -> Result<(Vec<i16>, SampleRate), WavError> {
    let path = path.as_ref();
    let named = |source| WavError::File { path: path.display().to_string(), source };
    let reader = WavReader::open(path).map_err(named)?;
    if reader.len() == 0 || reader.len() > MAX_SAMPLES {
        return Err(WavError::Length { path: path.display().to_string() });
    }
    read_from(reader).map_err(named)
}

/// Reads a file as [`read`] does and converts it to `rate`.
///
/// # Errors
/// As [`read`]; or the rate cannot be converted.
pub fn read_at(path: impl AsRef<Path>, rate: SampleRate) -> Result<Vec<i16>, WavError> {
    let (samples, own) = read(path)?;
    Ok(convert(&samples, own, rate)?)
}

fn read_from<R: Read>(reader: WavReader<R>) -> Result<(Vec<i16>, SampleRate), hound::Error> {
    let spec = reader.spec();
    let interleaved: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => {
            reader.into_samples::<f32>().map(|s| s.map(|s| s * 32_768.0)).collect::<Result<_, _>>()?
        }
        SampleFormat::Int => {
            let scale = 32_768.0 / 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            reader.into_samples::<i32>().map(|s| s.map(|s| s as f32 * scale)).collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let mono = interleaved.chunks(channels).map(|c| c.iter().sum::<f32>() / c.len() as f32);
    let clipped = mono.map(|s| s.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16);
    Ok((clipped.collect(), SampleRate(spec.sample_rate)))
}

/// Writes a whole file, 16-bit mono.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: impl AsRef<Path>, samples: &[i16], rate: SampleRate) -> Result<(), WavError> {
    let path = path.as_ref();
    let named = |source| WavError::File { path: path.display().to_string(), source };
    let file = std::fs::File::create(path).map_err(|e| named(hound::Error::IoError(e)))?;
    write_to(std::io::BufWriter::new(file), samples, rate).map_err(named)
}

/// Writes to anything that can seek, 16-bit mono.
///
/// # Errors
/// It cannot be written to.
pub fn write_to<W: Write + Seek>(writer: W, samples: &[i16], rate: SampleRate) -> Result<(), hound::Error> {
    let spec = WavSpec { channels: 1, sample_rate: rate.0, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut wav = WavWriter::new(writer, spec)?;
    let mut block = wav.get_i16_writer(samples.len() as u32);
    samples.iter().for_each(|s| block.write_sample(*s));
    block.flush()?;
    wav.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let samples: Vec<i16> = (-500..500).collect();
        write(&path, &samples, SampleRate::WIDEBAND).unwrap();
        assert_eq!(read(&path).unwrap(), (samples, SampleRate::WIDEBAND));
        assert_eq!(read_at(&path, SampleRate::NARROWBAND).unwrap().len(), 500);
    }

    #[test]
    fn stereo_float_and_other_widths_become_sixteen_bit_mono() {
        let folder = tempfile::tempdir().unwrap();
        for (bits, format) in
            [(8, SampleFormat::Int), (24, SampleFormat::Int), (32, SampleFormat::Int), (32, SampleFormat::Float)]
        {
            let path = folder.path().join("x.wav");
            let spec = WavSpec { channels: 2, sample_rate: 8_000, bits_per_sample: bits, sample_format: format };
            let mut wav = WavWriter::create(&path, spec).unwrap();
            for value in [0.5f64, 0.0] {
                match format {
                    SampleFormat::Float => wav.write_sample(value as f32).unwrap(),
                    SampleFormat::Int => wav.write_sample((value * 2f64.powi(i32::from(bits) - 1)) as i32).unwrap(),
                }
            }
            wav.finalize().unwrap();
            assert_eq!(read(&path).unwrap().0, [8_192], "{bits} {format:?}");
        }
    }

    #[test]
    fn a_missing_damaged_or_empty_file_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("greeting.wav");
        assert!(read(&path).unwrap_err().to_string().contains("greeting.wav"));
        std::fs::write(&path, b"RIFF....").unwrap();
        assert!(matches!(read(&path), Err(WavError::File { .. })));
        write(&path, &[], SampleRate::NARROWBAND).unwrap();
        assert!(matches!(read(&path), Err(WavError::Length { .. })));
    }
}
