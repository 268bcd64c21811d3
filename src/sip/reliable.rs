//! Reliable provisional responses: RFC 3262. Numbering and order of both sides.
//!
//! ```text
//!  callee:  183 RSeq 7 ──► (again after T1, 2·T1 … until 64·T1: the call is refused)
//!  caller:  PRACK RAck 7 1 INVITE ──► 200; only then the next: RSeq 8
//! ```
//!
//! The callee has one response in the air at a time; the caller takes them in order and PRACKs each once.

use super::compose::Response;
use super::header::{HeaderName, HeaderValue, RAck};
use super::method::Method;
use super::timer::Doubling;
use std::collections::VecDeque;
use std::time::Duration;

/// Provisional responses that wait for the PRACK of the one before. An application that says "ringing" without end
/// fills no memory: what does not fit is not sent.
const MAX_WAITING: usize = 4;

/// A provisional response to be sent reliably.
#[derive(Clone, Debug)]
struct Provisional {
    response: Response,
    has_sdp: bool,
}

#[derive(Clone, Debug)]
struct InTheAir {
    provisional: Provisional,
    rseq: u32,
    resend: Doubling,
}

/// The callee's side of one INVITE.
#[derive(Clone, Debug)]
pub struct Sender {
    cseq: u32,
    next_rseq: u32,
    in_the_air: Option<InTheAir>,
    waiting: VecDeque<Provisional>,
    acknowledged_sdp: bool,
}

/// What a PRACK acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The response had a session description.
    pub has_sdp: bool,
}

impl Sender {
    /// For the INVITE with this CSeq number. `first` is where RSeq begins; values above 2³¹ − 1 are cut (§3).
    #[must_use]
    pub fn new(cseq: u32, first: u32) -> Self {
        let next_rseq = (first & 0x3FFF_FFFF).max(1);
        Self { cseq, next_rseq, in_the_air: None, waiting: VecDeque::new(), acknowledged_sdp: false }
    }

    /// A provisional response to send: gives it numbered when it goes out at once; otherwise it waits for its turn.
    pub fn push(&mut self, response: Response) -> Option<Response> {
        let has_sdp = !response.body.is_empty();
        let provisional = Provisional { response, has_sdp };
        if self.in_the_air.is_some() {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(provisional);
            }
            return None;
        }
        Some(self.launch(provisional))
    }

    /// The response in the air again, and how long until the next time. `None` when nothing waits for a PRACK.
    pub fn resend(&mut self) -> Option<(&Response, Duration)> {
        let flying = self.in_the_air.as_mut()?;
        let wait = flying.resend.next_interval();
        Some((&flying.provisional.response, wait))
    }

    /// Takes a PRACK. `None` when it matches no response in the air: 481 (§3).
    pub fn acknowledge(&mut self, rack: &RAck) -> Option<Acknowledged> {
        let is_for_this = |flying: &mut InTheAir| {
            flying.rseq == rack.rseq && rack.cseq.number == self.cseq && rack.cseq.method == Method::Invite
        };
        let flying = self.in_the_air.take_if(is_for_this)?;
        self.acknowledged_sdp |= flying.provisional.has_sdp;
        Some(Acknowledged { has_sdp: flying.provisional.has_sdp })
    }

    /// The next response whose turn it is, numbered.
    pub fn next_waiting(&mut self) -> Option<Response> {
        if self.in_the_air.is_some() {
            return None;
        }
        let provisional = self.waiting.pop_front()?;
        Some(self.launch(provisional))
    }

    /// Nothing is sent any more; a PRACK for what is in the air is still understood (§3).
    pub fn finish(&mut self) {
        self.waiting.clear();
    }

    /// Whether a response with a session description has not been acknowledged: no 2xx may be sent (§3).
    #[must_use]
    pub fn owes_sdp(&self) -> bool {
        self.in_the_air.as_ref().is_some_and(|flying| flying.provisional.has_sdp)
            || self.waiting.iter().any(|provisional| provisional.has_sdp)
    }

    /// Whether a session description of ours was acknowledged: that part of offer and answer is done.
    #[must_use]
    pub fn has_acknowledged_sdp(&self) -> bool {
        self.acknowledged_sdp
    }

    /// Whether a session description went out or is about to.
    #[must_use]
    pub fn has_sdp(&self) -> bool {
        self.acknowledged_sdp || self.owes_sdp()
    }

    /// Whether a response waits for its PRACK.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.in_the_air.is_some()
    }

    fn launch(&mut self, mut provisional: Provisional) -> Response {
        let rseq = self.next_rseq;
        self.next_rseq = self.next_rseq.saturating_add(1);
        let headers = &mut provisional.response.headers;
        headers.push(HeaderName::Require, HeaderValue::cleaned("100rel"));
        headers.push(HeaderName::RSeq, HeaderValue::from(rseq));
        let response = provisional.response.clone();
        self.in_the_air = Some(InTheAir { provisional, rseq, resend: Doubling::INVITE });
        response
    }
}

