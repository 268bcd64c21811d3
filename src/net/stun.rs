//! Our address as a STUN server sees it: one Binding transaction (RFC 8489 §6.2.1, §14.2). Pure.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{
    BINDING, MAGIC_COOKIE, Message, MessageClass, MessageType, MessageWrite, MessageWriteVec, TransactionId,
};

/// The port of a STUN server.
pub(super) const PORT: u16 = 3478;

/// Binding transactions at one time; each is the operator's own wish, so more means that something loops.
pub(super) const BINDINGS: usize = 16;

/// Wait for the first answer (RTO); it doubles with each repetition.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Requests sent in all (Rc). RFC 8489 suggests 7; a person waits for this.
const REQUESTS: u32 = 5;
/// The wait after the last one, in units of the first (Rm).
const LAST_WAIT: u32 = 16;

/// Whether a datagram is STUN rather than SIP (RFC 7983: first byte 0 to 3, then the magic cookie).
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4) && datagram.get(4..8) == Some(&MAGIC_COOKIE.to_be_bytes()[..])
}

/// What a transaction wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Send the request to the server.
    Send,
    /// The server does not answer.
    GiveUp,
}

/// A Binding request under way.
#[derive(Debug)]
pub(super) struct Binding {
    server: SocketAddr,
    id: TransactionId,
    sent: u32,
    due: Instant,
}

impl Binding {
    /// A request that wants to be sent at once. Nobody else must be able to guess `id`.
    pub(super) fn new(now: Instant, server: SocketAddr, id: u128) -> Self {
        Self { server, id: id.into(), sent: 0, due: now }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn request(&self) -> Vec<u8> {
        let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
        Message::builder(kind, self.id, MessageWriteVec::new()).finish()
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.due
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Step> {
        if now < self.due {
            return None;
        }
        if self.sent >= REQUESTS {
            return Some(Step::GiveUp);
        }
        let wait = if self.sent.saturating_add(1) == REQUESTS {
            FIRST_WAIT.saturating_mul(LAST_WAIT)
        } else {
            FIRST_WAIT.saturating_mul(1 << self.sent)
        };
        self.sent = self.sent.saturating_add(1);
        self.due = now + wait;
        Some(Step::Send)
    }

    /// The outcome, if the datagram is the server's answer to this very request.
    pub(super) fn handle(&self, source: SocketAddr, datagram: &[u8]) -> Option<Result<SocketAddr, String>> {
        let message = Message::from_bytes(datagram).ok().filter(|_| source == self.server)?;
        if message.transaction_id() != self.id || !message.has_method(BINDING) {
            return None;
        }
        match message.class() {
            MessageClass::Success => {
                let mapped = message.attribute::<XorMappedAddress>().map(|mapped| mapped.addr(self.id));
                Some(mapped.map_err(|_| "its answer names no address".to_owned()))
            }
            MessageClass::Error => {
                let error = message.attribute::<ErrorCode>().ok();
                let words = error.map(|e| format!("{} {}", e.code(), e.reason())).unwrap_or_default();
                Some(Err(format!("it refuses: {words}")))
            }
            MessageClass::Request | MessageClass::Indication => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stun_types::message::MessageWriteExt;

    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], PORT);
    const MAPPED: ([u8; 4], u16) = ([203, 0, 113, 9], 40_000);

    fn answer(request: &[u8]) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut answer = Message::builder_success(&request, MessageWriteVec::new());
        answer.add_attribute(&XorMappedAddress::new(MAPPED.into(), request.transaction_id())).unwrap();
        answer.finish()
    }

    #[test]
    fn the_servers_answer_to_this_request_is_taken_and_no_other() {
        let now = Instant::now();
        let (binding, other) = (Binding::new(now, SERVER.into(), 7), Binding::new(now, SERVER.into(), 8));
        let good = answer(&binding.request());
        assert!(is_stun(&good) && is_stun(&binding.request()));
        assert_eq!(binding.handle(SERVER.into(), &good), Some(Ok(MAPPED.into())));
        assert_eq!(binding.handle(([192, 0, 2, 2], PORT).into(), &good), None);
        assert_eq!(binding.handle(([192, 0, 2, 1], 1).into(), &good), None);
        assert_eq!(binding.handle(SERVER.into(), &answer(&other.request())), None);
        assert_eq!(binding.handle(SERVER.into(), &binding.request()), None);
        for length in 0..good.len() {
            assert_eq!(binding.handle(SERVER.into(), &good[..length]), None);
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let binding = Binding::new(Instant::now(), SERVER.into(), 7);
        let request = binding.request();
        let mut refusal = Message::builder_error(&Message::from_bytes(&request).unwrap(), MessageWriteVec::new());
        refusal.add_attribute(&ErrorCode::new(401, "Unauthorized").unwrap()).unwrap();
        let reason = binding.handle(SERVER.into(), &refusal.finish()).unwrap().unwrap_err();
        assert!(reason.contains("401 Unauthorized"), "{reason}");
    }

    #[test]
    fn a_silent_server_is_asked_five_times_in_growing_intervals() {
        let start = Instant::now();
        let mut binding = Binding::new(start, SERVER.into(), 7);
        let mut sent = Vec::new();
        loop {
            let due = binding.poll_timeout();
            assert_eq!(binding.handle_timeout(due - Duration::from_nanos(1)), None);
            match binding.handle_timeout(due) {
                Some(Step::Send) => sent.push((due - start).as_millis()),
                step => {
                    assert_eq!((step, (due - start).as_millis()), (Some(Step::GiveUp), 15_500));
                    break;
                }
            }
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500]);
    }

    #[test]
    fn sip_is_not_taken_for_stun() {
        for datagram in
            [&b"OPTIONS sip:a SIP/2.0\r\n"[..], b"SIP/2.0 200 OK", b"\r\n\r\n", b"", b"\0\0\0\0", b"\0\x01\0\0abcd"]
        {
            assert!(!is_stun(datagram));
        }
    }

    proptest! {
        #[test]
        fn no_answer_of_the_server_does_harm(tail in prop::collection::vec(any::<u8>(), 0..80), kind in any::<[u8; 2]>()) {
            let binding = Binding::new(Instant::now(), SERVER.into(), 7);
            let mut datagram = binding.request();
            datagram[..2].copy_from_slice(&kind);
            datagram[2..4].copy_from_slice(&(tail.len() as u16).to_be_bytes());
            datagram.extend(tail);
            let _ = binding.handle(SERVER.into(), &datagram);
        }

        #[test]
        fn a_damaged_answer_is_none_or_one_address(at in 0usize..32, bit in 0u8..8) {
            let binding = Binding::new(Instant::now(), SERVER.into(), 7);
            let mut datagram = answer(&binding.request());
            if let Some(byte) = datagram.get_mut(at) {
                *byte ^= 1 << bit;
            }
            let _ = binding.handle(SERVER.into(), &datagram);
        }
    }
}
