//! Whole calls over SIP and RTP with a bot that speaks the lean protocol.

use crate::support::bot::{Bot, BotCall, BotHost, Heard};
use crate::support::{Desk, Phone, TestServer, hum};
use offhook::call::{Approved, CallEvent, Dial, LineEvent, PeerTerms, Route, TransferBy};
use offhook::sip::event::EndCause;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLER: [u8; 4] = [127, 0, 0, 1];

fn loud(octets: &[u8]) -> bool {
    octets.chunks_exact(2).any(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 1_000)
}

async fn hears_sound(bot: &mut Bot) {
    while !matches!(bot.hears().await, Heard::Audio(octets) if loud(&octets)) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_and_bot_hear_one_another_in_wide_pcm_and_in_any_format_the_bot_asks_for() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    assert_eq!(bot.headers["sec-websocket-protocol"], "offhook.bridge.v1");
    assert_eq!(bot.start["audio"], json!({"encoding": "pcm16", "rate": 16000, "channels": 1, "frame_ms": 20}));
    assert_eq!(bot.start["destinations"], json!([{"name": "desk", "description": "desk"}]));
    assert_eq!(bot.start["direction"], "inbound");
    let ((), ()) = tokio::join!(phone.speak(300), hears_sound(&mut bot));
    let Heard::Audio(frame) = bot.hears().await else { panic!("no audio") };
    assert_eq!(frame.len(), 640, "20 ms at 16 kHz");
    bot.pcm(&[hum(4_000), hum(4_000)].concat()).await;
    phone.wait_for(true, 15).await;
    for (encoding, rate, octets) in [("mulaw", 8_000, 160), ("pcm16", 24_000, 960), ("pcm16", 8_000, 320)] {
        bot.say(json!({"type": "format", "encoding": encoding, "rate": rate})).await;
        let wait = async { while !matches!(bot.hears().await, Heard::Audio(frame) if frame.len() == octets) {} };
        phone.while_talking(wait).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_say_whether_their_audio_was_played_and_a_clear_is_at_once() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    bot.pcm(&hum(4_800)).await;
    bot.say(json!({"type": "mark", "name": "heard"})).await;
    assert_eq!(
        phone.while_talking(bot.noticed("mark")).await,
        json!({"type": "mark", "name": "heard", "played": true})
    );
    bot.pcm(&hum(160_000)).await;
    bot.say(json!({"type": "mark", "name": "void"})).await;
    phone.wait_for(true, 10).await;
    bot.say(json!({"type": "clear"})).await;
    assert_eq!(
        phone.while_talking(bot.noticed("mark")).await,
        json!({"type": "mark", "name": "void", "played": false})
    );
    phone.wait_for(false, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_pass_both_ways() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    phone.line.press('7');
    assert_eq!(phone.while_talking(bot.noticed("dtmf")).await, json!({"type": "dtmf", "digits": "7"}));
    bot.say(json!({"type": "dtmf", "digits": "12#"})).await;
    let mut keys = String::new();
    let wait = async {
        while keys.len() < 3 {
            keys.extend(phone.next_key().await);
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, wait).await.expect("no keys came");
    assert_eq!(keys, "12#");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_lets_what_was_said_be_heard_first() {
    let BotCall { host: _host, mut server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    bot.pcm(&hum(24_000)).await;
    bot.say(json!({"type": "hangup", "reason": "booked", "completed": true})).await;
    phone.wait_for(true, 20).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    let end = server.event("the end", |e| match e {
        CallEvent::CallEnded { reason, completed, .. } => Some((reason.clone(), *completed)),
        _ => None,
    });
    assert_eq!(end.await, ("booked".to_owned(), true));
    assert_eq!(bot.noticed("stop").await["reason"], "booked");
    assert_eq!(bot.closed().await, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_of_the_caller_silences_the_bot_here_when_the_file_says_so() {
    let BotCall { host: _host, mut server, mut phone, mut bot } = BotCall::begin("lean", "  barge_in: local\n").await;
    assert_eq!(bot.start["barge_in"], "local");
    bot.pcm(&hum(160_000)).await;
    phone.wait_for(true, 10).await;
    let (barge_in, ()) = tokio::join!(bot.noticed("barge_in"), phone.speak(500));
    assert!(barge_in["timestamp"].as_u64().is_some_and(|at| at > 0), "{barge_in}");
    phone.wait_for(false, 5).await;
    let stopped = server.event("the event", |e| {
        if let CallEvent::BargeIn { stopped_after, .. } = e { Some(*stopped_after) } else { None }
    });
    let stopped = phone.while_talking(stopped).await;
    assert!(stopped < Duration::from_secs(2), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_spoken_by_the_server_s_own_voice() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    bot.say(json!({"type": "say", "text": "One moment, please."})).await;
    phone.wait_for(true, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_answered_with_their_code() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    for (text, code) in [("{", "bad_json"), (r#"{"type":"mark"}"#, "bad_field")] {
        bot.text(text).await;
        assert_eq!(phone.while_talking(bot.noticed("error")).await["code"], code);
    }
    bot.binary(vec![9; 20]).await;
    assert_eq!(phone.while_talking(bot.noticed("error")).await["code"], "bad_header");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_on_hold_is_told_to_the_bot_and_hears_nothing_of_it() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    bot.pcm(&hum(160_000)).await;
    phone.wait_for(true, 5).await;
    phone.line.hold(true).await.unwrap();
    assert_eq!(bot.noticed("held").await, json!({"type": "held", "on": true}));
    assert!(phone.hears_nothing_for(Duration::from_millis(500)).await);
    phone.line.resume().await.unwrap();
    assert_eq!(bot.noticed("held").await, json!({"type": "held", "on": false}));
    bot.pcm(&hum(16_000)).await;
    phone.wait_for(true, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_may_put_the_caller_on_hold_and_take_it_back() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    for on in [true, false] {
        bot.say(json!({"type": "hold", "on": on})).await;
        let held = phone.event("hold", |e| if let LineEvent::Held(held) = e { Some(*held) } else { None }).await;
        assert_eq!(held, on);
        if on {
            // The music.
            phone.wait_for(true, 5).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_also_talks_on_calls_that_we_place() {
    let host = BotHost::open().await;
    let server = host.server("lean", "  parameters: {called: \"{{ call.called_number }}\"}\n").await;
    let mut desk = Desk::open([127, 0, 0, 3]);
    let gateway = Arc::new(desk.gateway("test", PeerTerms::default()));
    let dial = Dial {
        route: Route {
            peer: "test".into(),
            agent: "test".into(),
            program: server.programs["test"].clone(),
            terms: PeerTerms::default(),
        },
        gateway,
        to: Approved::by_operator("600").unwrap(),
        identity: None,
        headers: Vec::new(),
        ring_for: Duration::from_secs(20),
    };
    let supervisor = Arc::clone(&server.server.supervisor);
    let dialled = tokio::spawn(async move { supervisor.dial(dial).await });
    let ringing = desk.ringing().await;
    ringing.phone.line.ring();
    // The connection is there while the phone rings; what the bot is told comes with the answer.
    let mut bot = host.upgraded().await;
    let mut phone = ringing.answer().await;
    let start = phone.while_talking(bot.noticed("start")).await;
    assert_eq!((start["direction"].as_str(), start["parameters"]["called"].as_str()), (Some("outbound"), Some("600")));
    bot.pcm(&hum(16_000)).await;
    phone.wait_for(true, 10).await;
    phone.line.hang_up();
    dialled.await.unwrap().unwrap();
}

/// A server whose trunk hands calls over by a second call to a desk.
async fn with_desk(host: &BotHost, more: &str) -> (TestServer, Desk) {
    let desk = Desk::open([127, 0, 0, 3]);
    let terms = PeerTerms { transfer: TransferBy::Bridge, ..PeerTerms::default() };
    let gateway = Arc::new(desk.gateway("test", terms.clone()));
    let server = TestServer::start_with(&host.agent("lean", more), &[], host.policy(), |plan| {
        plan.trunks[0].terms = terms;
        plan.trunks[0].gateway = Some((*gateway).clone());
    })
    .await;
    (server, desk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_hands_the_call_to_a_destination_by_its_name_and_to_no_other() {
    let host = BotHost::open().await;
    let (mut server, mut desk) = with_desk(&host, "").await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let mut bot = host.bot().await;
    bot.say(json!({"type": "transfer", "destination": "+4930123456"})).await;
    let refused = phone.while_talking(bot.noticed("transfer")).await;
    assert_eq!(refused["accepted"], false);
    assert!(refused["reason"].as_str().unwrap().contains("no destination"), "{refused}");

    bot.say(json!({"type": "transfer", "destination": "desk", "reason": "wants Anna"})).await;
    let ringing = phone.while_talking(desk.ringing()).await;
    let context = ringing.header("X-Offhook-Context").unwrap_or_default();
    assert!(context.contains("wants%20Anna"), "{context}");
    let mut target = phone.while_talking(ringing.answer()).await;
    assert_eq!(phone.while_talking(bot.noticed("transfer")).await["accepted"], true);
    assert_eq!(bot.closed().await, Some(1000));
    let ((), ()) = tokio::join!(phone.speak(400), target.wait_for(true, 5));
    target.line.hang_up();
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_nobody_takes_gives_the_caller_back_to_the_bot() {
    let host = BotHost::open().await;
    let (server, mut desk) = with_desk(&host, "").await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let mut bot = host.bot().await;
    bot.say(json!({"type": "transfer", "destination": "desk"})).await;
    let ringing = phone.while_talking(desk.ringing()).await;
    ringing.refuse(486);
    let decided = phone.while_talking(bot.noticed("transfer")).await;
    assert_eq!(decided["accepted"], false);
    bot.pcm(&hum(9_600)).await;
    phone.wait_for(true, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_bot_is_down_is_handed_to_the_desk_after_the_fallback() {
    let host = BotHost::open().await;
    let more = "  reconnects: 0\n  fallback: {say: I will put you through., transfer: desk}\n\
                text_to_speech: {use: local, voice: anna}\n";
    let (server, mut desk) = with_desk(&host, more).await;
    let asked: Vec<_> = server.tts.asked.lock().unwrap().iter().map(|r| (r.voice.clone(), r.cacheable)).collect();
    assert_eq!(asked, [(Some("anna".to_owned()), true)], "made before any call, in the agent's own voice");
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    drop(host.accept().await);
    phone.wait_for(true, 20).await;
    let ringing = phone.while_talking(desk.ringing()).await;
    let mut target = phone.while_talking(ringing.answer()).await;
    let ((), ()) = tokio::join!(phone.speak(400), target.wait_for(true, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bot_says_comes_to_the_phone_within_a_quarter_of_a_second() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("lean", "").await;
    phone.while_talking(async { while !matches!(bot.hears().await, Heard::Audio(_)) {} }).await;
    let mut took = Vec::new();
    // A machine that stands still meanwhile may need another run.
    while took.len() < 4 {
        let sent = Instant::now();
        bot.pcm(&hum(4_800)).await;
        phone.wait_for(true, 1).await;
        took.push(sent.elapsed());
        if sent.elapsed() < Duration::from_millis(250) {
            return;
        }
        phone.wait_for(false, 20).await;
    }
    panic!("{took:?}");
}
