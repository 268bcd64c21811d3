//! What is said where a vendor's certificate is no good: which provider, which host, why, and what to do about it. No key
//! reaches such a server.

use crate::account::Account;
use crate::command::{House, offhook, said};
use crate::fakes::Certificate;
use crate::faults::{conversation_of, model_of, prompt, session, speaker_of, spoken, stt_of};
use crate::roster::{Played, played};
use offhook::base::SampleRate;
use offhook::providers::realtime::RealtimeEvent;
use offhook::providers::registry::{Local, Registry};
use offhook::providers::{Network, ProviderError, StageKind, SttEvent, SttRequest};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Far more than anything on the loopback takes; reached only by a failure.
const LIMIT: Duration = Duration::from_secs(10);

/// A certificate, what is said of it, and what is to be done.
const BAD: [(Certificate, &str, &str); 4] = [
    (Certificate::Expired, "ended on 2021-02-03, and it is 20", "have the certificate renewed"),
    (Certificate::NotYetValid, "begins on 2200-01-01, and it is 20", "set this machine's clock"),
    (Certificate::OfAnotherName, "is not for this name, but for elsewhere.example", "in `url`"),
    (Certificate::OfAnotherAuthority, "is signed by no authority that is trusted here", "`ca_file` in [providers]"),
];

/// What the call is told by the only provider of its stage.
async fn refusal(stage: StageKind, registry: &Registry, names: &[String]) -> ProviderError {
    match stage {
        StageKind::SpeechToText => {
            let request = SttRequest::new(SampleRate::NARROWBAND, Duration::from_millis(100));
            let (_stream, mut events) = stt_of(registry, names).open(request).expect("a stream");
            loop {
                if let SttEvent::Failed { error, .. } = events.recv().await.expect("a failure") {
                    return error;
                }
            }
        }
        StageKind::LanguageModel => {
            let mut thoughts = model_of(registry, names).think(prompt("Hello?")).expect("a stream");
            thoughts.recv().await.expect("a failure").expect_err("no answer")
        }
        StageKind::TextToSpeech => {
            let mut speech = speaker_of(registry, names).speak(spoken("Hello.")).expect("a stream");
            speech.recv().await.expect("a failure").expect_err("no sound")
        }
        StageKind::SpeechToSpeech => {
            let (_stream, mut events) = conversation_of(registry, names).open(session()).expect("a session");
            loop {
                if let RealtimeEvent::Failed(error) = events.recv().await.expect("a failure") {
                    return error;
                }
            }
        }
    }
}

async fn is_told(played: &Played, (certificate, why, fix): (Certificate, &str, &str)) {
    let Account { server, spec } = played.account_with("my-vendor", certificate);
    let names = [spec.name.clone()];
    let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
    let registry = Registry::new(vec![spec], network, Box::new(|_| None), Local::default());
    let case = format!("{} {certificate:?}", played.name());
    let error = timeout(LIMIT, refusal(played.stage, &registry, &names)).await.expect(&case);
    assert_eq!((error.kind(), error.is_retryable()), ("untrusted", false), "{case}: {error}");
    let (said, host) = (error.to_string(), format!("localhost:{}", server.address().port()));
    for part in ["my-vendor", host.as_str(), why, fix] {
        assert!(said.contains(part), "{case}: `{part}` is not in: {said}");
    }
    assert!(server.requests().is_empty(), "{case}: somebody unknown was asked");
}

#[tokio::test]
async fn a_call_is_told_which_provider_has_which_bad_certificate_and_what_to_do() {
    for stage in StageKind::ALL {
        for played in played(stage) {
            for bad in BAD {
                is_told(&played, bad).await;
            }
        }
    }
}

#[test]
fn the_command_says_the_same() {
    let house = House::new();
    let vendors = played(StageKind::SpeechToText);
    let vendor = vendors.first().expect("a vendor");
    std::fs::write(house.path("key"), vendor.key).unwrap();
    let servers = BAD.map(|(certificate, ..)| vendor.serve(certificate));
    let named = |n: usize| format!("my-{n}");
    let lines = servers.iter().enumerate().map(|(n, server)| vendor.in_toml(&named(n), server, "key"));
    house.write(servers.first(), &lines.collect::<String>(), "");
    let output = offhook(&["providers", "-c", &house.file(), "--probe", "--json"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Value> = rows.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (n, ((certificate, why, fix), server)) in BAD.iter().zip(&servers).enumerate() {
        let row = rows.iter().find(|row| row["name"] == named(n) && row["in_use"] == true).expect("a row");
        let of = |field: &str| row["probe"][field].as_str().unwrap_or_default();
        let host = format!("localhost:{}", server.address().port());
        assert!(of("reason").contains(&host) && of("reason").contains(why), "{certificate:?}: {row}");
        assert!(of("fix").contains(fix), "{certificate:?}: {row}");
    }
}
