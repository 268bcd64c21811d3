//! RTCP: reads what came to its port, sends a report.

use super::{Engine, Turn};
use crate::media::leg_media::LegMedia;
use crate::media::mouth::Mouth;
use crate::media::protection::Protection;
use crate::media::setup::Setup;
use crate::rtp::rtcp::MAX_REPORT;
use crate::rtp::srtp::MAX_RTCP_OVERHEAD;
use std::net::SocketAddr;

/// Octets of the buffer for a report, with the tag of SRTCP.
const REPORT: usize = MAX_REPORT + MAX_RTCP_OVERHEAD;

impl Engine {
    /// RTCP, every five seconds: reads what came to its port, sends a report.
    pub(super) fn control(
        &mut self,
        turn: &mut Turn<'_>,
        media: &LegMedia,
        mouth: &mut Mouth,
        protection: &mut Protection,
    ) {
        let due = *self.report_due.get_or_insert_with(|| {
            // Legs that were opened together do not report together.
            turn.now + self.settings.rtcp_interval.mul_f64(0.2 + f64::from(self.sender.session.ssrc() % 800) / 1_000.0)
        });
        if turn.now < due {
            return;
        }
        self.report_due = Some(turn.now + self.settings.rtcp_interval);
        turn.datagrams.receive(&self.rtcp);
        for (octets, from, at) in turn.datagrams.iter_mut() {
            // They have waited here for up to an interval.
            let age = at.and_then(|at| turn.wall.duration_since(at).ok()).unwrap_or_default();
            let arrived = turn.now.checked_sub(age).unwrap_or(turn.now);
            let ours = self.sender.session.ssrc();
            match protection.open_rtcp(octets.unwrap_or_default()) {
                Some(octets) => self.receiver.rtcp(arrived, turn.wall - age, from, octets, ours),
                None => self.srtp_failures += 1,
            }
        }
        if let Some(lost) = self.receiver.far_loss {
            mouth.set_expected_loss((u32::from(lost) * 100 / 256) as u8);
        }
        self.report_to_peer(turn, media, protection, false);
    }

    /// The last report, with a goodbye (RFC 3550 §6.6), where anything was sent at all.
    pub(super) fn leave(&mut self, turn: &Turn<'_>, setup: &mut Setup) {
        if self.sent > 0 {
            self.report_to_peer(turn, &setup.media, &mut setup.protection, true);
        }
    }

    fn report_to_peer(&mut self, turn: &Turn<'_>, media: &LegMedia, protection: &mut Protection, is_last: bool) {
        let Some(rtp) = self.receiver.destination() else { return };
        let mut report = self.receiver.report(turn.now, turn.wall, &self.sender.session);
        if is_last {
            report = report.with_goodbye();
        }
        let mut packet = [0; REPORT];
        for (slot, octet) in packet.iter_mut().zip(report.octets()) {
            *slot = *octet;
        }
        let Some(octets) =
            protection.protect_rtcp(&mut packet, report.octets().len()).and_then(|len| packet.get(..len))
        else {
            return;
        };
        // Reports follow the audio: never to another IP.
        let sent = if media.rtcp == media.remote {
            self.socket.send_to(octets, rtp)
        } else if media.rtcp.ip() == rtp.ip() {
            self.rtcp.send_to(octets, media.rtcp)
        } else {
            self.rtcp.send_to(octets, SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)))
        };
        self.send_errors += u64::from(sent.is_err());
    }
}
