//! URIs of RFC 3261 §19.1 and of real peers.

use super::*;

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

#[test]
fn every_part_of_a_sip_uri_is_found() {
    let uri = uri(
        "sips:alice:s%3Aecret@[2001:db8::1]:5061;transport=tls;lr;ob=1:2?subject=a%20b&Replaces=x%40y%3Bto-tag%3D1",
    );
    let view = uri.view();
    assert_eq!((view.scheme(), view.user(), view.password()), (Scheme::Sips, Some("alice"), Some("s%3Aecret")));
    assert_eq!((view.host().unwrap().to_string().as_str(), view.port()), ("[2001:db8::1]", Some(5061)));
    assert_eq!(
        (view.parameter("TRANSPORT"), view.parameter("ob"), view.parameter("lr")),
        (Some("tls"), Some("1:2"), Some(""))
    );
    assert!(view.is_loose_router());
    assert_eq!(view.header("replaces").as_deref(), Some("x@y;to-tag=1"));
    assert_eq!(view.header("Subject").as_deref(), Some("a b"));
    assert_eq!(view.header("absent"), None);
}

#[test]
fn uris_of_other_schemes_keep_what_they_say() {
    let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
    assert_eq!((tel.view().scheme(), tel.view().user()), (Scheme::Tel, Some("+1-201-555-0123")));
    assert_eq!(tel.view().parameter("phone-context"), Some("example.com"));
    assert!(tel.view().host().is_none());
    let urn = uri("urn:service:sos");
    assert_eq!((urn.view().scheme(), urn.view().opaque()), (Scheme::Other("urn"), "service:sos"));
    assert_eq!(uri("SIP:a@b").view().scheme(), Scheme::Sip);
}

#[test]
fn oddities_of_real_peers_are_read() {
    assert_eq!(uri("sip:@192.0.2.1").view().user(), Some(""));
    assert_eq!(uri("sip:192.0.2.1:").view().port(), None);
    assert_eq!(uri("sip:501@pbx_1:5060;;x").view().parameter("x"), Some(""));
    assert_eq!(uri("sip:jürgen@example.com").view().user(), Some("jürgen"));
    assert_eq!(uri("sip:a@h?Replaces=id@host").view().header("Replaces").as_deref(), Some("id@host"));
}

#[test]
fn what_is_no_uri_is_refused() {
    for bad in [
        "",
        "sip:",
        "sip",
        ":a@b",
        "1sip:a@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:a@b:port",
        "sip:a@b:70000",
        "sip:a@[::1",
        "sip:a@[::1]x",
        "sip:a b@c",
        "sip:a@b\r\nX: y",
        "<sip:a@b>",
        "sip:a@b>",
        "sip:%zz@b",
        "sip:a%4@b",
        "tel:",
        "tel:call me",
        "tel:abcxyz",
        "mailto:",
        "sip:a@b c",
    ] {
        assert!(Uri::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Uri::parse(format!("sip:{}@b", "a".repeat(UriRef::MAX_BYTES))).is_err());
    assert!(Uri::parse(format!("sip:b{}", ";a".repeat(limits::URI_PARAMETERS))).is_ok());
    assert!(Uri::parse(format!("sip:b{}", ";a".repeat(limits::URI_PARAMETERS + 1))).is_err());
}

/// The examples of RFC 3261 §19.1.4, and more of the same kind.
#[test]
fn equality_follows_rfc_3261() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ("tel:+1-201-555-0123", "tel:+12015550123"),
        ("SIP:a@b", "sip:a@b"),
    ] {
        assert_eq!(uri(a), uri(b), "{a} and {b}");
        assert_eq!(uri(b), uri(a), "{b} and {a}");
    }
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@b", "sips:a@b"),
        ("sip:a@b", "sip:b"),
        ("sip:a:x@b", "sip:a@b"),
        ("tel:+1201;ext=1", "tel:+1201"),
        ("urn:a", "urn:b"),
    ] {
        assert_ne!(uri(a), uri(b), "{a} and {b}");
        assert_ne!(uri(b), uri(a), "{b} and {a}");
    }
}

#[test]
fn a_uri_with_a_name_twice_or_escaped_twice_equals_itself_and_its_first_value_counts() {
    for text in [
        "sip:a@b;x=1;x=2",
        "sip:a@b;%2561=1",
        "sip:a@b;user=phone;user=ip",
        "tel:+1201;ext=1;ext=2",
        "sip:a@b?h=1&h=2",
        "sip:a@b?%2568=1",
    ] {
        assert_eq!(uri(text), uri(text), "{text}");
    }
    assert_eq!(uri("sip:a@b;x=1;x=2"), uri("sip:a@b;x=1"));
    assert_ne!(uri("sip:a@b;x=1;x=2"), uri("sip:a@b;x=2"));
}

#[test]
fn uris_are_built_with_what_needs_escaping_escaped() {
    let base = Uri::sip("pbx.example.com", Some(5070)).unwrap();
    assert_eq!(base.as_str(), "sip:pbx.example.com:5070");
    assert_eq!(base.with_user("a b@c:d;e").as_str(), "sip:a%20b%40c%3Ad;e@pbx.example.com:5070");
    assert_eq!(base.with_user("x").with_user("+1555").as_str(), "sip:+1555@pbx.example.com:5070");
    let tcp = base.with_parameter("transport", Some("tcp"));
    assert_eq!(tcp.as_str(), "sip:pbx.example.com:5070;transport=tcp");
    assert_eq!(
        tcp.with_parameter("lr", None).with_parameter("Transport", Some("udp")).as_str(),
        "sip:pbx.example.com:5070;lr;Transport=udp"
    );
    let replacing = tcp.with_header("Replaces", "id@h;to-tag=1;from-tag=2");
    assert_eq!(
        replacing.as_str(),
        "sip:pbx.example.com:5070;transport=tcp?Replaces=id%40h%3Bto-tag%3D1%3Bfrom-tag%3D2"
    );
    assert_eq!(
        replacing.with_parameter("lr", None).view().header("Replaces").as_deref(),
        Some("id@h;to-tag=1;from-tag=2")
    );
    assert_eq!(replacing.with_header("Subject", "a b").view().headers().count(), 2);
    assert_eq!(replacing.to_request_uri().as_str(), "sip:pbx.example.com:5070;transport=tcp");
    assert_eq!(uri("sip:a@b;method=INVITE;lr?x=y").to_request_uri().as_str(), "sip:a@b;lr");
    assert_eq!(Uri::sip_address("[::1]:5060".parse().unwrap()).as_str(), "sip:[::1]:5060");
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5060, 0, 2);
    assert_eq!(Uri::sip_address(scoped.into()).as_str(), "sip:[fe80::1]:5060");
    assert!(Uri::sip("no host", None).is_err());
    assert_eq!(uri("tel:+1").with_user("x").as_str(), "tel:+1");
}

#[test]
fn a_debugged_uri_shows_no_number() {
    assert!(!format!("{:?}", uri("sip:+15551234567@192.0.2.1")).contains("555"));
    assert!(!format!("{:?}", uri("tel:+15551234567")).contains("555"));
}
