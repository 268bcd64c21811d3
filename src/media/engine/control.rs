//! RTCP: reads what came to its port, sends a report.

use super::{Engine, Turn};
use crate::media::leg_media::LegMedia;
use crate::media::mouth::Mouth;
use std::net::SocketAddr;

impl Engine {
    /// RTCP, every five seconds: reads what came to its port, sends a report.
    pub(super) fn control(&mut self, turn: &mut Turn<'_>, media: &LegMedia, mouth: &mut Mouth) {
        let due = *self.report_due.get_or_insert_with(|| {
            // Legs that were opened together do not report together.
            turn.now + self.settings.rtcp_interval.mul_f64(0.2 + f64::from(self.sender.session.ssrc() % 800) / 1_000.0)
        });
        if turn.now < due {
            return;
        }
        self.report_due = Some(turn.now + self.settings.rtcp_interval);
        turn.datagrams.receive(&self.rtcp);
        for (octets, from, at) in turn.datagrams.iter() {
            // They have waited here for up to an interval.
            let age = at.and_then(|at| turn.wall.duration_since(at).ok()).unwrap_or_default();
            let arrived = turn.now.checked_sub(age).unwrap_or(turn.now);
            let ours = self.sender.session.ssrc();
            self.receiver.rtcp(arrived, turn.wall - age, from, octets.unwrap_or_default(), ours);
        }
        if let Some(lost) = self.receiver.far_loss {
            mouth.set_expected_loss((u32::from(lost) * 100 / 256) as u8);
        }
        let Some(rtp) = self.receiver.destination() else { return };
        let report = self.receiver.report(turn.now, turn.wall, &self.sender.session);
        // Reports follow the audio: never to another IP.
        let sent = if media.rtcp == media.remote {
            self.socket.send_to(report.octets(), rtp)
        } else if media.rtcp.ip() == rtp.ip() {
            self.rtcp.send_to(report.octets(), media.rtcp)
        } else {
            self.rtcp.send_to(report.octets(), SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)))
        };
        self.send_errors += u64::from(sent.is_err());
    }
}
