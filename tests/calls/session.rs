//! Whole calls on loopback with scripted engines: greeting, turns, barge-in, busy engines, keys, the end.

use crate::support::{Phone, TestServer};
use offhook::base::Random;
use offhook::call::{CallEvent, DigitsBy};
use offhook::net;
use offhook::sip::event::{EndCause, Party};
use offhook::sip::{EndpointConfig, Event, OutgoingInvite, Uri};
use offhook::tools::EgressPolicy;
use std::sync::atomic::Ordering;
use std::time::Duration;

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const CALLER: [u8; 4] = [127, 0, 0, 1];
const ECHO_CALLER: [u8; 4] = [127, 0, 0, 2];

async fn server(heard: &[&str]) -> TestServer {
    TestServer::start(AGENT, heard, EgressPolicy::default()).await
}

/// Passes frames until the agent has finished both the greeting and the question.
async fn through_the_question(phone: &mut Phone) {
    phone.wait_for(true, 5).await;
    phone.wait_for(false, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_greets_asks_hears_the_answer_and_says_goodbye() {
    let mut server = server(&["Yes."]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    through_the_question(&mut phone).await;
    phone.speak(600).await;
    let heard = server.event("the caller's turn", |e| match e {
        CallEvent::CallerSaid { text, .. } => Some(text.expose().clone()),
        _ => None,
    });
    let (heard, ()) = tokio::join!(heard, async { while phone.pass_frame().await < -50.0 {} });
    assert_eq!(heard, "Yes.");
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answered_turn_is_measured_stage_by_stage() {
    let mut server = server(&["Yes."]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    through_the_question(&mut phone).await;
    phone.speak(600).await;
    let record = server.event("a latency record", |e| match e {
        CallEvent::TurnLatency { record, .. } => Some(record.clone()),
        _ => None,
    });
    let (record, _) = tokio::join!(record, phone.ended());
    let stages: Vec<_> = record.stages.iter().map(|(stage, _)| stage.name()).collect();
    assert_eq!(stages, ["caller_silent", "transcript", "end_of_turn", "first_token", "first_audio", "first_packet"]);
    assert!(record.stages.windows(2).all(|w| w[0].1 <= w[1].1), "{record:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_over_the_agent_silences_it_and_only_the_heard_words_are_remembered() {
    let mut server = server(&["Yes, go on please."]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 20).await;
    phone.speak(800).await;
    let heard = server.event("the interrupted words", |e| match e {
        CallEvent::AgentSaid { heard, complete: false, .. } => Some(heard.expose().clone()),
        _ => None,
    });
    let (heard, _) = tokio::join!(heard, phone.ended());
    assert!(!heard.is_empty() && "Hello, this is a test of the telephone line.".starts_with(&heard), "{heard:?}");
    assert!(heard.len() < 40, "it was cut: {heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cough_over_the_agent_lets_it_go_on() {
    let mut server = server(&[""]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 20).await;
    phone.speak(160).await;
    let resumed = server.event("the resumption", |e| matches!(e, CallEvent::FalseBargeIn { .. }).then_some(()));
    let ((), ()) = tokio::join!(resumed, async { while phone.pass_frame().await < -50.0 {} });
    let whole = server.event("the whole greeting", |e| match e {
        CallEvent::AgentSaid { heard, complete: true, .. } => Some(heard.expose().clone()),
        _ => None,
    });
    let (whole, ()) = tokio::join!(whole, through_the_question(&mut phone));
    assert_eq!(whole, "Hello, this is a test of the telephone line.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_voice_is_made_up_for_by_the_spare_line_and_counted() {
    let mut server = server(&[]).await;
    server.tts.busy.store(true, Ordering::Relaxed);
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let trouble = server.event("the trouble", |e| match e {
        CallEvent::EngineTrouble { stage, .. } => Some(*stage),
        _ => None,
    });
    let (stage, ()) = tokio::join!(trouble, phone.wait_for(true, 20));
    assert_eq!(stage, "text_to_speech");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_speech_to_text_is_told_to_the_caller() {
    let mut server = server(&[]).await;
    server.stt.busy.store(true, Ordering::Relaxed);
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let handled = server.event("the handled failure", |e| match e {
        CallEvent::FailureHandled { kind, .. } => Some(kind.clone()),
        _ => None,
    });
    let (kind, ()) = tokio::join!(handled, phone.wait_for(true, 20));
    assert!(kind.starts_with("provider_"), "{kind}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_caller_is_asked_again() {
    let mut server = server(&[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let handled = server.event("no input", |e| match e {
        CallEvent::FailureHandled { kind, .. } => Some(kind.clone()),
        _ => None,
    });
    let listen = async {
        through_the_question(&mut phone).await;
        phone.wait_for(true, 5).await;
    };
    let (kind, ()) = tokio::join!(handled, listen);
    assert_eq!(kind, "no_input");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_leaves_nothing_behind() {
    let mut server = server(&[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 5).await;
    phone.line.hang_up();
    server.event("the end", |e| matches!(e, CallEvent::CallEnded { .. }).then_some(())).await;
    tokio::time::timeout(crate::support::PATIENCE, server.server.supervisor.idle()).await.unwrap();
    let workers = server.server.supervisor.workers();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while workers.stats().ports_in_use > 0 {
        assert!(std::time::Instant::now() < deadline, "the port is still in use");
        tokio::task::yield_now().await;
    }
    let legs = server.server.sip.run(|endpoint, _| endpoint.leg_count()).await.unwrap();
    assert_eq!(legs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_agent_sends_the_callers_voice_back() {
    let server = server(&[]).await;
    let mut phone = Phone::call(&server.server, ECHO_CALLER).await.unwrap();
    let mut loudest = f32::MIN;
    phone.speak(600).await;
    for _ in 0..10 {
        loudest = loudest.max(phone.pass_frame().await);
    }
    assert!(loudest > -40.0, "only {loudest} dBFS came back");
}

/// A server whose callers press keys in this way.
async fn server_with_keys(digits: DigitsBy) -> TestServer {
    let talker =
        format!("agent: talker\nstart: hello\nnodes:\n  hello: {{hangup: done, say: \"{}\"}}\n", "So. ".repeat(60));
    TestServer::start_with(&talker, &[], EgressPolicy::default(), |plan| plan.trunks[0].terms.digits = digits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_once_whichever_way_the_peer_sends_it() {
    for (digits, theirs) in [
        (DigitsBy::Rfc4733, vec![DigitsBy::Rfc4733]),
        (DigitsBy::Info, vec![DigitsBy::Info]),
        (DigitsBy::Inband, vec![DigitsBy::Inband]),
        // A peer that sends more than was agreed is not heard twice.
        (DigitsBy::Rfc4733, vec![DigitsBy::Rfc4733, DigitsBy::Info]),
        (DigitsBy::Info, vec![DigitsBy::Rfc4733, DigitsBy::Info]),
        (DigitsBy::Inband, vec![DigitsBy::Info, DigitsBy::Inband]),
    ] {
        let mut server = server_with_keys(digits).await;
        let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
        phone.wait_for(true, 3).await;
        for key in ['4', '2', '#'] {
            for way in &theirs {
                phone.press(key, *way);
            }
            for _ in 0..12 {
                phone.pass_frame().await;
            }
        }
        let mut keys = String::new();
        let last = server.event("the last key", |e| {
            if let CallEvent::Digit { key, .. } = e {
                keys.push(*key.expose());
            }
            keys.ends_with('#').then_some(())
        });
        phone.while_talking(last).await;
        // Whatever came twice would be here by then.
        for _ in 0..20 {
            phone.pass_frame().await;
        }
        phone.line.hang_up();
        server
            .event("the end", |e| {
                if let CallEvent::Digit { key, .. } = e {
                    keys.push(*key.expose());
                }
                matches!(e, CallEvent::CallEnded { .. }).then_some(())
            })
            .await;
        assert_eq!(keys, "42#", "{digits:?}, sent by {theirs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_held_the_agent_neither_speaks_nor_gives_up_and_goes_on_afterwards() {
    let mut server = server(&[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 10).await;
    for with_music in [true, false] {
        phone.line.hold(with_music).await.unwrap();
        // The agent waits 4 s for an answer elsewhere; it must not count them here.
        assert!(phone.hears_nothing_for(Duration::from_millis(1_500)).await);
        phone.line.resume().await.unwrap();
        phone.wait_for(true, 5).await;
    }
    let whole = server.event("the whole greeting", |e| match e {
        CallEvent::AgentSaid { heard, complete: true, .. } => Some(heard.expose().clone()),
        CallEvent::FailureHandled { kind, .. } => panic!("{kind} while held"),
        _ => None,
    });
    let (whole, ()) = tokio::join!(whole, through_the_question(&mut phone));
    assert_eq!(whole, "Hello, this is a test of the telephone line.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_invite_with_another_address_moves_the_audio_there_and_back() {
    let server = server(&[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 5).await;
    let elsewhere = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    // What an Asterisk with `direct_media` does right after the answer; here with the other law as well.
    let sdp = format!(
        "v=0\r\no=- 7 7 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    );
    let leg = phone.line.leg;
    phone.sip.run(move |endpoint, now| endpoint.reoffer(now, leg, sdp.into_bytes()).unwrap()).await.unwrap();
    let mut packet = [0; 2_000];
    let received = tokio::time::timeout(crate::support::PATIENCE, elsewhere.recv(&mut packet)).await.unwrap().unwrap();
    assert_eq!((received, packet[1] & 0x7F), (172, 8), "20 ms of A-law");
    // The old address hears nothing; then the peer comes back to it.
    assert!(phone.hears_nothing_for(Duration::from_millis(300)).await);
    phone.line.resume().await.unwrap();
    phone.wait_for(true, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_of_encrypted_media_is_refused_with_488_and_a_warning() {
    let mut server = server(&[]).await;
    let mut phone = Phone::dial(&server.server, CALLER, |invite| {
        let offer = String::from_utf8(std::mem::take(&mut invite.sdp)).unwrap();
        invite.sdp = offer.replace("RTP/AVP", "RTP/SAVP").into_bytes();
    })
    .await
    .unwrap();
    let error = phone.line.answered().await.unwrap_err();
    assert!(error.to_string().contains("no codec in common"), "{error}");
    let refused = server.event("the refusal", |e| match e {
        CallEvent::CallRefused { code, reason, .. } => Some((*code, reason.clone())),
        _ => None,
    });
    let (code, reason) = refused.await;
    assert!(code == 488 && reason.contains("srtp is \"off\" here"), "{code} {reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_may_say_why_it_hangs_up_in_a_header_of_the_bye() {
    let agent = "agent: short\nstart: bye\nvariables: {topic: text}\nnodes:\n  bye: {hangup: done, set: {topic: \"'a b'\"}, \
                 say: Bye., headers: {Reason: \"X;cause=16;text={{ topic }}\"}}\n";
    let server = TestServer::start(agent, &[], EgressPolicy::default()).await;
    let (sip, _inbox) =
        net::start_udp(([127, 0, 0, 1], 0).into(), Random::system(), |s| EndpointConfig::udp(s, s)).unwrap();
    let sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let target = server.server.sip.local_addr();
    let from = Party { display: None, uri: Uri::sip_address(sip.local_addr()).with_user("phone") };
    let invite = OutgoingInvite::new(Uri::sip_address(target).with_user("agent"), target, from, sdp.to_vec());
    let (_, mut events) = sip.invite(invite).await.unwrap();
    let reason = async {
        loop {
            if let Event::Ended { reason, .. } = events.recv().await.unwrap() {
                return reason;
            }
        }
    };
    let reason = tokio::time::timeout(crate::support::PATIENCE, reason).await.unwrap();
    assert_eq!(reason.as_deref(), Some("X;cause=16;text=a b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_the_peer_s_profile_names_are_variables_of_the_call() {
    let agent = "agent: named\nstart: bye\nnodes:\n  bye: {hangup: done, say: \"Hello {{ call.sip_x_customer }}\
                 {{ call.sip_x_other | default('', true) }}.\"}\n";
    let mut server = TestServer::start_with(agent, &[], EgressPolicy::default(), |plan| {
        plan.trunks[0].terms.header_variables = vec!["X-Customer".into()];
    })
    .await;
    let mut phone = Phone::dial(&server.server, CALLER, |invite| {
        invite.headers = vec![("x-customer".into(), "Anna".into()), ("X-Other".into(), "unasked".into())];
    })
    .await
    .unwrap();
    phone.line.answered().await.unwrap();
    let said = server.event("the greeting", |e| match e {
        CallEvent::AgentSays { text, .. } => Some(text.expose().clone()),
        _ => None,
    });
    assert_eq!(said.await, "Hello Anna.");
}
