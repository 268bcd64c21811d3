//! Registrations as the endpoint runs them: commands, and what the machine of each asks for.

use super::transactions::{Identity, Owner, TransactionId};
use super::{CommandError, Endpoint, Wake};
use crate::sip::config::{OutgoingInvite, RegistrationConfig, Target, Transport};
use crate::sip::dialog::Path;
use crate::sip::event::{Event, RegistrationId, RegistrationState};
use crate::sip::header::{HeaderName, HeaderValue};
use crate::sip::registration::{Failure, Reaction, Registration};
use crate::sip::transaction::Tell;
use crate::sip::{Message, Uri};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Registrations that may start at once. A PBX that gets more takes them for a flood, and so do its guards.
const START_BURST: u32 = 50;
/// Time between the starts of further ones: a thousand take 20 s.
const START_INTERVAL: Duration = Duration::from_millis(20);
/// Registrations whose stream broke come back within this time, not all at one moment (RFC 5626 §4.5).
const STREAM_LOST_JITTER_MS: u64 = 2_000;

/// Spreads the starts of registrations.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next start would come if all came evenly.
    next: Option<Instant>,
}

impl Pace {
    /// When a registration may start.
    fn slot(&mut self, now: Instant) -> Instant {
        let even = self.next.map_or(now, |next| next.max(now));
        self.next = Some(even + START_INTERVAL);
        even.checked_sub(START_INTERVAL * START_BURST).map_or(now, |slot| slot.max(now))
    }
}

/// What the endpoint keeps for a registration besides its machine.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// When its machine wants to be called.
    wake: Option<Instant>,
    /// Its REGISTER under way.
    request: Option<TransactionId>,
}

/// The upkeep of all registrations.
pub(super) type Upkeeps = HashMap<RegistrationId, Upkeep>;

impl Endpoint {
    /// Registers and keeps registered until [`Self::unregister`]. Many at once start one after another, 50 a second.
    ///
    /// # Errors
    /// [`CommandError::NoLocalAddress`], [`CommandError::NoTarget`].
    pub fn register(&mut self, now: Instant, config: RegistrationConfig) -> Result<RegistrationId, CommandError> {
        let target = *config.targets.first().ok_or(CommandError::NoTarget)?;
        let path = self.path_to(target.transport, target.remote).ok_or(CommandError::NoLocalAddress)?;
        let id = RegistrationId(self.next_id());
        let registration = Registration::new(id, config, path, &mut self.random).ok_or(CommandError::NoTarget)?;
        for address in registration.addresses() {
            self.trust.add(address);
        }
        self.registrations.insert(id, registration);
        self.events.push_back(Event::RegistrationChanged { registration: id, state: RegistrationState::Registering });
        self.start_paced(now, id);
        Ok(id)
    }

    /// Takes a registration back. `RegistrationState::Unregistered` follows when the registrar has said so, or
    /// after 5 s without an answer.
    ///
    /// # Errors
    /// [`CommandError::UnknownRegistration`].
    pub fn unregister(&mut self, now: Instant, registration: RegistrationId) -> Result<(), CommandError> {
        let reaction = self
            .registrations
            .get_mut(&registration)
            .map(|r| r.unregister(now))
            .ok_or(CommandError::UnknownRegistration)?;
        self.react(now, registration, Some(reaction));
        Ok(())
    }

    /// Registers again at once, whatever the registration waits for: the network is back, or a person asks.
    ///
    /// # Errors
    /// [`CommandError::UnknownRegistration`].
    pub fn reregister(&mut self, now: Instant, registration: RegistrationId) -> Result<(), CommandError> {
        let reaction = self
            .registrations
            .get_mut(&registration)
            .map(|r| r.reregister(now))
            .ok_or(CommandError::UnknownRegistration)?;
        self.react(now, registration, Some(reaction));
        Ok(())
    }

