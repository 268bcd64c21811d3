//! Dialogs: RFC 3261 §12. Identity, sequence numbers, route set, and the requests made from them.

pub mod route;

use super::config::Transport;
use super::header::{HeaderName, HeaderValue};
use super::{Fault, Message, Method, Request, Uri};
use std::net::SocketAddr;

/// Hops a request of ours may take, RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u32 = 70;

/// The way to a peer: transport and both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Transport.
    pub transport: Transport,
    /// Our socket.
    pub local: SocketAddr,
    /// The address we give in Via and Contact.
    pub advertised: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// The state of one dialog as one side keeps it. Without a remote tag it is what an INVITE of ours starts from.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our From or To, with our tag.
    pub local_party: HeaderValue,
    /// Our tag.
    pub local_tag: Box<str>,
    /// The peer's To or From, with its tag if there is one.
    pub remote_party: HeaderValue,
    /// The peer's tag; empty while unknown, and for a peer of RFC 2543.
    pub remote_tag: Box<str>,
    /// CSeq number of our last request.
    pub local_cseq: u32,
    /// CSeq number of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// Route set: URIs in the order our requests visit them.
    pub route_set: Vec<Uri>,
    /// Where requests of ours are meant for: the peer's Contact.
    pub remote_target: Uri,
    /// Our Contact.
    pub contact: HeaderValue,
    /// The way its messages take.
    pub path: Path,
    /// Whether we made the Call-ID: the side with the longer glare back-off (RFC 3261 §14.1).
    pub owns_call_id: bool,
}

impl Dialog {
    /// The dialog that a request creates when we accept it (RFC 3261 §12.1.1). `path.remote` is where it came from.
    ///
    /// # Errors
    /// When a header that the dialog needs is missing or malformed; the fault says which status answers it.
    pub fn from_request(
        request: &Message<'_>,
        local_tag: &str,
        contact: HeaderValue,
        path: Path,
    ) -> Result<Self, Fault> {
        let (from, to) = (request.from()?, request.to()?);
        let target = request.contact()?.ok_or_else(|| missing(HeaderName::Contact))?.uri()?.to_owned();
        let mut route_set = Vec::new();
        for route in request.addresses(HeaderName::RecordRoute)? {
            route_set.push(route.uri()?.to_owned());
        }
        let mut dialog = Self {
            call_id: request.call_id()?.into(),
            local_party: HeaderValue::echo(&[to.raw(), b";tag=", local_tag.as_bytes()].concat()),
            local_tag: local_tag.into(),
            remote_party: HeaderValue::echo(from.raw()),
            remote_tag: from.tag().unwrap_or_default().into(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            route_set,
            remote_target: target,
            contact,
            path,
            owns_call_id: false,
        };
        dialog.aim(path.remote);
        Ok(dialog)
    }

    /// The dialog that a response to our INVITE creates (RFC 3261 §12.1.2), from the state the INVITE was made of.
    ///
    /// # Errors
    /// When the response lacks what the dialog needs.
    pub fn from_response(&self, response: &Message<'_>) -> Result<Self, Fault> {
        let to = response.to()?;
        let mut dialog = self.clone();
        dialog.remote_party = HeaderValue::echo(to.raw());
        dialog.remote_tag = to.tag().unwrap_or_default().into();
        dialog.route_set.clear();
        for route in response.addresses(HeaderName::RecordRoute)?.iter().rev() {
            dialog.route_set.push(route.uri()?.to_owned());
        }
        dialog.refresh_target(response);
        dialog.aim(self.path.remote);
        Ok(dialog)
    }

    /// Takes the Contact of a target refresh (re-INVITE, UPDATE, their 2xx) as the new remote target, RFC 3261 §12.2.
    /// A message without a usable Contact changes nothing.
    pub fn refresh_target(&mut self, message: &Message<'_>) {
        if let Ok(Some(contact)) = message.contact()
            && let Ok(uri) = contact.uri()
            && uri.is_sip()
        {
            self.remote_target = uri.to_owned();
        }
    }

    /// Points `path.remote` at the next hop, falling back on `heard_from`, the address this dialog's messages came from. Over
    /// TLS it is always that one: nobody asked for a certificate of the address in a Contact.
    pub fn aim(&mut self, heard_from: SocketAddr) {
        if self.path.transport == Transport::Tls {
            self.path.remote = heard_from;
            return;
        }
        self.path.remote = route::next_hop(&self.route_set, &self.remote_target, heard_from);
    }

    /// Whether a request from the peer with this number comes in order; notes the number if so (RFC 3261 §12.2.2).
    pub fn accept_cseq(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// Whether Call-ID and both tags of a message from the peer are this dialog's.
    #[must_use]
    pub fn matches_request(&self, request: &Message<'_>) -> bool {
        let tag = |party: Result<super::header::NameAddr<'_>, Fault>, ours: &str| {
            party.is_ok_and(|p| p.tag().unwrap_or_default() == ours)
        };
        request.call_id().is_ok_and(|id| *id == *self.call_id)
            && tag(request.from(), &self.remote_tag)
            && tag(request.to(), &self.local_tag)
    }

    /// A request within the dialog, with the next CSeq number and without Via (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.saturating_add(1);
        let number = self.local_cseq;
        self.request_numbered(method, number)
    }

    /// The ACK of a 2xx to the INVITE with this CSeq number (RFC 3261 §13.2.2.4), without Via.
    #[must_use]
    pub fn ack(&self, number: u32) -> Request {
        self.request_numbered(Method::Ack, number)
    }

    fn request_numbered(&self, method: Method, number: u32) -> Request {
        let (uri, routes) = route::request_uri_and_routes(&self.route_set, &self.remote_target);
        let has_contact =
            matches!(method, Method::Invite | Method::Update | Method::Refer | Method::Notify | Method::Subscribe);
        let mut request = Request::new(method, uri);
        let cseq = format!("{number} {}", request.method);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, HeaderValue::from(MAX_FORWARDS));
        for route in routes {
            headers.push(HeaderName::Route, HeaderValue::cleaned(&format!("<{route}>")));
        }
        headers.push(HeaderName::From, self.local_party.clone());
        headers.push(HeaderName::To, self.remote_party.clone());
        headers.push(HeaderName::CallId, HeaderValue::cleaned(&self.call_id));
        headers.push(HeaderName::CSeq, HeaderValue::cleaned(&cseq));
        if has_contact {
            headers.push(HeaderName::Contact, self.contact.clone());
        }
        request
    }
}

fn missing(header: HeaderName) -> Fault {
    Fault { offset: 0, expected: "the header", header: Some(header), status: super::StatusCode::BAD_REQUEST }
}

#[cfg(test)]
mod tests;
