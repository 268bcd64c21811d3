//! Whole calls over SIP and RTP with a bot that speaks Twilio Media Streams, and what becomes of them when it misbehaves.

use crate::support::bot::{Bot, BotCall, BotHost, Heard, mulaw_hum};
use crate::support::{PATIENCE, Phone, TestServer};
use offhook::call::CallEvent;
use offhook::sip::event::EndCause;
use serde_json::json;
use std::time::{Duration, Instant};

const CALLER: [u8; 4] = [127, 0, 0, 1];

/// The figures of a call that has ended.
async fn figures(server: &mut TestServer) -> Vec<(&'static str, u64)> {
    server
        .event("the end", |e| if let CallEvent::CallEnded { media, .. } = e { Some(media.clone()) } else { None })
        .await
}

fn figure(figures: &[(&'static str, u64)], name: &str) -> u64 {
    figures.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name} in {figures:?}")).1
}

async fn bot_state(server: &mut TestServer, wanted: &str) -> String {
    server
        .event(wanted, |e| match e {
            CallEvent::Bot { state, detail, .. } if *state == wanted => Some(detail.clone()),
            _ => None,
        })
        .await
}

/// Waits until the bot hears something loud (`true`) or quiet.
async fn hears_sound(bot: &mut Bot) {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Heard::Audio(octets) = bot.hears().await {
            let loud = octets.iter().filter(|code| (*code & 0x7F) < 0x50).count();
            if loud > octets.len() / 4 {
                return;
            }
        }
        assert!(Instant::now() < until, "only silence came");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_and_bot_hear_one_another_and_the_stream_is_described_as_twilio_does() {
    let host = BotHost::open().await;
    let more = "  signed_by: {env: BOT_KEY}\n  headers: {X-House: front}\n  parameters: {from: \"{{ call.caller_number }}\"}\n  \
                sip_headers: [X-Customer]\n";
    let mut server = host.server("twilio", more).await;
    let mut phone = Phone::dial(&server.server, CALLER, |invite| {
        invite.headers = vec![("X-Customer".into(), "Anna".into())];
    })
    .await
    .unwrap();
    let (mut bot, answered) = tokio::join!(host.bot(), phone.line.answered());
    answered.unwrap();
    assert_eq!(bot.path, "/media");
    assert_eq!(bot.headers["x-house"], "front");
    assert_eq!(bot.headers["x-twilio-signature"].len(), 28, "a keyed SHA-1 in base64");
    assert_eq!(bot.start["start"]["customParameters"], json!({"sip_x_customer": "Anna", "from": "phone"}));
    bot_state(&mut server, "connected").await;

    let ((), ()) = tokio::join!(phone.speak(400), hears_sound(&mut bot));
    let Heard::Audio(frame) = bot.hears().await else { panic!("no audio") };
    assert_eq!(frame.len(), 160, "20 ms of mu-law");
    bot.media(&mulaw_hum(600)).await;
    phone.wait_for(true, 15).await;
    phone.wait_for(false, 10).await;

    phone.line.hang_up();
    let stop = bot.noticed("stop").await;
    assert_eq!(stop["stop"]["callSid"], bot.start["start"]["callSid"]);
    assert_eq!(bot.closed().await, Some(1000));
    let figures = figures(&mut server).await;
    assert_eq!(figure(&figures, "bot_connections"), 1);
    assert_eq!(figure(&figures, "bot_audio_ms"), 600);
    assert_eq!(figure(&figures, "bot_frames_dropped") + figure(&figures, "bot_faulty_messages"), 0);
    assert!(figure(&figures, "bot_frames_sent") > 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_comes_back_when_its_audio_was_heard_and_at_once_when_there_is_none() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    bot.twilio("mark", Some("empty")).await;
    assert_eq!(phone.while_talking(bot.noticed("mark")).await["mark"], json!({"name": "empty"}));
    let asked = Instant::now();
    bot.media(&mulaw_hum(500)).await;
    bot.twilio("mark", Some("half")).await;
    bot.media(&mulaw_hum(500)).await;
    bot.twilio("mark", Some("whole")).await;
    let half = phone.while_talking(bot.noticed("mark")).await;
    let after_half = asked.elapsed();
    assert_eq!(half["mark"]["name"], "half");
    assert_eq!(half["streamSid"], bot.start["streamSid"]);
    let whole = phone.while_talking(bot.noticed("mark")).await;
    assert_eq!(whole["mark"]["name"], "whole");
    assert!(after_half >= Duration::from_millis(450), "{after_half:?}");
    assert!(asked.elapsed() >= Duration::from_millis(950), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_silences_the_bot_at_once_and_brings_its_marks_back() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    bot.media(&mulaw_hum(10_000)).await;
    bot.twilio("mark", Some("end")).await;
    phone.wait_for(true, 10).await;
    bot.twilio("clear", None).await;
    let cleared = Instant::now();
    let mark = phone.while_talking(bot.noticed("mark")).await;
    assert_eq!(mark["mark"]["name"], "end");
    phone.wait_for(false, 5).await;
    assert!(cleared.elapsed() < Duration::from_secs(2), "{:?} of ten seconds", cleared.elapsed());
    bot.media(&mulaw_hum(400)).await;
    phone.wait_for(true, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_reach_the_bot() {
    let BotCall { host: _host, server: _server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    for key in ['5', '#'] {
        phone.line.press(key);
        let dtmf = phone.while_talking(bot.noticed("dtmf")).await;
        assert_eq!(dtmf["dtmf"], json!({"track": "inbound_track", "digit": key.to_string()}));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_closes_in_good_order_is_heard_to_its_end_and_ends_the_call() {
    let BotCall { host: _host, mut server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    bot.media(&mulaw_hum(1_500)).await;
    bot.close(1000).await;
    phone.wait_for(true, 20).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_broken_connection_the_bot_gets_the_audio_it_missed() {
    let BotCall { host, mut server, mut phone, bot } = BotCall::begin("twilio", "").await;
    let sid = bot.start["streamSid"].clone();
    // No goodbye: the process died.
    drop(bot);
    bot_state(&mut server, "lost").await;
    let (mut bot, ()) = tokio::join!(host.bot(), phone.speak(300));
    assert_eq!(bot.start["streamSid"], sid, "the same stream goes on");
    assert_eq!(bot.start["sequenceNumber"], "1");
    phone.while_talking(hears_sound(&mut bot)).await;
    bot_state(&mut server, "reconnected").await;
    bot.media(&mulaw_hum(400)).await;
    phone.wait_for(true, 10).await;
    phone.line.hang_up();
    assert_eq!(figure(&figures(&mut server).await, "bot_connections"), 2);
}

/// A second call beside one whose bot misbehaves: it has to be as good as ever.
async fn is_unharmed(server: &TestServer, host: &BotHost) {
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let mut bot = host.bot().await;
    let ((), ()) = tokio::join!(phone.speak(200), hears_sound(&mut bot));
    bot.media(&mulaw_hum(400)).await;
    phone.wait_for(true, 15).await;
    phone.line.hang_up();
    assert_eq!(bot.closed().await, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_sends_rubbish_is_borne_for_a_while_and_then_cut_off() {
    let BotCall { host, mut server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    bot.text("}{").await;
    bot.binary(vec![1, 2, 3]).await;
    bot.say(json!({"event": "someday"})).await;
    bot.media(&mulaw_hum(300)).await;
    phone.wait_for(true, 5).await;
    is_unharmed(&server, &host).await;
    for _ in 0..60 {
        bot.text("nonsense").await;
    }
    assert_eq!(phone.while_talking(bot.closed()).await, Some(1008));
    bot_state(&mut server, "fallback").await;
    phone.wait_for(true, 5).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    let figures = figures_of_the_rubbish(&mut server).await;
    assert_eq!(figure(&figures, "bot_faulty_messages"), 51);
    assert_eq!(figure(&figures, "bot_unknown_messages"), 1);
}

/// The other call has ended, too: these are the figures of the one with faults.
async fn figures_of_the_rubbish(server: &mut TestServer) -> Vec<(&'static str, u64)> {
    loop {
        let figures = figures(server).await;
        if figure(&figures, "bot_faulty_messages") > 0 {
            return figures;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_floods_is_heard_within_bounds_and_then_cut_off() {
    let BotCall { host, mut server, mut phone, mut bot } = BotCall::begin("twilio", "  queue: 2s\n").await;
    // Three seconds too much are only dropped.
    bot.media(&mulaw_hum(5_000)).await;
    phone.wait_for(true, 10).await;
    is_unharmed(&server, &host).await;
    bot.media(&mulaw_hum(8_000)).await;
    assert_eq!(phone.while_talking(bot.closed()).await, Some(1008));
    let why = bot_state(&mut server, "lost").await;
    assert!(why.contains("faster than anyone can hear"), "{why}");
    assert_eq!(phone.ended().await, EndCause::Remote);
    loop {
        let figures = figures(&mut server).await;
        if figure(&figures, "bot_audio_dropped_ms") > 0 {
            let kept = figure(&figures, "bot_audio_ms");
            assert!((2_000..=5_500).contains(&kept), "{kept} ms were taken in");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_sends_messages_without_end_is_cut_off() {
    let BotCall { host: _host, mut server, mut phone, mut bot } = BotCall::begin("twilio", "").await;
    let flood = async {
        use futures_util::SinkExt;
        for _ in 0..20_000 {
            let message = tokio_tungstenite::tungstenite::Message::text(r#"{"event":"clear"}"#);
            if bot.socket.send(message).await.is_err() {
                break;
            }
        }
    };
    phone.while_talking(flood).await;
    let why = bot_state(&mut server, "lost").await;
    assert!(why.contains("too many messages"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_never_answers_or_closes_at_once_leaves_the_caller_with_the_fallback() {
    let host = BotHost::open().await;
    let more = "  connect_timeout: 300ms\n  reconnects: 1\n  fallback: {say: Please call again later.}\n";
    let mut server = host.server("twilio", more).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    // The first is accepted by the system and never upgraded, the second is closed.
    let held = host.accept().await;
    drop(host.accept().await);
    bot_state(&mut server, "fallback").await;
    phone.wait_for(true, 20).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    let figures = figures(&mut server).await;
    assert_eq!(figure(&figures, "bot_connections"), 0);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_closes_right_after_the_start_is_tried_again_only_so_often() {
    let host = BotHost::open().await;
    let mut server = host.server("twilio", "  reconnects: 2\n").await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    for _ in 0..3 {
        let mut bot = phone.while_talking(host.bot()).await;
        bot.close(1011).await;
    }
    bot_state(&mut server, "fallback").await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    assert_eq!(figure(&figures(&mut server).await, "bot_connections"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_reads_nothing_costs_its_own_call_old_audio_and_no_more() {
    let host = BotHost::open().await;
    let mut server = host.server("twilio", "  buffer: 200ms\n  reconnects: 0\n").await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let bot = host.upgraded().await;
    // A tiny window: the kernels' buffers fill after a few seconds of audio.
    let small = socket2::SockRef::from(bot.socket.get_ref());
    small.set_recv_buffer_size(2_304).unwrap();
    let why = tokio::time::timeout(Duration::from_secs(120), phone.while_talking(bot_state(&mut server, "lost")));
    is_unharmed(&host.server("twilio", "").await, &host).await;
    let why = why.await.expect("the stall is noticed");
    assert!(why.contains("read nothing") || why.contains("no sign of life"), "{why}");
    assert_eq!(phone.ended().await, EndCause::Remote);
    drop(bot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_refuses_a_bot_on_this_machine_unless_the_operator_allows_it() {
    let agent = "agent: bot\nbridge: {url: \"ws://127.0.0.1:9/\", protocol: twilio}\n";
    let agent = std::sync::Arc::new(offhook::agent::Agent::parse("bot.yaml", agent, &[]).unwrap());
    let surroundings = offhook::call::bot::BotSurroundings {
        policy: offhook::tools::EgressPolicy::default(),
        resolver: std::sync::Arc::new(offhook::tools::SystemResolver),
        extra_roots: &[],
        environment: &|_| None,
        voice: None,
    };
    let error = offhook::call::bot::BotSetup::new(agent, surroundings).await.unwrap_err();
    assert!(error.contains("danger_allow_http"), "{error}");
}
