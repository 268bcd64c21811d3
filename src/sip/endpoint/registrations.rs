//! Registrations as the endpoint runs them: commands, and what the machine of each asks for.

use super::transactions::{Identity, Owner};
use super::{CommandError, Endpoint, Wake};
use crate::sip::config::{RegistrationConfig, Target};
use crate::sip::event::{Event, RegistrationId, RegistrationState};
use crate::sip::registration::{Reaction, Registration};
use std::time::Instant;

impl Endpoint {
    /// Registers and keeps registered until [`Self::unregister`].
    ///
    /// # Errors
    /// [`CommandError::NoLocalAddress`], [`CommandError::NoTarget`].
    pub fn register(&mut self, now: Instant, config: RegistrationConfig) -> Result<RegistrationId, CommandError> {
        let target = *config.targets.first().ok_or(CommandError::NoTarget)?;
        let path = self.path_to(target.transport, target.remote).ok_or(CommandError::NoLocalAddress)?;
        let id = RegistrationId(self.next_id());
        let registration = Registration::new(id, config, path, &mut self.random);
        self.trust.add(path.remote.ip());
        self.registrations.insert(id, registration);
        let first = Reaction { send: true, state: Some(RegistrationState::Registering) };
        self.react(now, id, Some(first));
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
        let reaction = state.retarget(now, targets);
        self.react(now, registration, Some(reaction));
        Ok(())
    }

    /// Does what a registration asked for.
    pub(super) fn react(&mut self, now: Instant, id: RegistrationId, reaction: Option<Reaction>) {
        let Some(reaction) = reaction else { return };
        if let Some(state) = reaction.state {
            self.events.push_back(Event::RegistrationChanged { registration: id, state });
        }
        if reaction.send
            && let Some(registration) = self.registrations.get_mut(&id)
        {
            let request = registration.request();
            let path = registration.path();
            let identity = Identity { account: registration.config().account.clone(), peer: registration.remote() };
            if self.start_client(now, request, path, Owner::Registration(id), Some(identity)).is_err() {
                let failed = self.registrations.get_mut(&id).map(|r| r.handle_failure(now, &mut self.random));
                if let Some(state) = failed.and_then(|reaction| reaction.state) {
                    self.events.push_back(Event::RegistrationChanged { registration: id, state });
                }
            }
        }
        self.settle_registration(id);
    }

    /// Fires the timer of a registration.
    pub(super) fn fire_registration(&mut self, now: Instant, id: RegistrationId) {
        let reaction = self.registrations.get_mut(&id).map(|r| r.handle_timeout(now));
        self.react(now, id, reaction);
    }

    /// Brings the wake-up of a registration up to date, or forgets it when it was taken back.
    pub(super) fn settle_registration(&mut self, id: RegistrationId) {
        let Some(registration) = self.registrations.get(&id) else { return };
        let (next, finished) = (registration.poll_timeout(), registration.is_finished());
        let remote = registration.remote().ip();
        let previous = self.registration_wakes.get(&id).copied();
        self.reschedule(Wake::Registration(id), previous, next);
        match next {
            Some(at) => self.registration_wakes.insert(id, at),
            None => self.registration_wakes.remove(&id),
        };
        if finished {
            self.registrations.remove(&id);
            self.trust.remove(remote);
        }
    }

    /// Our local addresses changed: registrations that now take another way register again.
    pub(super) fn refresh_registration_paths(&mut self, now: Instant) {
        let mut ids: Vec<RegistrationId> = self.registrations.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(registration) = self.registrations.get(&id) else { continue };
            let Some(path) = self.path_to(registration.path().transport, registration.remote()) else { continue };
            let reaction = self.registrations.get_mut(&id).map(|r| r.repath(now, path));
            self.react(now, id, reaction);
        }
    }
}
