use super::*;
use crate::rtp::{JitterBuffer, Source};
use std::time::{Duration, Instant};

/// What is left of `samples`, in decibels of them, without the sine of `hertz` that fits best.
fn impurity_db(samples: &[i16], hertz: f64) -> f64 {
    let waves: Vec<(f64, f64, f64)> = samples
        .iter()
        .enumerate()
        .map(|(n, sample)| {
            let (sine, cosine) = (hertz / 8_000.0 * std::f64::consts::TAU * n as f64).sin_cos();
            (f64::from(*sample), cosine, sine)
        })
        .collect();
    let sum = |term: fn(&(f64, f64, f64)) -> f64| waves.iter().map(term).sum::<f64>();
    // The normal equations of a least-squares fit.
    let (cc, cs, ss) = (sum(|w| w.1 * w.1), sum(|w| w.1 * w.2), sum(|w| w.2 * w.2));
    let (yc, ys) = (sum(|w| w.0 * w.1), sum(|w| w.0 * w.2));
    let determinant = cc * ss - cs * cs;
    let (a, b) = ((yc * ss - ys * cs) / determinant, (ys * cc - yc * cs) / determinant);
    let rest: f64 = waves.iter().map(|w| (w.0 - a * w.1 - b * w.2).powi(2)).sum();
    10.0 * (rest / sum(|w| w.0 * w.0)).log10()
}

#[test]
fn partial_sums_give_what_one_sum_gives() {
    let samples: [i16; TAPS] = std::array::from_fn(|n| ((n as i32 * 7_919 + 1_234) % 65_536 - 32_768) as i16);
    for phase in 0..PHASES {
        for blend in [0.0f32, 0.3, 0.999] {
            let (near, far) = (&SINC[phase], &SINC[phase + 1]);
            let weighted = samples.iter().zip(near.iter().zip(far)).map(|(sample, (near, far))| {
                f64::from(*sample) * (f64::from(*near) + f64::from(far - near) * f64::from(blend))
            });
            let (wanted, made) = (weighted.sum::<f64>(), interpolated(&samples, near, far, blend));
            assert!((f64::from(made) - wanted).abs() < 0.05, "phase {phase}, blend {blend}: {made} for {wanted}");
        }
    }
}

#[test]
fn a_resampled_sine_is_a_clean_sine_of_the_other_pitch() {
    for (hertz, ppm, worst) in
        [(400.0, 200.0, -70.0), (1_000.0, 200.0, -70.0), (1_000.0, -200.0, -70.0), (3_000.0, 200.0, -50.0)]
    {
        let mut pace = Pace::new(160);
        pace.follow();
        let (mut at, mut played) = (0u32, Vec::new());
        while played.len() < 8_000 * 20 {
            pace.steer(ppm, 0);
            while pace.wants_more() {
                let samples: [i16; 160] = std::array::from_fn(|n| {
                    (f64::from(at + n as u32) * hertz / 8_000.0 * std::f64::consts::TAU)
                        .sin()
                        .mul_add(12_000.0, 0.0)
                        .round() as i16
                });
                at += 160;
                pace.push(&samples);
            }
            let mut out = [0; 160];
            pace.play(&mut out);
            played.extend(out);
        }
        let impurity = impurity_db(&played[8_000..], hertz * (1.0 - ppm / 1e6));
        println!("{hertz} Hz at {ppm} ppm: {impurity:.1} dB");
        assert!(impurity < worst, "{hertz} Hz at {ppm} ppm: {impurity} dB");
    }
}

/// What an hour with a sender whose clock is off looks like.
struct Hour {
    /// Halves that were not received, after the first two minutes.
    missing: u32,
    /// Playouts that did not follow the one before, likewise.
    slips: u32,
    worst_held_us: i64,
    late: u32,
}

fn hour(ppm: i64, jitter_us: u64) -> Hour {
    let mut random = crate::base::Random::seeded(3);
    let start = Instant::now();
    let (mut jitter, mut pace) = (JitterBuffer::new(start), Pace::new(160));
    let mut hour = Hour { missing: 0, slips: 0, worst_held_us: 0, late: 0 };
    let (mut sent, mut next) = (0u32, None::<u32>);
    let sent_at = |n: u32| (i64::from(n) * 20_000 + i64::from(n) * 20_000 / 1_000 * ppm / 1_000) as u64;
    let mut delay = random.below(jitter_us.max(1));
    for turn in 0..180_000u32 {
        let now_us = 6_000 + u64::from(turn) * 20_000;
        let now = start + Duration::from_micros(now_us);
        while sent_at(sent) + delay <= now_us {
            let arrival = start + Duration::from_micros(sent_at(sent) + delay);
            let insertion = jitter.insert(arrival, sent as u16, sent.wrapping_mul(160), &[7; 160]);
            hour.late += u32::from(insertion == crate::rtp::jitter::Insertion::Late);
            sent += 1;
            delay = random.below(jitter_us.max(1));
        }
        let drift = jitter.drift_ppm();
        if !pace.is_following() && drift.is_some_and(|ppm| ppm.abs() >= WORTH_PPM) {
            pace.follow();
        }
        let mut pulls = 0;
        while if pace.is_following() { pace.wants_more() } else { pulls == 0 } {
            pulls += 1;
            if pace.is_following() {
                jitter.follow_clock(pace.held_us());
            }
            let playout = jitter.pull(now, false);
            if turn > 6_000 {
                hour.missing += playout.halves.iter().filter(|half| !matches!(half, Source::Audio)).count() as u32;
                hour.slips += u32::from(next.is_some_and(|next| next != playout.timestamp));
            }
            next = Some(playout.timestamp.wrapping_add(160));
            if pace.is_following() {
                pace.push(&[0; 160]);
            }
        }
        if pace.is_following() {
            jitter.follow_clock(pace.held_us());
            pace.steer(drift.unwrap_or(0.0), jitter.late_by_us(now));
            pace.play(&mut [0; 160]);
            if turn > 6_000 {
                let waiting = i64::from(sent) * 20_000 - i64::from(next.unwrap_or(0) / 160) * 20_000 + pace.held_us();
                hour.worst_held_us = hour.worst_held_us.max(waiting);
            }
        }
    }
    hour
}

#[test]
fn an_hour_of_drifting_clocks_neither_slips_nor_grows() {
    for ppm in [-200, 200, -60, 60] {
        let hour = hour(ppm, 2_000);
        println!(
            "{ppm} ppm: {} halves missing, {} slips, {} late, at most {} ms waiting",
            hour.missing,
            hour.slips,
            hour.late,
            hour.worst_held_us / 1_000
        );
        assert_eq!((hour.missing, hour.slips, hour.late), (0, 0, 0), "{ppm} ppm");
        assert!(hour.worst_held_us <= 50_000, "{ppm} ppm: {}", hour.worst_held_us);
    }
}

#[test]
fn a_sender_whose_clock_agrees_is_passed_by() {
    let hour = hour(0, 2_000);
    assert_eq!((hour.missing, hour.worst_held_us), (0, 0));
}
