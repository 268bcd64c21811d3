//! Connections of a session: the first, those that replace a broken one, those that replace one whose time is up.

use super::{Phase, Session, Wish};
use crate::base::Pii;
use crate::providers::ProviderError;
use crate::providers::realtime::RealtimeEvent;
use crate::providers::realtime::protocol::Start;
use crate::providers::wire::Outbox;
use std::collections::VecDeque;
use std::time::Duration;

/// Wait before the second try to reconnect; doubles with each. The first comes at once.
const RETRY: Duration = Duration::from_millis(100);
/// Connections that may break within [`BREAKS_WITHIN`]; one more and the session has failed.
const BREAKS_MAX: usize = 3;
/// See [`BREAKS_MAX`].
const BREAKS_WITHIN: Duration = Duration::from_secs(60);
/// How much earlier than the vendor says a connection is exchanged.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a quiet moment is waited for, where the vendor gives no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of the connections so far.
#[derive(Default)]
pub(super) struct Course {
    /// The session was set up once.
    was_ready: bool,
    /// Tries since the last break.
    tries: u32,
    /// When trying again ends.
    give_up_at: Option<Duration>,
    breaks: VecDeque<Duration>,
    /// The vendor's memory of the session.
    pub(super) handle: Option<String>,
    used_handle: bool,
    /// A quiet moment is waited for, to change the connection; at the latest then.
    change_by: Option<Duration>,
}

impl Course {
    /// The connection serves: what broke before is forgiven.
    pub(super) fn proven(&mut self, now: Duration) {
        while self.breaks.front().is_some_and(|at| *at + BREAKS_WITHIN <= now) {
            self.breaks.pop_front();
        }
    }

    /// A fresh connection is needed at the next quiet moment.
    pub(super) fn wants_change(&mut self, now: Duration) {
        self.change_by.get_or_insert(now + PATIENCE);
    }
}

impl Session {
    /// Begins to connect.
    pub(super) fn connect(&mut self, now: Duration) {
        let until = self.connection.give_up_at.unwrap_or(now + self.deadlines.connect);
        self.protocol = None;
        match self.vendor.before(&self.request) {
            Some(request) => {
                self.phase = Phase::Fetching { until };
                self.wishes.push_back(Wish::Fetch(request));
            }
            None => self.begin_until(now, until, None),
        }
    }

    pub(super) fn begin(&mut self, now: Duration, before: Option<&[u8]>) {
        let Phase::Fetching { until } = self.phase else { return };
        self.begin_until(now, until, before);
    }

    fn begin_until(&mut self, now: Duration, until: Duration, before: Option<&[u8]>) {
        self.request.messages = Pii::new(self.history.messages());
        self.connection.used_handle = self.connection.handle.is_some();
        let start = Start {
            request: &self.request,
            formats: self.formats,
            before,
            handle: self.connection.handle.as_deref(),
            answer_due: self.due.is_some_and(|due| !due.audio) && self.request.opening.is_none(),
        };
        match self.vendor.connect(&start) {
            Ok(protocol) => {
                self.phase = Phase::Connecting { until };
                self.wishes.push_back(Wish::Connect(protocol.handshake()));
                self.protocol = Some(protocol);
            }
            Err(error) => self.broken(now, error),
        }
    }