/// The caller's side of one early dialog: which reliable responses it has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Receiver {
    last: Option<u32>,
}

impl Receiver {
    /// Whether the response with this RSeq is the next in order, to be taken and acknowledged. A repetition, or one that
    /// came before its predecessor, is neither (§4): its sender repeats it.
    pub fn take(&mut self, rseq: u32) -> bool {
        if self.last.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        self.last = Some(rseq);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::StatusCode;
    use crate::sip::compose::Headers;
    use crate::sip::header::CSeq;

    fn response(body: &str) -> Response {
        Response {
            status: StatusCode::SESSION_PROGRESS,
            reason: HeaderValue::cleaned("x"),
            headers: Headers::default(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn rseq(response: &Response) -> u32 {
        response.headers.value(HeaderName::RSeq).unwrap().to_text().parse().unwrap()
    }

    fn rack(rseq: u32, cseq: u32, method: Method) -> RAck {
        RAck { rseq, cseq: CSeq { number: cseq, method } }
    }

    #[test]
    fn one_response_is_in_the_air_and_the_next_waits_for_its_prack() {
        let mut sender = Sender::new(5, 700);
        let first = sender.push(response("")).unwrap();
        assert_eq!((rseq(&first), first.headers.value(HeaderName::Require).unwrap().as_bytes()), (700, &b"100rel"[..]));
        assert!(sender.push(response("sdp")).is_none());
        assert!(sender.next_waiting().is_none());
        assert_eq!(sender.acknowledge(&rack(700, 5, Method::Invite)), Some(Acknowledged { has_sdp: false }));
        assert!(sender.owes_sdp());
        let second = sender.next_waiting().unwrap();
        assert_eq!(rseq(&second), 701);
        assert_eq!(sender.acknowledge(&rack(701, 5, Method::Invite)), Some(Acknowledged { has_sdp: true }));
        assert!(!sender.owes_sdp() && sender.has_acknowledged_sdp() && !sender.is_waiting());
    }

    #[test]
    fn a_prack_for_anything_else_matches_nothing() {
        let mut sender = Sender::new(5, 700);
        sender.push(response("sdp"));
        for wrong in [rack(699, 5, Method::Invite), rack(700, 4, Method::Invite), rack(700, 5, Method::Update)] {
            assert_eq!(sender.acknowledge(&wrong), None);
        }
        assert!(sender.acknowledge(&rack(700, 5, Method::Invite)).is_some());
        assert_eq!(sender.acknowledge(&rack(700, 5, Method::Invite)), None, "once");
    }

    #[test]
    fn repetitions_double_without_a_ceiling_below_64_t1() {
        let mut sender = Sender::new(1, 1);
        assert!(sender.resend().is_none());
        sender.push(response(""));
        let waits: Vec<u64> = (0..6).map(|_| sender.resend().unwrap().1.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut sender = Sender::new(1, 1);
        for _ in 0..100 {
            sender.push(response("sdp"));
        }
        assert_eq!(sender.waiting.len(), MAX_WAITING);
        sender.finish();
        assert!(sender.is_waiting() && sender.owes_sdp());
    }

    #[test]
    fn the_caller_takes_responses_in_order_and_each_once() {
        let mut receiver = Receiver::default();
        assert!(receiver.take(17), "the first may have any number");
        assert!(!receiver.take(17), "repeated");
        assert!(!receiver.take(19), "its predecessor is missing");
        assert!(receiver.take(18) && receiver.take(19));
        let mut last = Receiver { last: Some(u32::MAX) };
        assert!(!last.take(0));
    }
}
