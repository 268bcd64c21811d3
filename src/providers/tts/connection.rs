//! One WebSocket of the pool: a task that moves messages between the vendor, its protocol machine and the utterances.

use super::SpeakRequest;
use super::pool::ConnectionId;
use super::protocol::{TtsProtocol, Utterance, Voiced};
use super::stream::{Permit, Shared};
use crate::providers::ProviderError;
use crate::providers::socket::Socket;
use crate::providers::wire::{Closed, Outbox};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// A vendor that has not ended a cancelled utterance after this long does not do so any more: the connection takes no
/// further one.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// Octets of one utterance: ten minutes of 24 kHz. A vendor that sends more is broken; the call would only store it.
const UTTERANCE_OCTETS: usize = 10 * 60 * 48_000;
/// The code of a close that nobody has to explain (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// What utterances ask of a connection.
pub(super) enum Command {
    /// Speak.
    Speak {
        /// Never used before.
        id: Utterance,
        /// All of it.
        request: Arc<SpeakRequest>,
        /// Where its news go.
        events: UnboundedSender<Heard>,
        /// When it was asked for.
        asked: Instant,
        /// Its place among those the key allows; the vendor counts a cancelled one until it is over.
        permit: Permit,
    },
    /// Nobody listens to it any more.
    Cancel(Utterance),
    /// See what the pool says about closing.
    Look,
}

/// What an utterance hears.
pub(super) enum Heard {
    /// From the vendor.
    Voiced(Voiced),
    /// The connection is gone. `stale`: it was open before the utterance and gave it nothing, so that another try on a
    /// fresh one costs the caller no word.
    Lost {
        /// Why.
        error: ProviderError,
        /// See above.
        stale: bool,
    },
}

struct Speaking {
    events: UnboundedSender<Heard>,
    /// When the vendor is given up.
    cancelled: Option<Instant>,
    /// Octets heard.
    octets: usize,
    /// Whether the connection was open when it came, and it has heard nothing.
    stale: bool,
    _permit: Permit,
}

/// See the module.
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    pub id: ConnectionId,
    pub protocol: Box<dyn TtsProtocol>,
    pub commands: UnboundedReceiver<Command>,
}