    /// Replaces the targets of a registration: fresh DNS answers. The binding moves at once when the target in use is
    /// no longer among them, and otherwise with the next refresh.
    ///
    /// # Errors
    /// [`CommandError::UnknownRegistration`]; [`CommandError::NoTarget`] for an empty list, which changes nothing;
    /// [`CommandError::NoLocalAddress`].
    pub fn retarget(
        &mut self,
        now: Instant,
        registration: RegistrationId,
        targets: Vec<Target>,
    ) -> Result<(), CommandError> {
        let first = *targets.first().ok_or(CommandError::NoTarget)?;
        self.path_to(first.transport, first.remote).ok_or(CommandError::NoLocalAddress)?;
        let state = self.registrations.get_mut(&registration).ok_or(CommandError::UnknownRegistration)?;
        let before: Vec<IpAddr> = state.addresses().collect();
        let reaction = state.retarget(now, targets);
        let after: Vec<IpAddr> = state.addresses().collect();
        after.into_iter().for_each(|address| self.trust.add(address));
        before.into_iter().for_each(|address| self.trust.remove(address));
        self.react(now, registration, Some(reaction));
        Ok(())
    }

    /// Sends the REGISTER of a registration in its turn.
    fn start_paced(&mut self, now: Instant, id: RegistrationId) {
        let slot = self.pace.slot(now);
        if slot <= now {
            return self.react(now, id, Some(Reaction { send: true, state: None }));
        }
        if let Some(registration) = self.registrations.get_mut(&id) {
            registration.postpone(slot);
        }
        self.settle_registration(id);
    }

    /// Does what a registration asked for.
    fn react(&mut self, now: Instant, id: RegistrationId, reaction: Option<Reaction>) {
        let mut next = reaction;
        // A target that cannot even be sent to makes room for the next; after the last one there is a wait.
        while let Some(reaction) = next.take() {
            if let Some(state) = reaction.state {
                self.events.push_back(Event::RegistrationChanged { registration: id, state });
            }
            if reaction.send
                && let Err(failure) = self.send_register(now, id)
            {
                next = self.registrations.get_mut(&id).map(|r| r.handle_failure(now, failure, &mut self.random));
            }
        }
        self.settle_registration(id);
    }

    fn send_register(&mut self, now: Instant, id: RegistrationId) -> Result<(), Failure> {
        if let Some(overtaken) = self.upkeeps.get_mut(&id).and_then(|upkeep| upkeep.request.take()) {
            if self.registrations.get(&id).is_some_and(Registration::was_silent) {
                self.note_silence(overtaken);
            }
            self.abandon(now, overtaken);
        }
        let Some(target) = self.registrations.get(&id).map(Registration::target) else { return Ok(()) };
        let path = self.path_to(target.transport, target.remote).ok_or(Failure::NoLocalAddress)?;
        let Some(registration) = self.registrations.get_mut(&id) else { return Ok(()) };
        registration.set_path(path);
        let mut request = registration.request(now, &mut self.random);
        let path = registration.path();
        let identity = Identity { account: registration.config().account.clone(), peer: path.remote };
        if let Some(agent) = &self.config.user_agent {
            request.headers.push(HeaderName::UserAgent, HeaderValue::cleaned(agent));
        }
        let owner = Owner::Registration(id);
        let started = self.start_client(now, request, path, owner, Some(identity)).map_err(|_| Failure::Full)?;
        self.upkeeps.entry(id).or_default().request = Some(started);
        Ok(())
    }

    /// The REGISTER of a registration goes on in another transaction, with credentials.
    pub(super) fn replace_register(&mut self, id: RegistrationId, request: TransactionId) {
        self.upkeeps.entry(id).or_default().request = Some(request);
    }

    /// A provisional response to a REGISTER.
    pub(super) fn handle_register_progress(&mut self, id: RegistrationId) {
        if let Some(registration) = self.registrations.get_mut(&id) {
            registration.note_progress();
        }
        self.settle_registration(id);
    }

