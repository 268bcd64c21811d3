//! How calls sound, as events, the record and `offhook status` tell it, whoever answers them; and what a caller is told
//! who cannot be given media.

use crate::support::bot::BotHost;
use crate::support::{Phone, TestServer};
use offhook::call::{CallEvent, LineError, Unanswered};
use offhook::media::MediaConfig;
use offhook::tools::EgressPolicy;
use std::collections::HashSet;
use std::time::Duration;

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const CALLER: [u8; 4] = [127, 0, 0, 1];
const ECHO_CALLER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_and_bot_calls_tell_their_quality_every_ten_seconds_and_when_they_end() {
    let host = BotHost::open().await;
    let mut server = host.server("lean", "").await;
    let with_bot = Phone::call(&server.server, CALLER).await.unwrap();
    let _bot = host.bot().await;
    let echo = Phone::call(&server.server, ECHO_CALLER).await.unwrap();
    let mut told = HashSet::new();
    while told.len() < 2 {
        let quality = server.event("the quality of both calls", |event| match event {
            CallEvent::MediaQuality { call, leg: "near", quality } => Some((*call, **quality)),
            _ => None,
        });
        let (call, quality) = quality.await;
        assert!(quality.codec.is_some() && quality.stats.sent > 400, "{quality:?}");
        told.insert(call);
    }
    for (name, phone) in [("bot", with_bot), ("echo", echo)] {
        phone.line.hang_up();
        let last = server.event("the last quality", |event| match event {
            CallEvent::MediaQuality { call, quality, .. } => Some((*call, quality.stats.sent)),
            _ => None,
        });
        let (call, sent) = last.await;
        let record = server.event("the end", |event| match event {
            CallEvent::CallEnded { call, media, .. } => Some((*call, media.clone())),
            _ => None,
        });
        let (ended, media) = record.await;
        assert_eq!(ended, call, "{name}");
        let figure = |wanted: &str| media.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        assert!(figure("sent").unwrap() >= sent, "{name}: {media:?}");
        assert!(figure("jitter_us").is_some() && figure("mos_hundredths").is_some(), "{name}: {media:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_up_are_known_with_codec_and_quality_until_they_end() {
    let server = TestServer::start(AGENT, &[], EgressPolicy::default()).await;
    let supervisor = &server.server.supervisor;
    assert!(supervisor.calls().is_empty());
    let mut talking = Phone::call(&server.server, CALLER).await.unwrap();
    let mut echo = Phone::call(&server.server, ECHO_CALLER).await.unwrap();
    talking.wait_for(true, 5).await;
    echo.speak(200).await;
    while supervisor.calls().len() < 2 {
        echo.pass_frame().await;
    }
    let calls = supervisor.calls();
    let facts: Vec<_> = calls.iter().map(|call| (call.facts.peer.as_str(), call.facts.agent.as_str())).collect();
    assert_eq!(facts, [("test", "test"), ("echo", "echo")]);
    for call in &calls {
        let [(leg, quality)] = call.lines.as_slice() else { panic!("{call:?}") };
        assert_eq!((*leg, quality.codec), ("near", talking.line.codec()));
        assert!(quality.stats.sent > 0, "{quality:?}");
    }
    drop((talking, echo));
    tokio::time::timeout(crate::support::PATIENCE, supervisor.idle()).await.unwrap();
    assert!(supervisor.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_for_whom_no_port_is_left_is_told_when_one_will_be() {
    let quarantine = Duration::from_secs(37);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port() & !1;
    // Of the pair one port is held by this test.
    let only_pair = MediaConfig { ports: port..=port + 1, quarantine, ..crate::support::loopback_media() };
    let server = TestServer::start_with(AGENT, &[], EgressPolicy::default(), |plan| plan.media = only_pair).await;
    let Err(LineError::NotAnswered(Unanswered::Unavailable { code, retry_after })) =
        Phone::call(&server.server, CALLER).await.map(|_| ())
    else {
        panic!("the call was taken")
    };
    assert_eq!((code, retry_after), (503, Some(quarantine)));
}
