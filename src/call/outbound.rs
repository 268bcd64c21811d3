//! Calls of ours: from a gateway, somebody to call and an identity to the INVITE, and from there to a line.

use super::dial_policy::{Approved, Callee};
use super::gateway::{CallerIdentity, Gateway};
use super::line::{Line, LineError};
use crate::base::{Pii, Random};
use crate::media::{LegMode, Workers};
use crate::net::{Destination, NetError, Sip};
use crate::sip::event::Party;
use crate::sip::{HeaderValue, OutgoingInvite, Target, Uri};
use std::time::Duration;

/// How long a phone rings before we give up, unless the call says otherwise: five rings and a little.
pub const RING_FOR: Duration = Duration::from_secs(40);

/// A call to place.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Whom to call.
    pub to: Approved,
    /// Whom the call says it is from; `None` takes the gateway's identity.
    pub identity: Option<CallerIdentity>,
    /// Further header fields, after the gateway's.
    pub headers: Vec<(String, String)>,
    /// The dialog at the callee that the call replaces (RFC 3891).
    pub replaces: Option<String>,
    /// How long to let it ring.
    pub ring_for: Duration,
}

impl Outbound {
    /// A call as the gateway makes it.
    #[must_use]
    pub fn to(to: Approved) -> Self {
        Self { to, identity: None, headers: Vec::new(), replaces: None, ring_for: RING_FOR }
    }

    /// The Request-URI.
    #[must_use]
    pub fn target(&self, gateway: &Gateway) -> Uri {
        match self.to.callee() {
            Callee::Number(number) => gateway.domain.with_user(&gateway.terms.numbers.apply(number)),
            Callee::Address(uri) => uri.to_request_uri(),
        }
    }

    /// Where the INVITE goes by name: through the gateway, except to addresses elsewhere when it has no proxy for them.
    #[must_use]
    pub fn destinations(&self, gateway: &Gateway) -> Vec<Destination> {
        match self.to.callee() {
            Callee::Address(uri) if self.leaves(gateway) => {
                Destination::from_uri(&uri.view(), None).into_iter().collect()
            }
            _ => gateway.destinations.clone(),
        }
    }

    /// Whether the call goes past the gateway, straight to another host.
    fn leaves(&self, gateway: &Gateway) -> bool {
        let Callee::Address(uri) = self.to.callee() else { return false };
        let host = uri.view().host().map(|host| host.to_string().to_ascii_lowercase());
        gateway.route.is_empty() && !gateway.hosts().iter().any(|own| Some(own.to_ascii_lowercase()) == host)
    }

    /// The INVITE. Credentials go to the gateway's own host only.
    #[must_use]
    pub fn invite(&self, gateway: &Gateway, targets: Vec<Target>, offer: Vec<u8>) -> OutgoingInvite {
        let identity = self.identity.as_ref().unwrap_or(&gateway.identity);
        let own = Named::new(gateway, identity.number.as_ref(), identity.name.as_ref());
        let mut headers = identity_headers(gateway, identity, &own);
        headers.extend(gateway.headers.iter().chain(&self.headers).cloned());
        OutgoingInvite {
            target: self.target(gateway),
            targets,
            peer: Some(gateway.peer.clone()),
            from: if identity.is_private { anonymous() } else { Party { display: own.name, uri: own.uri } },
            contact_user: gateway.contact_user.clone(),
            headers,
            account: gateway.account.clone().filter(|_| !self.leaves(gateway)),
            sdp: offer,
            route: gateway.route.clone(),
            replaces: self.replaces.clone(),
            dialog: gateway.terms.dialog,
        }
    }
}

/// A name and an address at the gateway.
struct Named {
    name: Option<String>,
    uri: Uri,
}

impl Named {
    fn new(gateway: &Gateway, number: Option<&Pii<String>>, name: Option<&Pii<String>>) -> Self {
        let number = number.map_or(gateway.user.as_str(), |number| number.expose());
        Self {
            name: name.map(|name| name.expose().clone()),
            uri: gateway.own_address(&gateway.terms.numbers.apply(number)),
        }
    }
}

/// RFC 3323 §4.1.1.3.
fn anonymous() -> Party {
    let uri =
        Uri::parse("sip:anonymous@anonymous.invalid").unwrap_or_else(|_| Uri::sip_address(([0, 0, 0, 0], 0).into()));
    Party { display: Some("Anonymous".to_owned()), uri }
}

fn identity_headers(gateway: &Gateway, identity: &CallerIdentity, own: &Named) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    if identity.assert {
        let value = HeaderValue::name_addr(own.name.as_deref(), &own.uri, &[]);
        headers.push(("P-Asserted-Identity".to_owned(), value.to_text().into_owned()));
    }
    if identity.is_private {
        headers.push(("Privacy".to_owned(), "id".to_owned()));
    }
    headers.extend(identity.diverted_from.as_ref().map(|number| diversion(gateway, number.expose())));
    headers
}

/// The header that names the number a call was for before it was sent on (RFC 5806 §4).
pub(super) fn diversion(gateway: &Gateway, number: &str) -> (String, String) {
    let address = gateway.own_address(&gateway.terms.numbers.apply(number));
    let value = HeaderValue::name_addr(None, &address, &[("reason", Some("deflection"))]);
    ("Diversion".to_owned(), value.to_text().into_owned())
}

/// Places the call; the line is not answered yet. Names that cannot be resolved are passed over while others can.
///
/// # Errors
/// No name leads anywhere, no media, or the network side refuses.
pub(super) async fn place(
    sip: &Sip,
    workers: &Workers,
    gateway: &Gateway,
    call: &Outbound,
    mode: LegMode,
) -> Result<Line, LineError> {
    let targets = locate(sip, &call.destinations(gateway)).await?;
    let first = targets.first().copied();
    let ours = sip.run(move |endpoint, _| first.and_then(|target| endpoint.advertised_towards(target))).await?;
    let ours = ours.ok_or_else(|| NetError::from(crate::sip::CommandError::NoLocalAddress))?;
    let mut random = Random::system();
    let prepare = |offer| call.invite(gateway, targets, offer);
    let line = Line::place(sip, ours.ip(), workers, &gateway.terms.media, mode, &mut random, prepare).await?;
    Ok(line.with_digits(gateway.terms.digits))
}

async fn locate(sip: &Sip, destinations: &[Destination]) -> Result<Vec<Target>, LineError> {
    let (mut targets, mut failure) = (Vec::new(), None);
    for destination in destinations {
        match sip.locate(destination).await {
            Ok(found) => {
                targets.extend(found.into_iter().filter(|target| !targets.contains(target)).collect::<Vec<_>>())
            }
            Err(error) => {
                tracing::info!(host = destination.host, %error, "destination_not_located");
                failure = Some(error);
            }
        }
    }
    match failure {
        _ if !targets.is_empty() => Ok(targets),
        Some(error) => Err(error.into()),
        None => Err(LineError::NotDialled("this peer has no address that calls can go to: give `gateways`".to_owned())),
    }
}

#[cfg(test)]
mod tests;
