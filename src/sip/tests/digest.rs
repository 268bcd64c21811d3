//! Digest vectors of the RFCs, and both sides against each other.

use super::*;
use crate::base::Random;
use std::time::Duration;

const RFC7616_MD5: &[u8] = br#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

fn response_of(answer: &HeaderValue) -> String {
    Authorization::parse(answer.as_bytes()).unwrap().response
}

fn method(token: &str) -> Method {
    Method::parse(token.as_bytes()).unwrap()
}

fn only(challenge: &[u8]) -> Challenge {
    let mut all = Challenge::parse(challenge).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn rfc_7616_section_3_9_1_vectors() {
    let mufasa = Credentials::new("Mufasa", "Circle of Life");
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    let mut challenge = only(RFC7616_MD5);
    for (algorithm, expected) in [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        challenge.algorithm = algorithm;
        let value = answer(&challenge, &mufasa, &method("GET"), "/dir/index.html", b"", 1, cnonce);
        assert_eq!(response_of(&value), expected);
        let text = value.to_text().into_owned();
        for part in [
            "nc=00000001",
            "qop=auth,",
            "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
            "uri=\"/dir/index.html\"",
            &format!("algorithm={}", algorithm.as_str()),
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}

/// The figures printed in §3.9.2 come from another hash; these are of its erratum 4897.
#[test]
fn rfc_7616_section_3_9_2_vector_with_sha_512_256() {
    let challenge = only(
        br#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true"#,
    );
    let doe = Credentials::new("Jäsøn Doe", "Secret, or not?");
    let value =
        answer(&challenge, &doe, &method("GET"), "/doe.json", b"", 1, "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v");
    assert_eq!(response_of(&value), "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
}

#[test]
fn rfc_2617_and_rfc_2069_vectors() {
    let challenge = only(
        br#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#,
    );
    let mufasa = Credentials::new("Mufasa", "Circle Of Life");
    let value = answer(&challenge, &mufasa, &method("GET"), "/dir/index.html", b"", 1, "0a4f113b");
    assert_eq!(response_of(&value), "6629fae49393a05397450978507c4ef1");
    assert!(!value.to_text().contains("algorithm"), "an algorithm that was not named is not named back");

    let old = Challenge { qop: Qop::None, ..challenge };
    let value = answer(&old, &mufasa, &method("GET"), "/dir/index.html", b"", 1, "0a4f113b");
    assert_eq!(response_of(&value), "670fd8c2df070c60b045671b8b24ff02");
    assert!(!value.to_text().contains("nc=") && !value.to_text().contains("cnonce="));
}

#[test]
fn the_strongest_known_algorithm_is_chosen_wherever_it_stands() {
    let response = "SIP/2.0 401 Unauthorized\r\n\
        WWW-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=MD5, qop=\"auth\"\r\n\
        WWW-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\", Basic realm=\"b\"\r\n\
        WWW-Authenticate: Digest realm=\"a\", nonce=\"3\", algorithm=SHA3-999, qop=\"auth\"\r\n\
        WWW-Authenticate: Bearer abc/def==, Digest realm=\"a\", nonce=\"4\", algorithm=\"SHA-256\"\r\n\r\n";
    let message = Message::parse(response.as_bytes()).unwrap();
    let (authority, challenge) = Challenge::strongest(&message).unwrap();
    assert_eq!((authority, challenge.algorithm, challenge.nonce.as_str()), (Authority::Server, Algorithm::Sha256, "2"));
    assert_eq!(Challenge::strongest_in_realm(&message, "a").map(|(_, c)| c), Some(challenge));
    assert_eq!(Challenge::strongest_in_realm(&message, "elsewhere"), None, "a pinned realm is the only one answered");
}

#[test]
fn challenges_in_the_dialects_of_real_servers_are_read() {
    for (value, realm, qop, stale) in [
        (
            &b"Digest algorithm=MD5,realm=\"asterisk\",nonce=\"1700000000/0b2a\",qop=\"auth\""[..],
            "asterisk",
            Qop::Auth,
            false,
        ),
        (
            b"DIGEST Realm = \"3CXPhoneSystem\" , NONCE=\"414d53\"\r\n , Algorithm = md5, stale=TRUE",
            "3CXPhoneSystem",
            Qop::None,
            true,
        ),
        (b"Digest realm=\"x, y\", nonce=\"n\", qop=auth-int, domain=\"sip:x\"", "x, y", Qop::AuthInt, false),
        (b"Digest realm=\"x\", nonce=\"n\", qop=\"auth-int,auth\", algorithm=SHA-256-sess", "x", Qop::Auth, false),
    ] {
        let challenge = only(value);
        assert_eq!((challenge.realm.as_str(), challenge.qop, challenge.stale), (realm, qop, stale));
    }
    for unusable in [
        &b"Basic realm=\"x\""[..],
        b"Digest realm=\"x\"",
        b"Digest realm=\"x\", nonce=\"n\", qop=\"token\"",
        b"NoOneKnowsThisScheme opaque-data=here",
        b"",
    ] {
        assert_eq!(Challenge::parse(unusable).unwrap(), [], "{}", unusable.escape_ascii());
    }
    for malformed in [&b"Digest realm=\"x"[..], b"=", b"realm=\"x\""] {
        assert!(Challenge::parse(malformed).is_err());
    }
}

const REALM: &str = "offhook";
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

fn request(authorization: &HeaderValue) -> Vec<u8> {
    let head = "INVITE sip:100@192.0.2.1 SIP/2.0\r\nAuthorization: ".as_bytes();
    [head, authorization.as_bytes(), b"\r\nContent-Length: 4\r\n\r\nbody"].concat()
}

fn checked(bytes: &[u8], nonces: &mut Nonces, now: Instant, credentials: Option<&Credentials>) -> Result<(), Refusal> {
    let message = Message::parse(bytes).unwrap();
    let authorization = Authorization::of_request(&message, Authority::Server, REALM).ok_or(Refusal::Absent)?;
    let algorithms = [Algorithm::Sha256, Algorithm::Sha256Sess, Algorithm::Sha512_256, Algorithm::Md5Sess];
    let expected = Expected { realm: REALM, source: SOURCE, algorithms: &algorithms, credentials };
    authorization.verify(nonces, now, &expected, &message)
}

#[test]
fn an_answer_to_our_challenge_is_verified_and_every_change_to_it_refused() {
    let start = Instant::now();
    let mut random = Random::seeded(1);
    let mut nonces = Nonces::new(&mut random);
    let user = Credentials::new("alice \"a\"", "secret");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha256Sess, Algorithm::Sha512_256, Algorithm::Md5Sess] {
        for qop in [Qop::Auth, Qop::AuthInt, Qop::None] {
            let issued = Challenge::offer(&mut nonces, start, REALM, SOURCE, &[algorithm], false).remove(0);
            let mut challenge = only(issued.to_header().as_bytes());
            assert_eq!(challenge, issued);
            challenge.qop = qop;
            let cnonce = random.hex(16);
            let uri = "sip:100@192.0.2.1";
            let value = answer(&challenge, &user, &Method::Invite, uri, b"body", 1, &cnonce);
            let good = request(&value);
            assert_eq!(checked(&good, &mut nonces, start, Some(&user)), Ok(()), "{algorithm:?} {qop:?}");
            assert_eq!(checked(&good, &mut nonces, start, None), Err(Refusal::Response));
            assert_eq!(
                checked(&good, &mut nonces, start, Some(&Credentials::new("alice \"a\"", "wrong"))),
                Err(Refusal::Response)
            );
            let late = start + NONCE_LIFETIME + Duration::from_millis(1);
            assert_eq!(checked(&good, &mut nonces, late, Some(&user)), Err(Refusal::Stale));
            let mut others = Nonces::new(&mut random);
            others.issue(start, REALM, SOURCE);
            assert_eq!(checked(&good, &mut others, start, Some(&user)), Err(Refusal::Nonce));
            let text = String::from_utf8(good).unwrap();
            let moved = text.replace("INVITE sip:100", "INVITE sip:900");
            assert_eq!(checked(moved.as_bytes(), &mut nonces, start, Some(&user)), Err(Refusal::Uri));
            let turned = text.replace("INVITE", "REFER");
            assert_eq!(checked(turned.as_bytes(), &mut nonces, start, Some(&user)), Err(Refusal::Response));
            let rewritten = text.replace("\r\nbody", "\r\nboot");
            let expected = if qop == Qop::AuthInt { Refusal::Response } else { Refusal::Replayed };
            assert_eq!(checked(rewritten.as_bytes(), &mut nonces, start, Some(&user)), Err(expected));
        }
    }
}

#[test]
fn an_algorithm_we_did_not_offer_is_refused() {
    let start = Instant::now();
    let mut nonces = Nonces::new(&mut Random::seeded(2));
    let user = Credentials::new("alice", "secret");
    let challenge = Challenge::offer(&mut nonces, start, REALM, SOURCE, &[Algorithm::Md5], false).remove(0);
    let value = answer(&challenge, &user, &Method::Invite, "sip:100@192.0.2.1", b"", 1, "c");
    assert_eq!(checked(&request(&value), &mut nonces, start, Some(&user)), Err(Refusal::Algorithm));
}

#[test]
fn nothing_of_a_challenge_can_break_out_of_the_answer() {
    let challenge = only(b"Digest realm=\"a\r\n X-Evil: 1\", nonce=\"n\\\"\", opaque=\"o\r\n p\"");
    let value = answer(&challenge, &Credentials::new("a\r\nX: y", "p"), &Method::Register, "sip:h", b"", 1, "c");
    assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n')));
}

#[test]
fn an_answer_is_good_once_and_the_next_needs_a_higher_count() {
    let start = Instant::now();
    let mut nonces = Nonces::new(&mut Random::seeded(3));
    let user = Credentials::new("alice", "secret");
    let challenge = Challenge::offer(&mut nonces, start, REALM, SOURCE, &[Algorithm::Sha256], false).remove(0);
    let mut with_count = |count| {
        let value = answer(&challenge, &user, &Method::Invite, "sip:100@192.0.2.1", b"body", count, "c");
        checked(&request(&value), &mut nonces, start, Some(&user))
    };
    let outcomes = [1, 1, 2, 1, 3].map(&mut with_count);
    assert_eq!(outcomes, [Ok(()), Err(Refusal::Replayed), Ok(()), Err(Refusal::Replayed), Ok(())]);
}

#[test]
fn an_answer_to_a_challenge_made_for_another_address_is_refused() {
    let start = Instant::now();
    let mut nonces = Nonces::new(&mut Random::seeded(4));
    let user = Credentials::new("alice", "secret");
    let elsewhere = "192.0.2.10".parse().unwrap();
    let challenge = Challenge::offer(&mut nonces, start, REALM, elsewhere, &[Algorithm::Sha256], false).remove(0);
    let value = answer(&challenge, &user, &Method::Invite, "sip:100@192.0.2.1", b"body", 1, "c");
    assert_eq!(checked(&request(&value), &mut nonces, start, Some(&user)), Err(Refusal::Nonce));
}

#[test]
fn the_next_nonce_of_an_authentication_info_is_read() {
    for (value, expected) in [
        (&br#"qop=auth, rspauth="x", nextnonce="abc", nc=00000001"#[..], Some("abc")),
        (b"NextNonce = \"abc\"", Some("abc")),
        (b"qop=auth", None),
        (b"nextnonce=\"\"", None),
        (b"", None),
        (b"\"", None),
    ] {
        assert_eq!(next_nonce(value).as_deref(), expected, "{}", value.escape_ascii());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 500, failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn no_challenge_and_no_credentials_break_their_promises(
        words in proptest::collection::vec(proptest::sample::select(&[
            "Digest ", "realm=", "nonce=", "\"", "x", ",", " ", "\\", "\r\n ", "algorithm=", "MD5", "SHA-256-sess", "qop=",
            "auth", "auth-int", "username=", "uri=", "response=", "sip:h", "cnonce=", "nc=", "00000001", "opaque=", "=",
            "nextnonce=", "Basic ", "\0", "é", "stale=true",
        ][..]), 0..60),
    ) {
        crate::sip::fuzz::digest(words.concat().as_bytes());
    }
}

#[test]
fn the_seeds_of_the_fuzzer_keep_their_promises() {
    for name in ["challenge", "authorization", "info"] {
        let path = format!("{}/fuzz/seeds/digest/{name}", env!("CARGO_MANIFEST_DIR"));
        crate::sip::fuzz::digest(&std::fs::read(path).unwrap());
    }
}
