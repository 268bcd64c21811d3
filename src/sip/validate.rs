//! Whether a datagram is a message a user agent may act on (RFC 3261 §8.2, §8.1.3): accept, refuse with a code, or drop.

use super::header::{CSeq, HeaderName, NameAddr, Via};
use super::limits;
use super::message::Message;
use super::method::Method;
use super::parse::Fault;
use super::status::StatusCode;
use super::uri::Scheme;

/// The fields every message must have, read and found sound. Having one means that the checks of this module passed.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The top Via.
    pub via: Via<'a>,
    /// Who claims to send; its URI is well formed.
    pub from: NameAddr<'a>,
    /// Who is meant; its URI is well formed.
    pub to: NameAddr<'a>,
    /// The Call-ID.
    pub call_id: &'a str,
    /// The CSeq; in a request, its method is the request's.
    pub cseq: CSeq,
}

/// What to do with a datagram.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one; boxing it would cost an allocation per message"
)]
#[derive(Clone, Debug)]
pub enum Verdict<'a> {
    /// Act on it.
    Accept {
        /// The message.
        message: Message<'a>,
        /// Its mandatory fields.
        head: Head<'a>,
    },
    /// Answer with [`Fault::status`]. The message is what could be read; [`super::Response::to_request`] takes it.
    Reject {
        /// The request, perhaps incomplete, but answerable.
        request: Message<'a>,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Say nothing: a faulty response or ACK, or too little understood to answer.
    Drop {
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Reads and checks one datagram.
#[must_use]
pub fn judge(datagram: &[u8]) -> Verdict<'_> {
    let (message, fault) = match Message::parse(datagram) {
        Ok(message) => {
            let checked = if message.is_request() { request_head(&message) } else { response_head(&message) };
            match checked {
                Ok(head) => return Verdict::Accept { message, head },
                Err(fault) => (Some(message), fault),
            }
        }
        Err(error) => (error.salvage.map(|m| *m), error.fault),
    };
    match message {
        Some(request) if request.is_answerable() => Verdict::Reject { request, fault },
        _ => Verdict::Drop { fault },
    }
}

/// Checks a request as a UAS must before anything else: mandatory fields once and sound, at most
/// [`limits::VIA_VALUES`] Vias, the CSeq's method, a Request-URI of a known scheme and without headers.
///
/// Not checked, for others to answer: whether the method is served (405), extensions (420), body types (415), loops.
/// Max-Forwards may be absent or 0: RFC 2543 peers leave it out, and a UAS is where forwarding ends.
///
/// # Errors
/// The fault to answer (or, for an ACK, to drop the request for).
pub fn request_head<'a>(message: &Message<'a>) -> Result<Head<'a>, Fault> {
    let head = head(message)?;
    if message.method() != Some(&head.cseq.method) {
        return Err(Fault::in_field(HeaderName::CSeq, "the method of the request line"));
    }
    let uri = message.request_uri()?;
    if let Scheme::Other(_) = uri.scheme() {
        return Err(Fault::new(0, "a sip, sips or tel Request-URI").answered(StatusCode::UNSUPPORTED_URI_SCHEME));
    }
    if uri.headers().next().is_some() {
        return Err(Fault::new(0, "a Request-URI without headers"));
    }
    message.max_forwards()?;
    if matches!(
        message.method(),
        Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Register | Method::Update)
    ) {
        message.contacts()?;
    }
    if matches!(message.method(), Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)) {
        message.addresses(HeaderName::RecordRoute)?;
    }
    if !message.body().is_empty() {
        message.content_type()?;
    }
    Ok(head)
}

/// Checks a response as a UAC must: mandatory fields once and sound, and exactly one Via, since a second one means that
/// it was meant for somebody else (RFC 3261 §8.1.3.3).
///
/// # Errors
/// The fault to drop the response for.
pub fn response_head<'a>(message: &Message<'a>) -> Result<Head<'a>, Fault> {
    let head = head(message)?;
    if message.elements(HeaderName::Via).nth(1).is_some() {
        return Err(Fault::in_field(HeaderName::Via, "one value in a response to us"));
    }
    Ok(head)
}

