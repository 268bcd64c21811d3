//! REFER: RFC 3515. What a transfer of ours learns from responses and NOTIFYs, and the sipfrag in between.

use super::event::TransferOutcome;
use super::{Message, StatusCode, Uri};

/// The status of a `message/sipfrag` body (RFC 3420): `SIP/2.0 200 OK`, perhaps with headers after it.
///
/// Blanks before it, a missing line break and a missing phrase are tolerated, since several PBXs send them.
#[must_use]
pub fn sipfrag_status(body: &[u8]) -> Option<(StatusCode, String)> {
    let text = String::from_utf8_lossy(body.get(..body.len().min(512))?);
    let line = text.trim_start().lines().next()?.trim_end();
    let mut words = line.splitn(3, ' ');
    if !words.next()?.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let status = StatusCode::new(words.next()?.parse().ok()?)?;
    Some((status, words.next().unwrap_or_default().trim().to_owned()))
}

/// The body of a NOTIFY that reports `status`.
#[must_use]
pub fn sipfrag(status: StatusCode) -> Vec<u8> {
    format!("SIP/2.0 {status} {}\r\n", status.default_reason()).into_bytes()
}

/// Whether a Refer-To asks for a call: a SIP or telephone URI without another method (RFC 3515 §2.1).
#[must_use]
pub fn is_invitation(target: &Uri) -> bool {
    let uri = target.view();
    uri.parameter("method").is_none_or(|method| method.eq_ignore_ascii_case("INVITE"))
        && (uri.is_sip() || uri.scheme() == super::uri::Scheme::Tel)
}

/// News of a transfer of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferNews {
    /// Still under way.
    Progress(u16),
    /// Decided.
    Finished(TransferOutcome),
}

/// A transfer that we asked the peer for. It is over with the first [`TransferNews::Finished`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transfer {
    /// CSeq number of the REFER, or below it when a challenge made us send it again.
    number: u32,
    last_progress: u16,
}

impl Transfer {
    /// Asked for by the REFER with this CSeq number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self { number, last_progress: 0 }
    }

    /// The REFER got a final response. 2xx only means that the peer will try (and with `Refer-Sub: false`, RFC 4488,
    /// that it will not report): the time-out or the peer's BYE decides then.
    pub fn handle_response(&mut self, status: StatusCode, phrase: &str) -> Option<TransferNews> {
        (!status.is_success()).then(|| refused(status, phrase))
    }

    /// A NOTIFY for the subscription of the REFER came; it may even come before the response to the REFER. One whose
    /// `id` (RFC 3515 §2.4.6) names an earlier REFER is no news of this.
    pub fn handle_notify(&mut self, notify: &Message<'_>) -> Option<TransferNews> {
        let event = notify.tagged(super::HeaderName::Event).ok().flatten();
        let id = event.and_then(|event| event.params.value("id")?.parse::<u32>().ok());
        if id.is_some_and(|id| id < self.number) {
            return None;
        }
        let terminated = notify
            .tagged(super::HeaderName::SubscriptionState)
            .ok()
            .flatten()
            .is_some_and(|state| state.is("terminated"));
        match sipfrag_status(notify.body()) {
            Some((status, _)) if status.is_success() => Some(TransferNews::Finished(TransferOutcome::Accepted)),
            Some((status, phrase)) if status.is_final() => Some(refused(status, &phrase)),
            _ if terminated => Some(TransferNews::Finished(TransferOutcome::Refused {
                code: self.last_progress,
                phrase: "the peer ended its report without a result".to_owned(),
            })),
            Some((status, _)) => {
                let is_news = self.last_progress != status.code();
                self.last_progress = status.code();
                is_news.then(|| TransferNews::Progress(status.code()))
            }
            None => None,
        }
    }
}

fn refused(status: StatusCode, phrase: &str) -> TransferNews {
    TransferNews::Finished(TransferOutcome::Refused { code: status.code(), phrase: phrase.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(state: &str, body: &str) -> Vec<u8> {
        format!(
            "NOTIFY sip:us@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 NOTIFY\r\nEvent: refer\r\nSubscription-State: {state}\r\n\
             Content-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn news(transfer: &mut Transfer, state: &str, body: &str) -> Option<TransferNews> {
        transfer.handle_notify(&Message::parse(&notify(state, body)).unwrap())
    }

    #[test]
    fn sipfrags_of_real_peers_are_read() {
        for (body, code, phrase) in [
            ("SIP/2.0 200 OK\r\n", 200, "OK"),
            ("SIP/2.0 100 Trying", 100, "Trying"),
            ("SIP/2.0 486 Busy Here\r\nTo: <sip:a@b>\r\n", 486, "Busy Here"),
            ("\r\nSIP/2.0 503\r\n", 503, ""),
        ] {
            assert_eq!(sipfrag_status(body.as_bytes()), Some((StatusCode::new(code).unwrap(), phrase.to_owned())));
        }
        for bad in ["", "SIP/2.0", "SIP/2.0 99 x", "SIP/2.0 abc", "HTTP/1.1 200 OK", "SIP/3.0 200 OK"] {
            assert_eq!(sipfrag_status(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(sipfrag(StatusCode::RINGING), b"SIP/2.0 180 Ringing\r\n");
    }

    #[test]
    fn accepted_with_202_is_not_yet_a_success() {
        let mut t = Transfer::default();
        assert_eq!(t.handle_response(StatusCode::ACCEPTED, "Accepted"), None);
        assert_eq!(news(&mut t, "active;expires=60", "SIP/2.0 100 Trying"), Some(TransferNews::Progress(100)));
        assert_eq!(news(&mut t, "active;expires=59", "SIP/2.0 100 Trying"), None, "the same again is no news");
        assert_eq!(news(&mut t, "active", "SIP/2.0 180 Ringing"), Some(TransferNews::Progress(180)));
        let end = news(&mut t, "terminated;reason=noresource", "SIP/2.0 200 OK");
        assert_eq!(end, Some(TransferNews::Finished(TransferOutcome::Accepted)));
    }

    #[test]
    fn a_refusal_comes_from_the_response_or_from_the_notify() {
        let busy = TransferOutcome::Refused { code: 486, phrase: "Busy Here".to_owned() };
        let end = news(&mut Transfer::default(), "terminated", "SIP/2.0 486 Busy Here");
        assert_eq!(end, Some(TransferNews::Finished(busy)));
        let declined = TransferOutcome::Refused { code: 603, phrase: "Decline".to_owned() };
        let end = Transfer::default().handle_response(StatusCode::DECLINE, "Decline");
        assert_eq!(end, Some(TransferNews::Finished(declined)));
    }

    #[test]
    fn a_report_that_ends_without_result_is_a_refusal() {
        let mut t = Transfer::default();
        let end = news(&mut t, "terminated;reason=timeout", "SIP/2.0 100 Trying");
        assert!(matches!(end, Some(TransferNews::Finished(TransferOutcome::Refused { .. }))));
        let end = news(&mut t, "terminated;reason=timeout", "");
        assert!(matches!(end, Some(TransferNews::Finished(TransferOutcome::Refused { .. }))));
    }
}
