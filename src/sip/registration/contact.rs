//! Our Contact as a registrar has it: how it is written, compared, and read out of a response.

use crate::sip::config::Transport;
use crate::sip::dialog::Path;
use crate::sip::header::{Contacts, HeaderName};
use crate::sip::{Message, Uri};
use std::net::SocketAddr;

/// Hops of a Service-Route: each goes into every call's INVITE.
const MAX_SERVICE_ROUTE: usize = 8;

/// Stale bindings removed in one request.
const MAX_REMOVED: usize = 8;

/// Our Contact URI on a path.
#[must_use]
pub fn contact_uri(user: &str, address: SocketAddr, path: Path) -> Uri {
    let uri = Uri::sip_address(address).with_user(user);
    match path.transport {
        Transport::Udp => uri,
        reliable => uri.with_parameter("transport", Some(&reliable.via_name().to_ascii_lowercase())),
    }
}

/// User, host and port are what makes a binding here; registrars add parameters.
pub(super) fn same_binding(a: &Uri, b: &Uri) -> bool {
    let (a, b) = (a.view(), b.view());
    a.user() == b.user() && a.host() == b.host() && a.port().unwrap_or(5060) == b.port().unwrap_or(5060)
}

/// The registrar's URI as the Request-URI of a REGISTER: "userinfo MUST NOT be present" (§10.2); FRITZ!Box insists.
pub(super) fn without_user(registrar: &Uri) -> Uri {
    let view = registrar.view();
    let Some(host) = view.host() else { return registrar.clone() };
    let bare = Uri::sip(&host.to_string(), view.port()).unwrap_or_else(|_| registrar.clone());
    match view.parameter("transport") {
        Some(transport) => bare.with_parameter("transport", Some(transport)),
        None => bare,
    }
}

/// Our address as the registrar saw it: `received` and `rport` of our Via (RFC 3581).
pub(super) fn seen_address(response: &Message<'_>) -> Option<SocketAddr> {
    let via = response.via().ok()?;
    let address = via.received().or_else(|| via.host().address())?;
    let port = via.rport().flatten().or_else(|| via.port())?;
    (!address.is_unspecified() && port != 0).then(|| SocketAddr::new(address, port))
}

/// Bindings in a 2xx that carry the user of `ours` at another address: remains of a crash or of an earlier NAT address.
pub(super) fn stale_bindings(response: &Message<'_>, ours: &Uri) -> Vec<Uri> {
    let Ok(Contacts::Addresses(contacts)) = response.contacts() else { return Vec::new() };
    contacts
        .iter()
        .filter_map(|c| c.uri().ok().map(|uri| uri.to_owned()))
        .filter(|uri| uri.view().is_sip() && uri.view().user() == ours.view().user() && !same_binding(uri, ours))
        .take(MAX_REMOVED)
        .collect()
}

/// The lifetime of the binding `ours` in a 2xx, in seconds.
pub(super) fn granted_s(response: &Message<'_>, ours: &Uri) -> Option<u32> {
    let Ok(Contacts::Addresses(contacts)) = response.contacts() else { return None };
    let own = contacts.iter().find(|c| c.uri().is_ok_and(|uri| same_binding(&uri.to_owned(), ours)))?;
    own.expires_s()
}

/// The Service-Route of a 2xx (RFC 3608 §5). Hops that are no SIP addresses, or too many of them, make none.
pub(super) fn service_route(response: &Message<'_>) -> Vec<Uri> {
    let hops = response.addresses(HeaderName::ServiceRoute).unwrap_or_default();
    if hops.len() > MAX_SERVICE_ROUTE {
        return Vec::new();
    }
    let uris = hops.iter().map(|hop| hop.uri().ok().filter(|uri| uri.is_sip()).map(|uri| uri.to_owned()));
    uris.collect::<Option<_>>().unwrap_or_default()
}
