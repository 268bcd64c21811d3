//! Settings of the media workers.

use super::Admission;
use crate::audio::VadMode;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Settings of [`super::Workers`]. Build it with `MediaConfig { …, ..MediaConfig::default() }`.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Local address of the RTP sockets; unspecified listens on every interface.
    pub bind_ip: IpAddr,
    /// RTP takes random even ports of this range, RTCP the odd port above. At least 2 ports; fewer than
    /// 16,384 makes guessing easier (`security`: RTP bleed).
    pub ports: RangeInclusive<u16>,
    /// Worker threads; 0 means half the cores, at least one.
    pub workers: usize,
    /// A closed port is not given to another call for this long, so that late packets of the old call find
    /// nobody. At least 5 s in production.
    pub quarantine: Duration,
    /// [`super::LegEvent::MediaTimeout`] after this long without a packet while audio is expected.
    pub media_timeout: Duration,
    /// Between two RTCP reports of a leg (RFC 3550 §6.2: 5 s).
    pub rtcp_interval: Duration,
    /// The voice detector of agent legs.
    pub vad: VadMode,
    /// When the workers are too late to take further calls.
    pub admission: Admission,
    /// Ask the system for a higher thread priority. What was got is in [`super::WorkerStats::priority`].
    pub raise_priority: bool,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            bind_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: 16_384..=49_151,
            workers: 0,
            quarantine: Duration::from_secs(5),
            media_timeout: Duration::from_secs(30),
            rtcp_interval: crate::rtp::rtcp::INTERVAL,
            vad: VadMode::default(),
            admission: Admission::default(),
            raise_priority: true,
        }
    }
}