    /// The connection takes audio.
    pub(super) fn ready(&mut self, now: Duration) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        self.phase = Phase::Live;
        let is_again = std::mem::replace(&mut self.connection.was_ready, true);
        self.connection.tries = 0;
        self.connection.give_up_at = None;
        self.connection.change_by = None;
        self.connection_since(now);
        if let Some(due) = &mut self.due {
            due.until = Some(now + self.deadlines.first);
        }
        self.events.push_back(if is_again {
            RealtimeEvent::FellOver { from: self.name.clone(), to: self.name.clone() }
        } else {
            RealtimeEvent::Ready
        });
        self.send_audio(now);
        for later in std::mem::take(&mut self.later) {
            self.perform(now, later);
        }
    }

    fn connection_since(&mut self, now: Duration) {
        self.lifetime_ends = self.vendor.lifetime().map(|lifetime| now + lifetime);
    }

    /// The connection is of no more use. A call that was under way goes on over a fresh one, where that makes sense.
    pub(super) fn broken(&mut self, now: Duration, error: ProviderError) {
        if self.phase == Phase::Over {
            return;
        }
        let refuses_handle = self.phase != Phase::Live && self.connection.used_handle && !error.is_retryable();
        if refuses_handle {
            self.connection.handle = None;
        }
        let is_hopeless = !error.is_retryable() && !refuses_handle;
        if !self.connection.was_ready || is_hopeless || matches!(error, ProviderError::RateLimited { .. }) {
            return self.give_up(error);
        }
        if self.phase == Phase::Live {
            self.connection.breaks.push_back(now);
            self.connection.proven(now);
            self.connection.give_up_at = Some(now + self.deadlines.connect);
        }
        let wait = match self.connection.tries {
            0 => Duration::ZERO,
            tries => RETRY * (1 << (tries - 1).min(8)),
        };
        let is_late = self.connection.give_up_at.is_some_and(|at| now + wait >= at);
        if self.connection.breaks.len() > BREAKS_MAX || is_late {
            return self.give_up(error);
        }
        tracing::warn!(provider = %self.name, kind = error.kind(), %error, "speech_to_speech_reconnects");
        self.meter.failed(&error);
        self.connection.tries += 1;
        self.leave();
        self.wishes.push_back(Wish::Drop);
        if wait.is_zero() {
            self.connect(now);
        } else {
            self.phase = Phase::Waiting { until: now + wait };
        }
    }

    /// The session has failed for good.
    pub fn give_up(&mut self, error: ProviderError) {
        self.leave();
        self.meter.failed(&error);
        self.phase = Phase::Over;
        self.wishes.push_back(Wish::Drop);
        self.events.push_back(RealtimeEvent::Failed(error));
    }

    /// Takes leave of a connection: an answer under way ends here, and is asked for again.
    fn leave(&mut self) {
        let cut = self.answers.under_way();
        let was_due = self.due;
        let now = self.sent_at;
        for answer in &cut {
            self.events.push_back(RealtimeEvent::BrokeOff { answer: *answer });
            self.ended(*answer);
        }
        self.transcript.end();
        self.report_words();
        self.due = was_due;
        if !cut.is_empty() && self.due.is_none() && self.open_calls.is_empty() {
            self.ask(now, false);
        }
        if let Some(due) = &mut self.due {
            due.until = None;
        }
        let commits = self.due.is_some_and(|due| due.audio) && self.request.turns == super::TurnsBy::Local;
        self.later.clear();
        if commits {
            self.later.push(super::Later::Commit);
        }
        self.protocol = None;
        self.out = Outbox::default();
        self.wishes.clear();
        self.flow_until = None;
        self.ends_at = None;
        self.life_until = None;
        self.decoder = None;
        self.caller_speaks = false;
        self.lifetime_ends = None;
        self.open_calls.iter_mut().for_each(|(_, is_known)| *is_known = false);
        self.ear.again();
        self.answers.rebase();
    }

    /// The vendor will end the connection.
    pub(super) fn expiring(&mut self, now: Duration, within: Duration) {
        let patience = if within.is_zero() { PATIENCE } else { within.saturating_sub(MARGIN) };
        self.connection.change_by = Some(now + patience);
    }

    /// When the connection has to be changed at the latest, or its time is up.
    pub(super) fn move_by(&self) -> Option<Duration> {
        if self.phase != Phase::Live {
            return None;
        }
        self.connection.change_by.into_iter().chain(self.lifetime_ends).min()
    }

    pub(super) fn move_when_quiet(&mut self, now: Duration) {
        if self.connection.change_by.is_some() && self.is_quiet() {
            self.move_on(now);
        }
    }

    /// Exchanges a good connection for a fresh one.
    pub(super) fn move_on(&mut self, now: Duration) {
        if self.connection.change_by.is_none_or(|by| now < by) && !self.is_quiet() {
            // Its time is up, but somebody speaks.
            self.lifetime_ends = None;
            return self.connection.wants_change(now);
        }
        if let Some(protocol) = &mut self.protocol {
            protocol.goodbye(&mut self.out);
        }
        self.flush(now);
        let farewell: Vec<Wish> = self.wishes.drain(..).collect();
        self.ear.understood();
        self.leave();
        self.connection.change_by = None;
        self.connection.give_up_at = Some(now + self.deadlines.connect);
        self.wishes.extend(farewell);
        self.connect(now);
    }
}
