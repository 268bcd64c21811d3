//! How the lines of a call sound: its figures in events, in the record and in `offhook status`.

use super::line::Line;
use crate::base::SrtpSuite;
use crate::media::{LegMeter, LegStats};
use crate::sdp::Codec;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the quality of a call's lines is told.
pub(super) const QUALITY_INTERVAL: Duration = Duration::from_secs(10);
/// The caller's line, or the callee's of a call of ours.
pub(super) const NEAR: &str = "near";
/// The line that the call was handed to.
pub(super) const FAR: &str = "far";

/// How the audio of one line is carried, and what was measured of it so far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LineQuality {
    /// The codec; `None` before offer and answer are complete.
    pub codec: Option<Codec>,
    /// How it is encrypted; `None` in clear.
    pub suite: Option<SrtpSuite>,
    /// The counters of the leg.
    pub stats: LegStats,
}

impl LineQuality {
    /// Codec, encryption and the figures that tell how a line sounds, in milliseconds and shares of one.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { codec, suite, stats } = self;
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        json!({
            "codec": codec.map(Codec::encoding_name),
            "srtp": suite.map(SrtpSuite::name),
            "mos": rounded(f64::from(stats.mos)),
            "loss": rounded(share(stats.lost, stats.lost + stats.received)),
            "far_loss": rounded(f64::from(stats.far_loss)),
            "jitter_ms": ms(stats.jitter),
            "delay_ms": ms(stats.delay),
            "round_trip_ms": ms(stats.round_trip),
            "late": stats.late,
            "concealed_ms": ms(stats.concealed),
            "srtp_failures": stats.srtp_failures,
        })
    }
}

/// What offer and answer agreed on a line, readable from anywhere while the call drives it.
pub(super) type Carriage = Arc<Mutex<(Option<Codec>, Option<SrtpSuite>)>>;

/// Reads the quality of a line whose call runs elsewhere.
#[derive(Clone)]
pub(super) struct LineMeter {
    carriage: Carriage,
    meter: LegMeter,
}

impl LineMeter {
    pub(super) fn of(line: &Line) -> Self {
        Self { carriage: line.carriage(), meter: line.media.meter() }
    }

    pub(super) fn read(&self) -> LineQuality {
        let (codec, suite) = *self.carriage.lock().unwrap_or_else(PoisonError::into_inner);
        LineQuality { codec, suite, stats: self.meter.stats() }
    }
}

/// Names of a leg's figures in the record of a call.
const NEAR_FIGURES: [&str; 12] = [
    "sent",
    "received",
    "lost",
    "late",
    "rejected",
    "starved_frames",
    "uplink_dropped",
    "srtp_failures",
    "jitter_us",
    "round_trip_us",
    "far_loss_permille",
    "mos_hundredths",
];
/// The same of the leg that the call was handed to.
const FAR_FIGURES: [&str; 12] = [
    "far_sent",
    "far_received",
    "far_lost",
    "far_late",
    "far_rejected",
    "far_starved_frames",
    "far_uplink_dropped",
    "far_srtp_failures",
    "far_jitter_us",
    "far_round_trip_us",
    "far_far_loss_permille",
    "far_mos_hundredths",
];

/// Figures of the caller's leg for the record of a call.
pub(super) fn near_figures(stats: &LegStats) -> Vec<(&'static str, u64)> {
    figures(stats, &NEAR_FIGURES)
}

/// Figures of the leg that the call was handed to.
pub(super) fn far_figures(stats: &LegStats) -> Vec<(&'static str, u64)> {
    figures(stats, &FAR_FIGURES)
}

fn figures(stats: &LegStats, names: &[&'static str; 12]) -> Vec<(&'static str, u64)> {
    let LegStats { sent, received, lost, late, rejected, starved, uplink_dropped, srtp_failures, .. } = *stats;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let values = [
        sent,
        received,
        lost,
        late,
        rejected,
        starved,
        uplink_dropped,
        srtp_failures,
        micros(stats.jitter),
        micros(stats.round_trip),
        (stats.far_loss * 1_000.0) as u64,
        (stats.mos * 100.0).round() as u64,
    ];
    names.iter().copied().zip(values).collect()
}