    /// The final response to a REGISTER.
    pub(super) fn handle_register_response(&mut self, now: Instant, id: RegistrationId, response: &Message<'_>) {
        if let Some(upkeep) = self.upkeeps.get_mut(&id) {
            upkeep.request = None;
        }
        let reaction = self.registrations.get_mut(&id).map(|r| r.handle_response(now, response, &mut self.random));
        self.react(now, id, reaction);
    }

    /// A REGISTER ended without a final response.
    pub(super) fn handle_register_failure(&mut self, now: Instant, id: RegistrationId, tell: Tell) {
        if let Some(upkeep) = self.upkeeps.get_mut(&id) {
            upkeep.request = None;
        }
        let failure = match tell {
            Tell::TransportFailed => Failure::Unreachable,
            Tell::Response | Tell::TimedOut => Failure::NoAnswer,
        };
        // What has been given up already fails once.
        let waiting = self.registrations.get_mut(&id).filter(|registration| registration.is_waiting());
        let reaction = waiting.map(|r| r.handle_failure(now, failure, &mut self.random));
        self.react(now, id, reaction);
    }

    /// Fires the timer of a registration.
    pub(super) fn fire_registration(&mut self, now: Instant, id: RegistrationId) {
        let reaction = self.registrations.get_mut(&id).map(|r| r.handle_timeout(now, &mut self.random));
        self.react(now, id, reaction);
    }

    /// Brings the wake-up of a registration up to date, or forgets it when it was taken back.
    fn settle_registration(&mut self, id: RegistrationId) {
        let Some(registration) = self.registrations.get(&id) else { return };
        let (next, is_finished) = (registration.poll_timeout(), registration.is_finished());
        let previous = std::mem::replace(&mut self.upkeeps.entry(id).or_default().wake, next);
        self.reschedule(Wake::Registration(id), previous, next);
        if is_finished && let Some(registration) = self.registrations.remove(&id) {
            self.upkeeps.remove(&id);
            for address in registration.addresses() {
                self.trust.remove(address);
            }
        }
    }

    /// A stream broke: registrations that lived on it come back within two seconds.
    pub(super) fn lose_stream(&mut self, now: Instant, transport: Transport, remote: SocketAddr) {
        if !transport.is_reliable() {
            return;
        }
        for id in self.registrations_where(|r| r.path().transport == transport && r.remote() == remote) {
            let jitter = Duration::from_millis(self.random.below(STREAM_LOST_JITTER_MS));
            let at = self.pace.slot(now) + jitter;
            let reaction = self.registrations.get_mut(&id).map(|r| r.handle_stream_lost(now, at, &mut self.random));
            self.react(now, id, reaction);
        }
    }

    /// Our local addresses changed: registrations that now take another way register again.
    pub(super) fn refresh_registration_paths(&mut self, now: Instant) {
        for id in self.registrations_where(|_| true) {
            let Some(registration) = self.registrations.get(&id) else { continue };
            let path = registration.path();
            let fresh = self.path_to(path.transport, path.remote);
            if fresh.is_some_and(|fresh| fresh != path) {
                self.start_paced(now, id);
            }
        }
    }

    /// The Route set of a call: its own, or else the Service-Route of the registration whose contact it uses there.
    pub(super) fn route_of(&self, call: &OutgoingInvite, path: Path) -> Vec<Uri> {
        if !call.route.is_empty() {
            return call.route.clone();
        }
        let user = call.contact_user.as_deref();
        let is_meant =
            |r: &&Registration| user == Some(r.config().contact_user.as_str()) && r.has_address(path.remote.ip());
        self.registrations.values().find(is_meant).map_or_else(Vec::new, |r| r.service_route().to_vec())
    }

    /// In the order in which they were made.
    fn registrations_where(&self, is_meant: impl Fn(&Registration) -> bool) -> Vec<RegistrationId> {
        let mut ids: Vec<RegistrationId> =
            self.registrations.values().filter(|r| is_meant(r)).map(Registration::id).collect();
        ids.sort_unstable();
        ids
    }
}
