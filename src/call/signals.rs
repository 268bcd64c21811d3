//! What comes from the SIP leg of a line.

use crate::net::{LegEvents, NetError, Sip};
use crate::sip::{Event, LegId, OutgoingInvite};
use std::net::IpAddr;
use tokio::task::JoinHandle;

/// The events of a leg, or of the leg that takes its place when the peer refuses an encrypted offer.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) sip: Sip,
    pub(super) leg: LegId,
    events: LegEvents,
    /// Taken from the events and not given out yet.
    pending: Option<Event>,
    /// Where the peer's messages come from.
    pub(super) from: IpAddr,
    /// The call may fail over to another address (RFC 3263 §4.3) until somebody says something about it.
    pub(super) may_move: bool,
    /// The INVITE, to be sent once more without encryption, where that is allowed.
    pub(super) spare: Option<Box<OutgoingInvite>>,
    /// That INVITE on its way.
    again: Option<JoinHandle<Result<Placed, NetError>>>,
}

impl Signals {
    pub(super) fn new(sip: &Sip, leg: LegId, events: LegEvents, from: IpAddr) -> Self {
        Self { sip: sip.clone(), leg, events, pending: None, from, may_move: false, spare: None, again: None }
    }

    /// The next event; `None` when the network side has stopped. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if let Some(again) = &mut self.again {
            let placed = again.await;
            self.again = None;
            let mut placed = placed.ok()?.ok()?;
            self.leg = placed.leg;
            self.events = placed.events.take()?;
        }
        if self.pending.is_none() {
            self.pending = Some(self.events.recv().await?);
        }
        let is_an_answer = matches!(self.pending, Some(Event::Progress { .. } | Event::Answered { .. }));
        if self.may_move && is_an_answer {
            let leg = self.leg;
            let address = self.sip.run(move |endpoint, _| endpoint.peer_address(leg)).await.ok()?;
            self.from = address.map_or(self.from, |address| address.ip());
            self.may_move = !matches!(self.pending, Some(Event::Answered { .. }));
        }
        if matches!(self.pending, Some(Event::Answered { .. })) {
            self.spare = None;
        }
        self.pending.take()
    }

    /// Sends the INVITE once more with another offer; false when it is not there.
    pub(super) fn call_again(&mut self, offer: Vec<u8>) -> bool {
        let Some(mut invite) = self.spare.take() else { return false };
        invite.sdp = offer;
        let sip = self.sip.clone();
        self.again = Some(tokio::spawn(async move {
            let (leg, events) = sip.invite(*invite).await?;
            Ok(Placed { sip, leg, events: Some(events) })
        }));
        true
    }
}

/// A leg that nobody holds yet: dropping it hangs up.
#[derive(Debug)]
struct Placed {
    sip: Sip,
    leg: LegId,
    events: Option<LegEvents>,
}

impl Drop for Placed {
    fn drop(&mut self) {
        let leg = self.leg;
        if self.events.is_some() {
            self.sip.post(move |endpoint, now| {
                // It may have ended already.
                let _ = endpoint.hangup(now, leg, &[]);
            });
        }
    }
}
