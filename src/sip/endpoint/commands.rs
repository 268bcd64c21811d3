//! What the application tells the endpoint to do with legs; calls begin in `calling` and `answering`.

use super::leg::{Leg, Phase, Purpose};
use super::transactions::{Identity, Owner};
use super::{CommandError, Endpoint};
use crate::sip::config::{OutgoingOptions, Target};
use crate::sip::dialog::Dialog;
use crate::sip::event::{EndCause, LegId, ProbeId};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::{Headers, Method, Request};
use std::time::Instant;

impl Endpoint {
    /// Ends the leg in whatever state it is: CANCEL, 603, or BYE with these header fields (`Reason` and the like).
    /// `Ended` comes at once; the endpoint finishes the protocol behind it.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::InvalidHeader`].
    pub fn hangup(&mut self, now: Instant, leg: LegId, headers: &[(&str, &str)]) -> Result<(), CommandError> {
        self.live_leg(leg)?;
        let mut scratch = Headers::default();
        for (name, value) in headers {
            scratch.push_spelled(name, value).map_err(|_| CommandError::InvalidHeader)?;
        }
        self.hang_up(now, leg, EndCause::Local, headers);
        Ok(())
    }

    /// Ends every leg, as [`Self::hangup`] does one.
    pub fn hang_up_all(&mut self, now: Instant) {
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        for leg in legs {
            // Those that are over need no hang-up.
            let _ = self.hangup(now, leg, &[]);
        }
    }

    /// What Replaces says for this leg's dialog when its peer is to be called by someone else in our stead:
    /// `call-id;to-tag=…;from-tag=…` as that peer sees them (RFC 3891 §6.1). For the attended REFER to another leg, or for
    /// [`OutgoingInvite::replaces`](crate::sip::config::OutgoingInvite::replaces). `None` unless the leg is up.
    #[must_use]
    pub fn replaces_value(&self, leg: LegId) -> Option<String> {
        let dialog = &self.legs.get(&leg).filter(|leg| leg.is_up())?.dialog;
        Some(format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.remote_tag, dialog.local_tag))
    }

    /// Sends an INFO request within an established leg. Its response is not reported.
    ///
    /// # Errors
    /// [`CommandError::UnknownLeg`], [`CommandError::WrongState`], [`CommandError::InvalidHeader`],
    /// [`CommandError::Full`].
    pub fn info(&mut self, now: Instant, leg: LegId, content_type: &str, body: Vec<u8>) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        if !state.is_up() {
            return Err(CommandError::WrongState);
        }
        let content_type = HeaderValue::try_from(content_type).map_err(|_| CommandError::InvalidHeader)?;
        let info = state.dialog.request(Method::Info).with_body(content_type, body);
        self.send_in_dialog(now, leg, info, Purpose::Info)
    }

    /// Asks a peer whether it is there (OPTIONS outside a dialog). [`crate::sip::Event::ProbeFinished`] follows.
    ///
    /// # Errors
    /// [`CommandError::Full`], [`CommandError::NoLocalAddress`].
    pub fn options(&mut self, now: Instant, options: OutgoingOptions) -> Result<ProbeId, CommandError> {
        let Target { transport, remote } = options.target;
        let path = self.path_to(transport, remote).ok_or(CommandError::NoLocalAddress)?;
        let tag = self.random.hex(16);
        let dialog = Dialog {
            call_id: self.random.hex(32).into(),
            local_party: HeaderValue::name_addr(
                options.from.display.as_deref(),
                &options.from.uri,
                &[("tag", Some(&tag))],
            ),
            local_tag: tag.into(),
            remote_party: HeaderValue::name_addr(None, &options.uri.to_request_uri(), &[]),
            remote_tag: "".into(),
            local_cseq: 0,
            remote_cseq: None,
            route_set: Vec::new(),
            remote_target: options.uri,
            contact: self.contact_value(&self.config.contact_user, path),
            path,
            owns_call_id: true,
        };
        let mut request = { dialog }.request(Method::Options);
        request.headers.push(HeaderName::Accept, HeaderValue::cleaned("application/sdp"));
        if let Some(agent) = &self.config.user_agent {
            request.headers.push(HeaderName::UserAgent, HeaderValue::cleaned(agent));
        }
        let id = ProbeId(self.next_id());
        let identity = options.account.map(|account| Identity { account, peer: remote });
        self.start_client(now, request, path, Owner::Probe(id), identity)?;
        Ok(id)
    }

    pub(super) fn live_leg(&mut self, leg: LegId) -> Result<&mut Leg, CommandError> {
        self.legs.get_mut(&leg).filter(|leg| leg.phase != Phase::Over).ok_or(CommandError::UnknownLeg)
    }

    pub(super) fn send_in_dialog(
        &mut self,
        now: Instant,
        leg: LegId,
        request: Request,
        purpose: Purpose,
    ) -> Result<(), CommandError> {
        let state = self.live_leg(leg)?;
        let (path, identity) = (state.dialog.path, state.identity.clone());
        let transaction = self.start_client(now, request, path, Owner::Leg(leg, purpose), identity)?;
        if let Some(state) = self.legs.get_mut(&leg) {
            state.open.push(transaction);
        }
        Ok(())
    }
}
