//! What a fake does wrong, on which connection, and from when.

use std::time::Duration;

/// One way to fail.
///
/// The server produces all of them but one: `LateAudioAfterCancel` is the conversation's to produce, which asks
/// [`Context::misbehaves`](super::Context::misbehaves). For `DuplicateFinals` and `OutOfOrderFinals` it asks the
/// conversation what is [final](super::Conversation::is_final).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Nobody listens. On every connection and without delay the port itself refuses (`ECONNREFUSED`); on one
    /// connection, it is reset as soon as it is accepted; with a delay, it is reset at that age. Connections that are
    /// open when it is set without delay go on.
    Refuse,
    /// The TCP connection is accepted and no octet of it is read or answered. In clear, the same.
    StallInTls,
    /// After the answer to the upgrade, or after the head of an HTTP reply, nothing more is read or written, pings and
    /// closes included, so the client's own writes back up.
    StallAfterUpgrade,
    /// Every request, upgrade or not, is answered with this status; the connection is closed behind it.
    Status {
        /// The HTTP status, such as 401, 402, 429, 500 or 503.
        code: u16,
        /// The value of `retry-after`, in seconds.
        retry_after: Option<u32>,
    },
    /// The next message is cut in the middle of its frame, or of its chunk or body in HTTP, and the connection
    /// dropped without a goodbye.
    HalfMessage,
    /// Every text message, JSON body and server-sent `data:` line is spoilt. By turns: cut in half, `null`, an object
    /// with a number where its type should be, and no JSON at all.
    WrongJson,
    /// Before every text message or server-sent event comes one of an unknown type, and every JSON object has a field
    /// nobody has heard of. A client must not mind.
    UnknownTypes,
    /// One message of this many octets comes before the next one; in HTTP, so many octets of padding before the body
    /// or the first chunk. Once per connection.
    HugeFrame(usize),
    /// Octets leave one by one, this far apart.
    SlowDrip(Duration),
    /// Every final result is sent twice.
    DuplicateFinals,
    /// Of two final results the first is sent behind the second.
    OutOfOrderFinals,
    /// The conversation goes on sending audio after it was told to stop.
    LateAudioAfterCancel,
    /// The WebSocket is closed with this code behind the next message; with a delay, at that age, message or not. 1006
    /// drops it without a close frame. In HTTP, the body ends well-formed but halfway, or behind the next chunk.
    CloseMidWord(u16),
    /// Everything is accepted and nothing answered: no reply to a request, no message behind the answer to an upgrade.
    /// Pings and closes are answered, as the transport is alive.
    Silence,
}

impl Misbehaviour {
    /// [`Misbehaviour::Status`] without `retry-after`.
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None }
    }
}

/// A misbehaviour with its place and time.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// The ordinal of the connection, from 1; `None` is all of them.
    nth: Option<u64>,
    /// The age of the connection from which it holds.
    after: Duration,
    what: Misbehaviour,
}

/// Everything that is to go wrong. Pure; ages are given.
#[derive(Debug, Default)]
pub struct Plan {
    rules: Vec<Rule>,
}

/// What holds on one connection at one age.
#[derive(Clone, Debug, Default)]
pub struct Active {
    /// The misbehaviours, each with whether a delay brought it on.
    pub list: Vec<(Misbehaviour, bool)>,
    /// The age at which there will be more.
    pub next: Option<Duration>,
}

impl Plan {
    /// Adds a misbehaviour to those there are.
    pub fn add(&mut self, nth: Option<u64>, after: Duration, what: Misbehaviour) {
        self.rules.push(Rule { nth, after, what });
    }

    /// Ends all of them.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// True when the port itself is to refuse.
    pub fn port_refuses(&self) -> bool {
        self.rules.iter().any(|r| r.nth.is_none() && r.after.is_zero() && r.what == Misbehaviour::Refuse)
    }

    /// What holds on the `connection`th at this age.
    pub fn active(&self, connection: u64, age: Duration) -> Active {
        let mine = self.rules.iter().filter(|r| r.nth.is_none_or(|nth| nth == connection));
        let mut active = Active::default();
        for rule in mine {
            if rule.after <= age {
                active.list.push((rule.what, !rule.after.is_zero()));
            } else {
                active.next = Some(active.next.map_or(rule.after, |next| next.min(rule.after)));
            }
        }
        active
    }
}

impl Active {
    /// True when `what` holds.
    pub fn has(&self, what: Misbehaviour) -> bool {
        self.list.iter().any(|(m, _)| *m == what)
    }

    /// True when the connection is to be reset because a delay has passed.
    pub fn reset(&self) -> bool {
        self.list.contains(&(Misbehaviour::Refuse, true))
    }

    /// The status every request gets.
    pub fn status(&self) -> Option<(u16, Option<u32>)> {
        self.list.iter().find_map(|(m, _)| match m {
            Misbehaviour::Status { code, retry_after } => Some((*code, *retry_after)),
            _ => None,
        })
    }

    /// The size of the frame that is too big.
    pub fn huge(&self) -> Option<usize> {
        self.list.iter().find_map(|(m, _)| match m {
            Misbehaviour::HugeFrame(size) => Some(*size),
            _ => None,
        })
    }

    /// The time between two octets.
    pub fn drip(&self) -> Option<Duration> {
        self.list.iter().find_map(|(m, _)| match m {
            Misbehaviour::SlowDrip(interval) => Some(*interval),
            _ => None,
        })
    }

    /// The code to close with, and whether a delay brought it on.
    pub fn close(&self) -> Option<(u16, bool)> {
        self.list.iter().find_map(|(m, timed)| match m {
            Misbehaviour::CloseMidWord(code) => Some((*code, *timed)),
            _ => None,
        })
    }
}