impl Connection {
    /// Opens it, serves it, and tells every utterance when it is gone.
    pub async fn run(mut self) {
        let Shared { name, network, connect_timeout, .. } = &*self.shared;
        let opened = Socket::open(name.clone(), network, &self.protocol.handshake(), *connect_timeout).await;
        let mut speaking = HashMap::new();
        let was_open = opened.is_ok();
        let error = match opened {
            Err(error) => Some(self.protocol.refused(error)),
            Ok(socket) => {
                self.shared.meter.connected();
                self.shared.sockets().pool.opened(self.id);
                self.serve(socket, &mut speaking).await.err()
            }
        };
        // Behind this lock nobody finds the connection any more, so that what the channel holds is all there is.
        self.shared.sockets().forget(self.id);
        let provider = self.shared.name.clone();
        let ended = ProviderError::Transient { provider, reason: "the connection was closed".to_owned() };
        let error = error.unwrap_or(ended);
        for (_, lost) in speaking {
            let _ = lost.events.send(Heard::Lost { error: error.clone(), stale: lost.stale });
        }
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Speak { events, .. } = command {
                let _ = events.send(Heard::Lost { error: error.clone(), stale: was_open });
            }
        }
    }

    async fn serve(
        &mut self,
        mut socket: Socket,
        speaking: &mut HashMap<Utterance, Speaking>,
    ) -> Result<(), ProviderError> {
        let mut outbox = Outbox::default();
        let mut voiced = Vec::new();
        let mut sent = Instant::now();
        // Those that waited for the connection to open are not stale: a second try would fare no better.
        let opened = sent;
        self.protocol.opened(&mut outbox);
        loop {
            while let Some(frame) = outbox.next_frame() {
                socket.queue(frame)?;
                sent = Instant::now();
            }
            if let Some(code) = outbox.wants_close() {
                socket.close(code);
                return Ok(());
            }
            let now = Instant::now();
            let closes = if speaking.is_empty() { self.closes_at() } else { None };
            // Nobody waits for what is void on a connection that is given up.
            let void = speaking.values().all(|utterance| utterance.cancelled.is_some());
            let due = closes.is_some_and(|at| at <= now) || void && self.shared.sockets().pool.is_retired(self.id);
            if due && self.shared.sockets().forget_unused(self.id, now.into_std(), speaking.len()) {
                self.protocol.goodbye(&mut outbox);
                while let Some(frame) = outbox.next_frame() {
                    socket.queue(frame)?;
                }
                socket.close(NORMAL);
                return Ok(());
            }
            let idle = self.protocol.idle_after().map(|after| sent + after);
            let given_up = speaking.values().filter_map(|utterance| utterance.cancelled).min();
            let due = [closes, idle, given_up].into_iter().flatten().min();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Speak { id, request, events, asked, permit }) => {
                        if events.is_closed() {
                            self.shared.sockets().pool.ended(self.id, now.into_std());
                            continue;
                        }
                        self.protocol.speak(id, &request, &mut outbox);
                        let stale = asked > opened;
                        let place = Speaking { events, cancelled: None, octets: 0, stale, _permit: permit };
                        speaking.insert(id, place);
                    }
                    Some(Command::Cancel(id)) => {
                        if let Some(utterance) = speaking.get_mut(&id) {
                            utterance.cancelled = Some(now + CANCEL_LIMIT);
                            self.protocol.cancel(id, &mut outbox);
                        }
                    }
                    Some(Command::Look) => {}
                    None => return Ok(()),
                },
                frame = socket.next() => {
                    let frame = frame.map_err(|closed| self.closed(&closed))?;
                    self.protocol.received(frame, &mut outbox, &mut voiced)?;
                    for news in voiced.drain(..) {
                        self.hear(news, speaking, &mut outbox);
                    }
                }
                () = until(due) => {
                    let now = Instant::now();
                    if idle.is_some_and(|at| at <= now) {
                        self.protocol.idle(&mut outbox);
                        // A machine with nothing to say is asked again only after as long.
                        sent = now;
                    }
                    if given_up.is_some_and(|at| at <= now) {
                        speaking.retain(|_, utterance| {
                            let over = utterance.cancelled.is_some_and(|at| at <= now);
                            if over {
                                let mut sockets = self.shared.sockets();
                                sockets.pool.retire(self.id);
                                sockets.pool.ended(self.id, now.into_std());
                            }
                            !over
                        });
                    }
                }
            }
        }
    }

    fn hear(&mut self, news: Voiced, speaking: &mut HashMap<Utterance, Speaking>, outbox: &mut Outbox) {
        let id = news.id();
        if matches!(news, Voiced::Done { .. } | Voiced::Failed { .. }) {
            // Its place is free before anybody learns that it is over.
            let Some(Speaking { events, cancelled, .. }) = speaking.remove(&id) else { return };
            self.shared.sockets().pool.ended(self.id, Instant::now().into_std());
            if cancelled.is_none() {
                let _ = events.send(Heard::Voiced(news));
            }
            return;
        }
        let Some(utterance) = speaking.get_mut(&id) else { return };
        utterance.stale = false;
        if utterance.cancelled.is_none() {
            if let Voiced::Audio { octets, .. } = &news {
                utterance.octets += octets.len();
            }
            if utterance.octets > UTTERANCE_OCTETS {
                let provider = self.shared.name.clone();
                let reason = format!("more than {UTTERANCE_OCTETS} octets of audio for one text");
                let error = ProviderError::Protocol { provider, reason };
                let _ = utterance.events.send(Heard::Voiced(Voiced::Failed { id, error }));
                utterance.cancelled = Some(Instant::now() + CANCEL_LIMIT);
                self.protocol.cancel(id, outbox);
            } else {
                let _ = utterance.events.send(Heard::Voiced(news));
            }
        }
    }

    fn closes_at(&self) -> Option<Instant> {
        self.shared.sockets().closes_at(self.id, Instant::now().into_std()).map(Instant::from_std)
    }

    fn closed(&self, closed: &Closed) -> ProviderError {
        self.protocol.closed(closed).unwrap_or_else(|| ProviderError::Transient {
            provider: self.shared.name.clone(),
            reason: "the connection was closed".to_owned(),
        })
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
