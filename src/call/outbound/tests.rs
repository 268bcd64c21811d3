use super::*;
use crate::call::PeerTerms;
use crate::sip::{Account, Transport};

fn gateway() -> Gateway {
    let destination =
        |host: &str| Destination { host: host.into(), port: None, transport: Some(Transport::Tcp), tls: None };
    Gateway {
        destinations: vec![destination("a.carrier.example"), destination("b.carrier.example")],
        domain: Uri::parse("sip:carrier.example").unwrap(),
        account: Some(Account::new("us", "secret")),
        contact_user: Some("us-1234".into()),
        headers: vec![("X-Token".into(), "t".into())],
        ..Gateway::back_to("carrier", Transport::Udp, ([192, 0, 2, 7], 5060).into(), "+15550100", PeerTerms::default())
    }
}

fn invite(identity: CallerIdentity, to: &str) -> OutgoingInvite {
    let call = Outbound { identity: Some(identity), ..Outbound::to(Approved::by_operator(to).unwrap()) };
    call.invite(&gateway(), vec![Target::udp(([192, 0, 2, 7], 5060).into())], b"v=0".to_vec())
}

fn header<'a>(invite: &'a OutgoingInvite, name: &str) -> Option<&'a str> {
    invite.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_number_is_called_at_the_gateway_s_domain_from_its_main_number() {
    let invite = invite(CallerIdentity::default(), "+15550134");
    assert_eq!(invite.target.as_str(), "sip:+15550134@carrier.example");
    assert_eq!(invite.from, Party { display: None, uri: Uri::parse("sip:+15550100@carrier.example").unwrap() });
    assert_eq!(invite.contact_user.as_deref(), Some("us-1234"));
    assert_eq!(invite.peer.as_deref(), Some("carrier"));
    assert!(invite.account.is_some());
    assert_eq!(invite.headers, [("X-Token".to_owned(), "t".to_owned())]);
}

#[test]
fn the_caller_s_own_number_and_name_are_shown_and_asserted_where_wanted() {
    let identity = CallerIdentity {
        number: Some(Pii::new("+15550177".into())),
        name: Some(Pii::new("Anna \"A\" Berg".into())),
        assert: true,
        diverted_from: Some(Pii::new("+15550100".into())),
        ..CallerIdentity::default()
    };
    let invite = invite(identity, "20");
    assert_eq!(invite.from.uri.as_str(), "sip:+15550177@carrier.example");
    assert_eq!(invite.from.display.as_deref(), Some("Anna \"A\" Berg"));
    assert_eq!(header(&invite, "P-Asserted-Identity"), Some("\"Anna \\\"A\\\" Berg\" <sip:+15550177@carrier.example>"));
    assert_eq!(header(&invite, "Diversion"), Some("<sip:+15550100@carrier.example>;reason=deflection"));
    assert_eq!(header(&invite, "Privacy"), None);
}

#[test]
fn a_private_call_shows_no_number_but_in_the_asserted_identity() {
    let number = Some(Pii::new("+15550177".to_owned()));
    for assert in [false, true] {
        let identity = CallerIdentity { number: number.clone(), is_private: true, assert, ..CallerIdentity::default() };
        let invite = invite(identity, "20");
        assert_eq!(invite.from.uri.as_str(), "sip:anonymous@anonymous.invalid");
        assert_eq!(header(&invite, "Privacy"), Some("id"));
        let asserted = header(&invite, "P-Asserted-Identity");
        assert_eq!(asserted, assert.then_some("<sip:+15550177@carrier.example>"));
    }
}

#[test]
fn an_address_elsewhere_is_called_directly_and_without_our_credentials() {
    let call = Outbound::to(Approved::by_operator("sip:anna@198.51.100.9;transport=tcp").unwrap());
    let destinations = call.destinations(&gateway());
    assert_eq!(destinations.len(), 1);
    assert_eq!((destinations[0].host.as_str(), destinations[0].transport), ("198.51.100.9", Some(Transport::Tcp)));
    assert!(call.invite(&gateway(), Vec::new(), Vec::new()).account.is_none());

    let own = Outbound::to(Approved::by_operator("sip:anna@Carrier.Example").unwrap());
    assert_eq!(own.destinations(&gateway()).len(), 2, "at the gateway's own host: all its addresses, in order");
    assert!(own.invite(&gateway(), Vec::new(), Vec::new()).account.is_some());

    let proxied = Gateway { route: vec![Uri::parse("sip:proxy.example;lr").unwrap()], ..gateway() };
    assert_eq!(call.destinations(&proxied).len(), 2, "an outbound proxy takes every call");
}
