//! The challenges that a registrar made and that later REGISTERs answer unasked (RFC 7616 §3.6), so that a refresh does
//! not cost a 401 each time.

use crate::base::Random;
use crate::sip::digest::{self, Authority, Challenge, Credentials};
use crate::sip::header::HeaderName;
use crate::sip::{Message, Request};

/// Refreshes in a row whose credentials the registrar wanted anew: after so many its nonces are taken for short-lived,
/// and each REGISTER starts without.
const REFUSALS: u8 = 2;

#[derive(Clone, Debug)]
struct Known {
    authority: Authority,
    challenge: Challenge,
    /// How often the nonce was used.
    count: u32,
}

/// At most one challenge of the registrar and one of a proxy before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Challenges {
    known: Vec<Known>,
    /// The REGISTER under way carries credentials that nobody asked for.
    is_unasked: bool,
    refusals: u8,
}

impl Challenges {
    /// Puts the answers to what is known into a request, each with the next nonce count.
    pub(super) fn answer(&mut self, request: &mut Request, credentials: &Credentials, random: &mut Random) {
        self.is_unasked = !self.known.is_empty();
        for known in &mut self.known {
            known.count = known.count.saturating_add(1);
            let cnonce = random.hex(32);
            let uri = request.uri.as_str();
            let (method, body) = (&request.method, &request.body);
            let value = digest::answer(&known.challenge, credentials, method, uri, body, known.count, &cnonce);
            request.headers.set(known.authority.credentials_header(), value);
        }
    }

    /// A challenge was answered for the first time.
    pub(super) fn note(&mut self, authority: Authority, challenge: Challenge) {
        if std::mem::take(&mut self.is_unasked) {
            self.refusals = self.refusals.saturating_add(1);
        }
        self.known.retain(|known| known.authority != authority);
        if self.refusals < REFUSALS {
            self.known.push(Known { authority, challenge, count: 1 });
        } else {
            self.known.clear();
        }
    }

    /// The REGISTER was taken: what it answered may be answered again, with the nonce that the registrar gives next.
    pub(super) fn confirm(&mut self, response: &Message<'_>) {
        if std::mem::take(&mut self.is_unasked) {
            self.refusals = 0;
        }
        let next = response.value(HeaderName::AuthenticationInfo).and_then(digest::next_nonce);
        let ours = self.known.iter_mut().find(|known| known.authority == Authority::Server);
        if let (Some(nonce), Some(known)) = (next, ours) {
            known.challenge.nonce = nonce;
            known.count = 0;
        }
    }

    /// The REGISTER was refused. True when it carried credentials that nobody had asked for: it may go again without.
    pub(super) fn forget(&mut self) -> bool {
        self.known.clear();
        std::mem::take(&mut self.is_unasked)
    }
}
