//! The 49 torture messages of RFC 4475 and the 12 of RFC 5118: what is read of each, or how it is refused.

#[path = "rfc4475/generator.rs"]
mod generator;

use generator::{Torture, all, ipv6};
use offhook::sip::digest::{Authority, Authorization};
use offhook::sip::header::Contacts;
use offhook::sip::uri::Scheme;
use offhook::sip::{Head, HeaderName, Message, Method, Response, StatusCode, Verdict, judge};

/// What is expected of a message.
enum Expected {
    /// Accepted, and then read as the function checks.
    Read(fn(&Message<'_>, &Head<'_>)),
    /// Refused with this code.
    Refused(u16),
    /// Dropped without an answer.
    Dropped,
}
use Expected::{Dropped, Read, Refused};

fn contact_uris(message: &Message<'_>) -> Vec<String> {
    match message.contacts().unwrap() {
        Contacts::Star => panic!("no star here"),
        Contacts::Addresses(list) => list.iter().map(|c| c.uri().unwrap().as_str().to_owned()).collect(),
    }
}

/// The verdict table. Where the RFC leaves a choice, the reason for ours stands beside it.
const VERDICTS: [(&str, Expected); 49] = [
    (
        "wsinv",
        Read(|m, head| {
            assert_eq!((m.method(), m.body().len()), (Some(&Method::Invite), 150));
            assert_eq!((head.to.tag(), head.from.tag()), (Some("1918181833n"), Some("98asjd8")));
            assert_eq!(head.from.display_name(), "J Rosenberg \\\"");
            assert_eq!(m.max_forwards().unwrap(), Some(68));
            assert_eq!(head.cseq.to_string(), "9 INVITE");
            assert_eq!(m.text(HeaderName::Subject).as_deref(), Some(""));
            assert_eq!(
                m.values_spelled("newfangledheader").map(offhook::sip::message::unfolded).next().as_deref(),
                Some("newfangled value continued newfangled value")
            );
            assert_eq!(m.values_spelled("UnknownHeaderWithUnusualValue").next(), Some(&b";;,,;;,;"[..]));
            let vias: Vec<_> = m
                .vias()
                .map(|v| {
                    let v = v.unwrap();
                    (v.transport(), v.host().to_string(), v.branch().unwrap())
                })
                .collect();
            assert_eq!(
                vias,
                [
                    ("UDP", "192.0.2.2".into(), "390skdjuw"),
                    ("TCP", "spindle.example.com".into(), "z9hG4bK9ikj8"),
                    ("UDP", "192.168.255.111".into(), "z9hG4bK30239")
                ]
            );
            assert!(!head.via.has_magic_cookie());
            let contact = m.contact().unwrap().unwrap();
            assert_eq!(contact.display_name(), "Quoted string \"\"");
            assert_eq!(
                (contact.params().value("newparam"), contact.params().value("q")),
                (Some("newvalue"), Some("0.33"))
            );
            assert_eq!(contact.params().find("secondparam"), Some(None));
            let route = m.addresses(HeaderName::Route).unwrap()[0].uri().unwrap();
            assert!(route.is_loose_router());
            assert_eq!(route.parameter("unknownwith"), Some("value"));
        }),
    ),
    (
        "intmeth",
        Read(|m, head| {
            assert_eq!(m.method().unwrap().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
            let uri = m.request_uri().unwrap();
            assert_eq!(uri.user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
            assert_eq!(uri.password(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
            assert_eq!(head.via.branch(), Some("z9hG4bK-.!%66*_+`'~"));
            assert_eq!(head.to.display_name(), "BEL: NUL: DEL:", "control characters go no further");
            assert_eq!(head.from.display_name(), "token1~` token2'+_ token3*%!.-");
            assert_eq!(head.from.tag(), Some("_token~1'+`*%!-."));
            assert_eq!(head.from.params().unquoted("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
            assert_eq!(head.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
            assert_eq!(m.max_forwards().unwrap(), Some(255));
        }),
    ),
    (
        "esc01",
        Read(|m, head| {
            let uri = m.request_uri().unwrap();
            assert_eq!(uri.user(), Some("sips%3Auser%40example.com"));
            assert!(
                uri.is_equivalent(&offhook::sip::UriRef::parse("sip:sips%3Auser%40%65xample.com@example.net").unwrap())
            );
            assert!(
                head.to.uri().unwrap().is_equivalent(&offhook::sip::UriRef::parse("sip:user@example.com").unwrap())
            );
            assert_eq!(offhook::sip::uri::unescaped(head.from.uri().unwrap().user().unwrap()), "I have spaces");
            let contact = m.contact().unwrap().unwrap().uri().unwrap();
            let escaped: Vec<_> = contact.parameters().collect();
            assert_eq!(escaped, [("%6C%72", None), ("n%61me", Some("v%61lue%25%34%31"))]);
        }),
    ),
    (
        "escnull",
        Read(|m, head| {
            assert_eq!(head.to.uri().unwrap().user(), Some("null-%00-null"));
            assert_eq!(contact_uris(m), ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"]);
        }),
    ),
    (
        "esc02",
        Read(|m, head| {
            assert_eq!(m.method().unwrap().as_str(), "RE%47IST%45R");
            assert_ne!(m.method(), Some(&Method::Register));
            assert_eq!(head.to.display_name(), "%Z%45");
        }),
    ),
    (
        "lwsdisp",
        Read(|_, head| {
            assert_eq!((head.from.display_name().as_str(), head.from.uri_text()), ("caller", "sip:caller@example.com"))
        }),
    ),
    (
        "longreq",
        Read(|m, head| {
            assert_eq!(m.vias().filter(|v| v.is_ok()).count(), 34);
            assert_eq!(head.via.host().to_string(), "sip33.example.com");
            assert_eq!(head.from.tag().map(str::len), Some(155));
            assert_eq!(head.to.uri().unwrap().port(), Some(6000));
        }),
    ),
    ("dblreq", Read(|m, _| assert_eq!((m.method(), m.body()), (Some(&Method::Register), &b""[..])))),
    (
        "semiuri",
        Read(|m, _| {
            let uri = m.request_uri().unwrap();
            assert_eq!(
                (uri.user(), uri.host().unwrap().to_string()),
                (Some("user;par=u%40example.net"), "example.com".into())
            );
            assert_eq!(uri.parameters().count(), 0);
        }),
    ),
    (
        "transports",
        Read(|m, _| {
            let transports: Vec<_> = m.vias().map(|v| v.unwrap().transport()).collect();
            assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
        }),
    ),
    (
        "mpart01",
        Read(|m, _| {
            let kind = m.content_type().unwrap().unwrap();
            assert!(kind.is("multipart", "mixed"));
            assert_eq!(kind.params.value("boundary"), Some("7a9cbec02ceef655"));
            assert!(m.body().ends_with(b"--7a9cbec02ceef655--") && m.body().contains(&0xff));
        }),
    ),
    (
        "unreason",
        Read(|m, _| {
            assert_eq!(m.status(), Some(StatusCode::OK));
            assert!(m.reason_phrase().starts_with("= 2**3 * 5**2 но сто девяносто"));
        }),
    ),
    ("noreason", Read(|m, _| assert_eq!((m.status(), m.reason_phrase().as_ref()), (Some(StatusCode::TRYING), "")))),
    // The RFC wants 400. With a top Via nobody understands, no transaction and no way back can be made of it.
    ("badinv01", Dropped),
    ("clerr", Refused(400)),
    ("ncl", Refused(400)),
    ("scalar02", Refused(400)),
    ("scalarlg", Dropped),
    ("quotbal", Refused(400)),
    ("ltgtruri", Refused(400)),
    ("lwsruri", Refused(400)),
    ("lwsstart", Refused(400)),
    ("trws", Refused(400)),
    ("escruri", Refused(400)),
    // A wrong Date concerns nobody who answers a call; the RFC lets an endpoint ignore it.
    ("baddate", Read(|m, _| assert_eq!(m.text(HeaderName::Date).as_deref(), Some("Fri, 01 Jan 2010 16:00:00 EST")))),
    ("regbadct", Refused(400)),
    // Blanks inside the brackets can mean only one thing; the RFC lets the liberal ignore them.
    ("badaspec", Read(|_, head| assert_eq!(head.to.uri().unwrap().as_str(), "sip:t.watson@example.org"))),
    // Unquoted commas in names come from real telephone books; the RFC lets the liberal supply the quotes.
    (
        "baddn",
        Read(|_, head| {
            assert_eq!(
                (head.from.display_name().as_str(), head.to.display_name().as_str()),
                ("Bell, Alexander", "Watson, Thomas")
            )
        }),
    ),
    ("badvers", Refused(505)),
    ("mismatch01", Refused(400)),
    // The RFC lets this be 501 too, but whether a method is served is not decided for a request that is malformed.
    ("mismatch02", Refused(400)),
    ("bigcode", Dropped),
    // A cookie alone identifies nothing, so the transaction is matched as RFC 2543 did.
    ("badbranch", Read(|_, head| assert!(!head.via.has_magic_cookie()))),
    // Without To, From and Call-ID no response can be formed.
    ("insuf", Dropped),
    ("unkscm", Refused(416)),
    ("novelsc", Refused(416)),
    // Whether these may register is for a registrar; as addresses they are well formed.
    (
        "unksm2",
        Read(|m, head| {
            assert_eq!(head.to.uri().unwrap().scheme(), Scheme::Other("isbn"));
            assert_eq!(head.from.uri().unwrap().opaque(), "//www.example.com");
            assert_eq!(contact_uris(m), ["name:John_Smith"]);
        }),
    ),
    // 420 is the UAS's to give: it is told what is required.
    (
        "bext01",
        Read(|m, _| {
            assert_eq!(
                m.tokens(HeaderName::Require).collect::<Vec<_>>(),
                ["nothingSupportsThis", "nothingSupportsThisEither"]
            );
            assert_eq!(m.tokens(HeaderName::ProxyRequire).count(), 2);
        }),
    ),
    // 415 likewise.
    ("invut", Read(|m, _| assert!(m.content_type().unwrap().unwrap().is("application", "unknownformat")))),
    // An unknown scheme counts as no credentials.
    (
        "regaut01",
        Read(|m, _| {
            assert!(m.value(HeaderName::Authorization).is_some());
            assert_eq!(Authorization::of_request(m, Authority::Server, "example.com"), None);
        }),
    ),
    ("multi01", Refused(400)),
    ("mcl01", Refused(400)),
    // A second Via says that the response was for somebody else.
    ("bcast", Dropped),
    // Hops count for those who forward.
    ("zeromf", Read(|m, _| assert_eq!(m.max_forwards().unwrap(), Some(0)))),
    (
        "cparam01",
        Read(|m, _| {
            let contact = m.contact().unwrap().unwrap();
            assert_eq!(contact.uri_text(), "sip:+19725552222@gw1.example.net");
            assert!(contact.params().has("unknownparam"));
        }),
    ),
    (
        "cparam02",
        Read(|m, _| {
            let contact = m.contact().unwrap().unwrap();
            assert_eq!(contact.uri().unwrap().parameter("unknownparam"), Some(""));
            assert!(!contact.params().has("unknownparam"));
        }),
    ),
    (
        "regescrt",
        Read(|m, _| {
            let uri = m.contact().unwrap().unwrap().uri().unwrap();
            assert_eq!(uri.header("route").as_deref(), Some("<sip:sip.example.com>"));
        }),
    ),
    // 406 is the UAS's to give.
    ("sdp01", Read(|m, _| assert_eq!(m.text(HeaderName::Accept).as_deref(), Some("text/nobodyKnowsThis")))),
    (
        "inv2543",
        Read(|m, head| {
            assert_eq!((head.via.branch(), m.max_forwards().unwrap(), m.body().len()), (None, None, 150));
            assert!(m.contact().unwrap().is_none());
        }),
    ),
];

#[test]
fn every_torture_message_of_rfc_4475_gets_its_verdict() {
    let messages = all();
    assert_eq!(messages.len(), VERDICTS.len());
    for (Torture { name, section, bytes }, (expected_name, expected)) in messages.iter().zip(&VERDICTS) {
        assert_eq!(name, expected_name);
        match (judge(bytes), expected) {
            (Verdict::Accept { message, head }, Read(check)) => check(&message, &head),
            (Verdict::Reject { request, fault }, Refused(code)) => {
                assert_eq!(fault.status, *code, "{name} ({section}): {fault}");
                // The refusal itself must be a message we would accept.
                let answer =
                    Response::to_request(&request, fault.status, "192.0.2.99:5060".parse().unwrap(), Some("t")).write();
                assert_eq!(Message::parse(&answer).unwrap().status(), Some(fault.status), "{name}");
            }
            (Verdict::Drop { .. }, Dropped) => {}
            (verdict, _) => panic!("{name} ({section}): {verdict:?}\n{}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn every_torture_message_of_rfc_5118_gets_its_verdict() {
    for Torture { name, bytes, .. } in ipv6() {
        let verdict = judge(&bytes);
        if name == "ipv6-bad" {
            assert!(matches!(verdict, Verdict::Reject { fault, .. } if fault.status == 400));
            continue;
        }
        let Verdict::Accept { message, head } = verdict else { panic!("{name}: {verdict:?}") };
        let uri = message.request_uri().unwrap();
        let host = uri.host().unwrap().to_string();
        match name {
            "port-ambiguous" => assert_eq!((host.as_str(), uri.port()), ("[2001:db8::10:5070]", None)),
            "port-unambiguous" => assert_eq!((host.as_str(), uri.port()), ("[2001:db8::10]", Some(5070))),
            "ipv6-bug-abnf-3-colons" | "ipv6-correct-abnf-2-colons" => assert_eq!(host, "[2001:db8::c000:201]"),
            "ipv6-good" | "ipv6-in-sdp" | "mult-ip-in-sdp" => assert_eq!(host, "[2001:db8::10]"),
            "via-received-param-with-delim" | "via-received-param-no-delim" => {
                assert_eq!(head.via.received(), Some("2001:db8::9:255".parse().unwrap()));
            }
            "mult-ip-in-header" => {
                let hosts: Vec<_> = message.vias().map(|v| v.unwrap().host().to_string()).collect();
                assert_eq!(hosts, ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:7]"]);
            }
            "ipv4-mapped-ipv6" => {
                assert_eq!(
                    (head.via.host().to_string().as_str(), head.via.port()),
                    ("[::ffff:192.0.2.10]", Some(19823))
                );
            }
            other => panic!("{other} has no expectation"),
        }
    }
}
