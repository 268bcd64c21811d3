//! Drives a conversation over a WebSocket (RFC 6455): frames, timers, closing, and what goes wrong in between.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    damage,
    frames::{self, Assembler, Incoming},
    misbehaviour::{Active, Misbehaviour},
    vendor::{Context, Conversation, Message, Request, Say},
    wire::{Line, Turn, Wire},
};

/// The time between two calls of [`Conversation::elapsed`].
const TICK: Duration = Duration::from_millis(10);

/// How long the client may take to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Answers the upgrade and holds the conversation to its end.
pub async fn converse<L: Line>(mut wire: Wire<L>, conversation: Box<dyn Conversation>, request: &Request) {
    let Some(answer) = upgrade(conversation.as_ref(), request) else {
        wire.push(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        return wire.hang_up().await;
    };
    let context = request.context.clone();
    let mut changed = context.state.changed.subscribe();
    wire.drip = context.active().drip();
    wire.push(answer.as_bytes());
    let mut talk = Talk {
        active: Active::default(),
        assembler: Assembler::default(),
        conversation,
        context,
        end: None,
        later: BTreeMap::new(),
        next_tick: None,
        said: 0,
        huge_sent: false,
        held: None,
        wire,
    };
    talk.refresh();
    let mut opened = false;
    loop {
        if talk.active.has(Misbehaviour::StallAfterUpgrade) && !talk.stalled().await {
            return talk.conversation.closed(None);
        }
        if !opened {
            opened = true;
            let opening = talk.conversation.opened();
            talk.say(opening);
        }
        match talk.end {
            Some(End::Drop) if !talk.wire.pending() => return,
            Some(End::HangUp) => return talk.wire.hang_up().await,
            Some(End::Closing(limit)) if limit <= Instant::now() => return,
            _ => {}
        }
        let wake = talk.wake();
        let turn = tokio::select! {
            biased;
            _ = changed.changed() => {
                talk.refresh();
                continue;
            }
            turn = talk.wire.turn(wake) => turn,
        };
        match turn {
            Turn::Gone => {
                if talk.end.is_none() {
                    talk.conversation.closed(None);
                }
                return;
            }
            Turn::Heard => talk.listen(),
            Turn::Due => talk.due(),
            Turn::Drained => {}
        }
    }
}

/// The answer to an upgrade (RFC 6455 §4.2.2), or a complaint.
fn upgrade(conversation: &dyn Conversation, request: &Request) -> Option<String> {
    let complain = |what| {
        request.context.complain(what);
        None
    };
    if request.method != "GET" {
        return complain("an upgrade that is no GET (RFC 6455 §4.1)");
    }
    if request.header("sec-websocket-version") != Some("13") {
        return complain("an upgrade without `sec-websocket-version: 13` (RFC 6455 §4.1)");
    }
    let Some(key) = request.header("sec-websocket-key").filter(|key| key.len() == 24) else {
        return complain("an upgrade without a `sec-websocket-key` of 16 octets (RFC 6455 §4.1)");
    };
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {}\r\n",
        derive_accept_key(key.as_bytes())
    );
    let offered: Vec<&str> =
        request.header("sec-websocket-protocol").unwrap_or_default().split(',').map(str::trim).collect();
    let offered: Vec<&str> = offered.into_iter().filter(|name| !name.is_empty()).collect();
    if let Some(name) = conversation.subprotocol(&offered) {
        answer.push_str(&format!("sec-websocket-protocol: {name}\r\n"));
    }
    for (name, value) in conversation.headers() {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    Some(answer)
}

/// How the conversation is ending.
#[derive(Clone, Copy)]
enum End {
    /// Without a goodbye, as soon as all is written.
    Drop,
    /// Both sides have closed.
    HangUp,
    /// This side has closed and waits for the other, until then.
    Closing(Instant),
}

/// A conversation and its wire.
struct Talk<L> {
    wire: Wire<L>,
    conversation: Box<dyn Conversation>,
    context: Context,
    assembler: Assembler,
    /// What holds, as of the last refresh.
    active: Active,
    /// What is to be said, by when and in which order.
    later: BTreeMap<(Instant, u64), Say>,
    /// Counts what was put into `later`, and the messages sent.
    said: u64,
    next_tick: Option<Instant>,
    huge_sent: bool,
    /// A final result that comes behind the next one.
    held: Option<(u8, String)>,
    end: Option<End>,
}

impl<L: Line> Talk<L> {
    /// Looks up what holds, and begins what a delay brings on.
    fn refresh(&mut self) {
        self.active = self.context.active();
        self.wire.drip = self.active.drip();
        if let Some((code, true)) = self.active.close() {
            self.close(code, "");
        }
    }

    /// When to come back without being spoken to.
    fn wake(&self) -> Option<Instant> {
        let limit = match self.end {
            Some(End::Closing(limit)) => return Some(limit),
            Some(_) => return None,
            None => self.active.next.map(|age| Instant::from_std(self.context.opened + age)),
        };
        limit.into_iter().chain(self.next_tick).chain(self.later.keys().next().map(|(at, _)| *at)).min()
    }

    /// Sends what came before the stall, then does nothing while it lasts; false when the client left.
    async fn stalled(&mut self) -> bool {
        if !self.wire.drain().await {
            return false;
        }
        while self.active.has(Misbehaviour::StallAfterUpgrade) {
            if !self.wire.stall().await {
                return false;
            }
            self.active = self.context.active();
        }
        self.refresh();
        true
    }

    /// Understands what came.
    fn listen(&mut self) {
        loop {
            match self.assembler.next(&mut self.wire.inbox) {
                Ok(None) => break,
                Ok(Some(Incoming::Message(message))) if self.end.is_none() => {
                    let said = self.conversation.heard(message);
                    self.say(said);
                }
                Ok(Some(Incoming::Ping(octets))) if self.end.is_none() => {
                    self.wire.push(&frames::encode(frames::PONG, &octets));
                }
                Ok(Some(Incoming::Close(code))) => {
                    if self.end.is_none() {
                        self.conversation.closed(Some(code));
                        self.wire.push(&frames::encode_close(code, ""));
                    }
                    self.end = Some(End::HangUp);
                    break;
                }
                Ok(Some(_)) => {}
                Err(wrong) => {
                    self.context.complain(&wrong);
                    self.close(1002, "protocol error");
                    self.wire.inbox.clear();
                    break;
                }
            }
        }
    }

    /// Does what is due: delays that have run out, what waited, ticks.
    fn due(&mut self) {
        if self.end.is_some() {
            return;
        }
        let now = Instant::now();
        if self.active.next.is_some_and(|age| Instant::from_std(self.context.opened + age) <= now) {
            self.refresh();
        }
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let say = entry.remove();
            self.say(vec![say]);
        }
        while let Some(tick) = self.next_tick.filter(|tick| *tick <= now) {
            self.next_tick = Some(tick + TICK);
            let said = self.conversation.elapsed();
            self.say(said);
        }
    }

    /// Does what the conversation wants.
    fn say(&mut self, says: Vec<Say>) {
        let now = Instant::now();
        for say in says {
            if self.end.is_some() {
                break;
            }
            match say {
                Say::Text(text) => self.result(frames::TEXT, text),
                Say::Binary(octets) => match String::from_utf8(octets) {
                    Ok(text) if self.conversation.writes_text_in_binary() => self.result(frames::BINARY, text),
                    Ok(text) => self.message(frames::BINARY, text.as_bytes()),
                    Err(octets) => self.message(frames::BINARY, octets.as_bytes()),
                },
                Say::After(delay, say) => {
                    self.said += 1;
                    self.later.insert((now + delay, self.said), *say);
                }
                Say::Forget => self.later.clear(),
                Say::Close(code, reason) => self.close(code, &reason),
                Say::Drop => self.end = Some(End::Drop),
            }
        }
        self.next_tick = self.conversation.ticks().then(|| self.next_tick.unwrap_or(now + TICK));
    }

    /// A text, which may be a result that comes twice, or behind the next.
    fn result(&mut self, opcode: u8, text: String) {
        if !self.conversation.is_final(&text) {
            return self.text(opcode, text);
        }
        if self.active.has(Misbehaviour::OutOfOrderFinals) && self.held.is_none() {
            self.held = Some((opcode, text));
            return;
        }
        if self.active.has(Misbehaviour::DuplicateFinals) {
            self.text(opcode, text.clone());
        }
        self.text(opcode, text);
        if let Some((opcode, held)) = self.held.take() {
            self.text(opcode, held);
        }
    }

    fn text(&mut self, opcode: u8, mut text: String) {
        if self.active.has(Misbehaviour::UnknownTypes) {
            let unknown = self.conversation.unknown();
            self.message(opcode, unknown.as_bytes());
            text = damage::with_extra_field(&text);
        }
        if self.active.has(Misbehaviour::WrongJson) {
            text = damage::wrong_json(&text, usize::try_from(self.said).unwrap_or(0));
        }
        self.message(opcode, text.as_bytes());
    }

    fn message(&mut self, opcode: u8, payload: &[u8]) {
        if self.end.is_some() || self.active.has(Misbehaviour::Silence) {
            return;
        }
        if let Some(size) = self.active.huge().filter(|_| !self.huge_sent) {
            self.huge_sent = true;
            self.wire.push(&frames::encode(frames::TEXT, damage::huge(size).as_bytes()));
        }
        let frame = frames::encode(opcode, payload);
        if self.active.has(Misbehaviour::HalfMessage) {
            let head = frame.len() - payload.len();
            self.wire.push(&frame[..head + payload.len() / 2]);
            self.end = Some(End::Drop);
            return;
        }
        self.wire.push(&frame);
        self.said += 1;
        if let Some((code, _)) = self.active.close() {
            self.close(code, "");
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(match code {
            1006 => End::Drop,
            _ => {
                self.wire.push(&frames::encode_close(code, reason));
                End::Closing(Instant::now() + CLOSE_LIMIT)
            }
        });
    }
}