fn head<'a>(message: &Message<'a>) -> Result<Head<'a>, Fault> {
    let mut vias = message.vias();
    let via = vias.next().unwrap_or_else(|| Err(Fault::in_field(HeaderName::Via, "the header")))?;
    for (others, other) in vias.enumerate() {
        other?;
        if others.saturating_add(2) > limits::VIA_VALUES {
            return Err(Fault::in_field(HeaderName::Via, "fewer hops").answered(StatusCode::TOO_MANY_HOPS));
        }
    }
    let (from, to) = (message.from()?, message.to()?);
    from.uri().map_err(|f| f.of(HeaderName::From))?;
    to.uri().map_err(|f| f.of(HeaderName::To))?;
    Ok(Head { via, from, to, call_id: message.call_id()?, cseq: message.cseq()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "OPTIONS sip:agent@192.0.2.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:a@192.0.2.9>;tag=1\r\nTo: <sip:agent@192.0.2.1>\r\n\
        Call-ID: c1@192.0.2.9\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

    fn refused_with(message: &str) -> Option<u16> {
        match judge(message.as_bytes()) {
            Verdict::Reject { fault, .. } => Some(fault.status.code()),
            Verdict::Accept { .. } => Some(0),
            Verdict::Drop { .. } => None,
        }
    }

    #[test]
    fn a_sound_request_is_accepted_with_its_mandatory_fields() {
        let Verdict::Accept { message, head } = judge(SOUND.as_bytes()) else { panic!("not accepted") };
        assert_eq!(message.method(), Some(&Method::Options));
        assert_eq!((head.call_id, head.cseq.number, head.via.branch()), ("c1@192.0.2.9", 7, Some("z9hG4bK1")));
    }

    #[test]
    fn each_fault_has_its_answer() {
        for (from, to, expected) in [
            ("7 OPTIONS", "7 INVITE", Some(400)),
            ("7 OPTIONS", "4294967296 OPTIONS", Some(400)),
            ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", Some(505)),
            ("SIP/2.0\r\nVia", "sip/2.0\r\nVia", Some(0)),
            ("OPTIONS sip:agent@192.0.2.1", "OPTIONS mailto:agent@192.0.2.1", Some(416)),
            ("OPTIONS sip:agent@192.0.2.1", "OPTIONS tel:+15551234", Some(0)),
            ("OPTIONS sip:agent@192.0.2.1", "OPTIONS sip:agent@192.0.2.1?Subject=x", Some(400)),
            ("OPTIONS sip:agent@192.0.2.1", "OPTIONS sip:agent@192.0.2.1:99999", Some(400)),
            ("Max-Forwards: 70", "Max-Forwards: 256", Some(400)),
            ("Max-Forwards: 70", "Max-Forwards: 0", Some(0)),
            ("Max-Forwards: 70\r\n", "", Some(0)),
            ("Content-Length: 0", "Content-Length: 1", Some(400)),
            ("Content-Length: 0", "Content-Length: -1", Some(400)),
            ("Content-Length: 0", "l: 0\r\nContent-Length: 0", Some(400)),
            ("Content-Length: 0", "no colon here", Some(400)),
            ("Content-Length: 0", "X: a\rb", Some(400)),
            ("Content-Length: 0", "X: a\0b", Some(400)),
            ("Call-ID: c1@192.0.2.9\r\n", "", None),
            ("Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n", "", None),
            ("<sip:a@192.0.2.9>;tag=1", "<sip:a@192.0.2.9;tag=1", Some(400)),
        ] {
            assert!(SOUND.contains(from));
            assert_eq!(refused_with(&SOUND.replace(from, to)), expected, "{to:?}");
        }
    }

    #[test]
    fn a_malformed_ack_or_response_is_dropped() {
        let ack = SOUND.replace("OPTIONS", "ACK").replace("Max-Forwards: 70", "Max-Forwards: 999");
        assert_eq!(refused_with(&ack), None);
        let response = SOUND.replace("OPTIONS sip:agent@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK");
        assert_eq!(refused_with(&response), Some(0));
        assert_eq!(refused_with(&response.replace("Via", "Via: SIP/2.0/UDP other;branch=z9hG4bK2\r\nVia")), None);
        assert_eq!(refused_with(&response.replace("200 OK", "2000 OK")), None);
    }

    #[test]
    fn more_hops_than_the_limit_are_refused() {
        let vias =
            |n: usize| SOUND.replacen("Via", &format!("{}Via", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n".repeat(n)), 1);
        assert_eq!(refused_with(&vias(limits::VIA_VALUES - 1)), Some(0));
        assert_eq!(refused_with(&vias(limits::VIA_VALUES)), Some(483));
        assert_eq!(
            refused_with(&SOUND.replacen(
                "z9hG4bK1",
                &format!("z9hG4bK1{}", ", SIP/2.0/UDP h".repeat(limits::VIA_VALUES)),
                1
            )),
            Some(483)
        );
    }
}
