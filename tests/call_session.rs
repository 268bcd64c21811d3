//! Whole calls on loopback with scripted engines: greeting, turns, barge-in, busy engines, keys, the end.

mod support;

use offhook::call::CallEvent;
use offhook::sip::event::EndCause;
use offhook::tools::EgressPolicy;
use std::sync::atomic::Ordering;
use support::{Phone, TestServer};

const AGENT: &str = include_str!("data/agents/greeter.yaml");
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
    let completed = server
        .event("the end", |e| if let CallEvent::CallEnded { completed, .. } = e { Some(*completed) } else { None })
        .await;
    assert!(completed);
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
    tokio::time::timeout(support::PATIENCE, server.server.supervisor.idle()).await.unwrap();
    let workers = server.server.supervisor.workers();
    let deadline = std::time::Instant::now() + support::PATIENCE;
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
