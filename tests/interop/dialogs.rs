//! What happens within calls with a real Asterisk: hold, media that moves, timers, early media, refusals, keys,
//! transfers.

use std::time::Duration;

use crate::own::Own;
use crate::phones::{Line, Pjsua};
use crate::support::{Asterisk, Bench, babble, compare, music, pause, wait_until};
use crate::table::Case;
use offhook::{
    call::{DigitsBy, LineEvent},
    sip::{
        DialogPolicy, OutgoingInvite, Refer, Refresher, SessionTimer, Transport, Uri,
        event::{EndCause, TransferOutcome},
    },
};

const ASTERISK: &str = "asterisk";
const SOON: Duration = Duration::from_secs(5);

/// Whether most of what was heard is `expected`: a stretch of it, from wherever.
#[track_caller]
fn assert_hears(heard: &[i16], expected: &[i16], what: &str) {
    let found = compare(heard, expected);
    assert!(found.voiced >= 8 && found.share() >= 0.85, "{what}: {found:?} in {} samples", heard.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_telephone_that_holds_us_lets_us_hear_the_pbxs_music_and_comes_back() {
    let _case = Case::begin(ASTERISK, "hold with music of the PBX, resume", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    let speech = babble(60);
    let mut phone = Pjsua::start(
        &bench.path().join("pjsua"),
        &Line::extension(bench.address(30), "1002", &asterisk.address()),
        &speech,
    );
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.dial(asterisk.socket(), "1002", "4711").await.expect("the telephone answers");
    pause(Duration::from_secs(2));
    assert_hears(&call.take_heard(), &speech, "the telephone at first");

    phone.hold();
    phone.wait_for("Call 0 media 0 [type=audio], status is Local hold", 1);
    pause(Duration::from_millis(500));
    call.take_heard();
    pause(Duration::from_secs(3));
    assert_hears(&call.take_heard(), &music(60), "music while held");

    phone.resume();
    pause(Duration::from_millis(700));
    call.take_heard();
    pause(Duration::from_secs(2));
    assert_hears(&call.take_heard(), &speech, "the telephone again");
    call.hang_up();
    assert_eq!(call.ended().await.last(), Some(&LineEvent::Ended(EndCause::Local)));
    wait_until(SOON, "the PBX has no call", || asterisk.channels() == 0);
}

/// A call of ours by a stream, on which the PBX's requests come back: held with music, resumed, handed over by REFER.
async fn a_call_by_stream_is_held_resumed_and_transferred(transport: Transport, name: &'static str) {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let speech = babble(60);
    let mut phone = Pjsua::start(
        &bench.path().join("pjsua"),
        &Line::extension(bench.address(30), "1002", &asterisk.address()),
        &speech,
    );
    let own = Own::open_by(&bench, &asterisk, transport);
    let call = own.dial_by(&asterisk, transport, "1002").await.expect("the telephone answers");
    {
        let _case = Case::begin(ASTERISK, "hold with music of the PBX, resume", name);
        pause(Duration::from_secs(2));
        assert_hears(&call.take_heard(), &speech, "the telephone at first");
        phone.hold();
        phone.wait_for("Call 0 media 0 [type=audio], status is Local hold", 1);
        pause(Duration::from_millis(500));
        call.take_heard();
        pause(Duration::from_secs(3));
        assert_hears(&call.take_heard(), &music(60), "music while held");
        phone.resume();
        pause(Duration::from_millis(700));
        call.take_heard();
        pause(Duration::from_secs(2));
        assert_hears(&call.take_heard(), &speech, "the telephone again");
    }
    let _case = Case::begin(ASTERISK, "blind transfer by us", name);
    let order = refer(&asterisk, "604");
    call.wish(move |line| {
        let leg = line.leg;
        line.sip.post(move |endpoint, now| endpoint.refer(now, leg, order).expect("the leg is up"));
    });
    let events = call.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    wait_until(SOON, "arrived", || asterisk.database("arrived").is_some());
    phone.hang_up();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_call_by_tcp_is_held_with_music_resumed_and_transferred() {
    a_call_by_stream_is_held_resumed_and_transferred(Transport::Tcp, "TCP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_call_by_tls_is_held_with_music_resumed_and_transferred() {
    a_call_by_stream_is_held_resumed_and_transferred(Transport::Tls, "TLS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pbx_that_passes_hold_on_by_reinvite_holds_us_and_takes_us_back() {
    let _case = Case::begin(ASTERISK, "hold and resume by re-INVITE", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let speech = babble(60);
    let mut phone = Pjsua::start(
        &bench.path().join("pjsua"),
        &Line::extension(bench.address(30), "1002", &asterisk.address()),
        &speech,
    );
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.dial(asterisk.socket(), "1002", "line-passes-hold").await.expect("the telephone answers");
    call.say(&babble(60));
    pause(Duration::from_secs(1));
    phone.hold();
    call.wait_until(SOON, "held", |call| call.events().contains(&LineEvent::Held(true)));
    pause(Duration::from_secs(1));
    phone.resume();
    call.wait_until(SOON, "taken back", |call| call.events().contains(&LineEvent::Held(false)));
    pause(Duration::from_millis(300));
    call.take_heard();
    pause(Duration::from_secs(2));
    assert_hears(&call.take_heard(), &speech, "the telephone again");
    phone.hang_up();
    let events = call.ended().await;
    assert!(
        events.ends_with(&[LineEvent::Held(true), LineEvent::Held(false), LineEvent::Ended(EndCause::Remote)]),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn media_goes_directly_to_the_telephone_after_a_reinvite_and_both_hear_each_other() {
    let _case = Case::begin(ASTERISK, "direct_media re-INVITE", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    let (theirs, ours) = (babble(60), music(60));
    let address = bench.address(30);
    let phone =
        Pjsua::start(&bench.path().join("pjsua"), &Line::extension(address, "1003", &asterisk.address()), &theirs);
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.dial(asterisk.socket(), "1003", "line-direct").await.expect("the telephone answers");
    call.say(&ours);
    let moved = format!("c=IN IP4 {address}");
    let us = own.sip.local_addr().ip().to_string();
    call.wait_until(SOON, "the PBX names the telephone's address to us", |_| {
        asterisk.messages().iter().any(|m| m.sent && m.is("INVITE") && m.text.contains(&us) && m.text.contains(&moved))
    });
    pause(Duration::from_millis(500));
    call.take_heard();
    pause(Duration::from_secs(3));
    assert_hears(&call.take_heard(), &theirs, "the telephone, directly");
    let heard = phone.stop();
    call.ended().await;
    assert_hears(&heard[heard.len().saturating_sub(16_000)..], &ours, "us, at the telephone");
}

/// Sessions of the shortest length that RFC 4028 allows.
fn short_sessions(refresher: Refresher) -> DialogPolicy {
    let (expires, min_se) = (Duration::from_secs(90), Duration::from_secs(90));
    DialogPolicy { session_timer: Some(SessionTimer { expires, min_se, refresher }), ..DialogPolicy::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pbx_that_wants_longer_sessions_gets_them() {
    let _case = Case::begin(ASTERISK, "session timers: 422, then with the PBX's Min-SE", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    let own = Own::open(&bench, asterisk.socket(), short_sessions(Refresher::Either));
    let call = own.dial(asterisk.socket(), "600", "line-timers-long").await.expect("the echo answers");
    let messages = asterisk.messages();
    assert!(messages.iter().any(|m| m.sent && m.is("SIP/2.0 422") && m.header("Min-SE") == Some("300")));
    let agreed = messages.iter().find(|m| m.sent && m.is("SIP/2.0 200") && m.text.contains("m=audio"));
    assert!(
        agreed.and_then(|m| m.header("Session-Expires")).is_some_and(|value| value.starts_with("300")),
        "{agreed:?}"
    );
    call.hang_up();
    call.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pbx_that_insists_on_reliable_provisional_responses_gets_its_acknowledgements_and_ours() {
    let _case = Case::begin(ASTERISK, "100rel and PRACK, both ways", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.dial(asterisk.socket(), "613", "line-100rel").await.expect("it answers after ringing");
    call.hang_up();
    call.ended().await;
    let pracked = |sent: bool| asterisk.messages().iter().any(|m| m.sent == sent && m.is("PRACK"));
    assert!(pracked(false), "we acknowledged its 180");
    asterisk
        .cli(&format!("channel originate PJSIP/line-100rel/sip:4711@{} extension echo@interop", own.sip.local_addr()));
    let call = own.ring_and_answer().await;
    pause(Duration::from_secs(1));
    call.hang_up();
    call.ended().await;
    assert!(pracked(true), "it acknowledged ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn sessions_of_90_seconds_are_refreshed_whoever_called() {
    let _case = Case::begin(ASTERISK, "session timers of 90 s, both roles", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    // Four at once, so that the 45 s to the first refresh pass once: each side calls, with timers that the PBX offers
    // and with timers that it insists on. Who is called refreshes.
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let mut calls = Vec::new();
    for line in ["line-timers", "line-timers-required"] {
        let theirs = |invite: &mut OutgoingInvite| invite.dialog = short_sessions(Refresher::Theirs);
        calls.push(own.dial_with(asterisk.socket(), "600", line, theirs).await.expect("the echo answers"));
        asterisk
            .cli(&format!("channel originate PJSIP/{line}/sip:4711@{} extension echo@interop", own.sip.local_addr()));
        calls.push(own.answer().await);
    }
    pause(Duration::from_secs(52));
    let messages = asterisk.messages();
    // A refresh is a request within a dialog that carries the interval; its response carries it as well.
    let refreshes = |sent: bool| {
        let requests: Vec<_> = messages
            .iter()
            .filter(|m| m.sent == sent && (m.is("INVITE") || m.is("UPDATE")))
            .filter(|m| m.header("To").is_some_and(|to| to.contains("tag=")) && m.header("Session-Expires").is_some())
            .collect();
        requests
            .iter()
            .filter(|request| {
                messages.iter().any(|m| {
                    m.sent != sent
                        && m.is("SIP/2.0 200")
                        && m.header("Call-ID") == request.header("Call-ID")
                        && m.header("CSeq") == request.header("CSeq")
                        && m.header("Session-Expires").is_some_and(|value| value.starts_with("90"))
                })
            })
            .filter_map(|request| request.header("Call-ID").map(str::to_owned))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (by_pbx, by_us) = (refreshes(true), refreshes(false));
    assert_eq!(by_pbx.len() + by_us.len(), 4, "refreshed by the PBX: {by_pbx:?}, by us: {by_us:?}");
    assert_eq!(by_pbx.len(), 2, "by the PBX: {by_pbx:?}, by us: {by_us:?}");
    for call in calls {
        let disturbed = |event: &LineEvent| !matches!(event, LineEvent::Answered(_) | LineEvent::Ringing(_));
        assert!(!call.events().iter().any(disturbed), "up and not disturbed: {:?}", call.events());
        call.hang_up();
        call.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_announcement_before_the_answer_is_heard() {
    let _case = Case::begin(ASTERISK, "early media", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let announcement = babble(3);
    asterisk.set_played(&announcement);
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.dial(asterisk.socket(), "608", "4711").await.expect("it answers after the announcement");
    let events = call.events();
    assert!(events.contains(&LineEvent::EarlyMedia(183)), "{events:?}");
    let found = compare(&announcement, &call.take_heard());
    assert!(found.share() >= 0.9, "{found:?}");
    call.hang_up();
    call.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn busy_unavailable_and_refused_after_early_media_are_told_apart() {
    let _case = Case::begin(ASTERISK, "busy, 503, refused after early media", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    for (number, status) in [("614", "486"), ("615", "503"), ("612", "480")] {
        match own.dial(asterisk.socket(), number, "4711").await {
            Ok(_) => panic!("{number} does not answer"),
            Err(error) => assert!(error.contains(status), "{number}: {error}"),
        }
    }
    wait_until(SOON, "the PBX has no call", || asterisk.channels() == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_call_that_nobody_answers_is_given_up_by_cancel() {
    let _case = Case::begin(ASTERISK, "no answer: CANCEL", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    asterisk.trace();
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let call = own.place(asterisk.socket(), "616", "4711", |_| ()).await;
    call.wait_until(SOON, "it rings", |call| call.events().contains(&LineEvent::Ringing(180)));
    call.hang_up();
    assert_eq!(call.ended().await.last(), Some(&LineEvent::Ended(EndCause::Local)));
    wait_until(SOON, "the PBX has no call", || asterisk.channels() == 0);
    assert!(asterisk.messages().iter().any(|m| m.sent && m.is("SIP/2.0 487")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn keys_arrive_once_each_by_rfc_4733_info_and_tones_and_ours_arrive_at_the_pbx() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    asterisk.set_global("DIGITS", "1550*#9");
    asterisk.set_global("LISTEN", "1");
    for (line, keys, feature) in [
        ("trunk-ip", DigitsBy::Rfc4733, "keys by RFC 4733, to us"),
        ("line-info", DigitsBy::Info, "keys by SIP INFO, to us"),
        ("line-inband", DigitsBy::Inband, "keys as tones, to us"),
    ] {
        let _case = Case::begin(ASTERISK, feature, "UDP");
        asterisk
            .cli(&format!("channel originate PJSIP/{line}/sip:4711@{} extension digits@interop", own.sip.local_addr()));
        let call = own.answer_with_keys(keys).await;
        call.wait_until(Duration::from_secs(6), line, |call| call.digits().len() >= 7);
        pause(Duration::from_millis(500));
        assert_eq!(call.digits(), "1550*#9", "{line}");
        call.ended().await;
    }
    for (user, keys, feature) in [
        ("4711", DigitsBy::Rfc4733, "keys by RFC 4733, of ours"),
        ("line-info", DigitsBy::Info, "keys by SIP INFO, of ours"),
        ("line-inband", DigitsBy::Inband, "keys as tones, of ours"),
    ] {
        let _case = Case::begin(ASTERISK, feature, "UDP");
        let call = own.dial_with_keys(asterisk.socket(), "603", user, keys).await.expect("the reader answers");
        pause(Duration::from_millis(800));
        call.press("2580");
        wait_until(Duration::from_secs(8), "the PBX has read them", || asterisk.database("digits").is_some());
        assert_eq!(asterisk.database("digits").as_deref(), Some("2580"), "{user}");
        asterisk.cli("database del interop digits");
        call.hang_up();
        call.ended().await;
    }
}

/// REFER of a call to `number`.
fn refer(asterisk: &Asterisk, number: &str) -> Refer {
    Refer {
        target: Uri::sip_address(asterisk.socket()).with_user(number),
        referred_by: None,
        replaces: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(20),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_caller_that_we_refer_arrives_and_we_learn_it() {
    let _case = Case::begin(ASTERISK, "blind transfer by us", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let speech = babble(60);
    let mut phone = Pjsua::start(
        &bench.path().join("pjsua"),
        &Line::extension(bench.address(30), "1002", &asterisk.address()),
        &speech,
    );
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    phone.call(&format!("sip:4711*trunk-ip@{}", asterisk.address()));
    let call = own.answer().await;
    pause(Duration::from_secs(1));
    let order = refer(&asterisk, "604");
    call.wish(move |line| {
        let leg = line.leg;
        line.sip.post(move |endpoint, now| endpoint.refer(now, leg, order).expect("the leg is up"));
    });
    let events = call.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    wait_until(SOON, "arrived", || asterisk.database("arrived").is_some());
    assert_eq!(asterisk.database("arrived").as_deref(), Some("1002"));
    pause(Duration::from_secs(3));
    phone.hang_up();
    assert_hears(&asterisk.recording("604.wav"), &speech, "the telephone, at the target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transfer_to_a_number_that_is_busy_leaves_the_caller_with_us() {
    let _case = Case::begin(ASTERISK, "blind transfer by us, target unknown", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let speech = babble(60);
    let mut phone = Pjsua::start(
        &bench.path().join("pjsua"),
        &Line::extension(bench.address(30), "1002", &asterisk.address()),
        &speech,
    );
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    phone.call(&format!("sip:4711*trunk-ip@{}", asterisk.address()));
    let call = own.answer().await;
    pause(Duration::from_secs(1));
    let order = refer(&asterisk, "no-such-extension");
    call.wish(move |line| {
        let leg = line.leg;
        line.sip.post(move |endpoint, now| endpoint.refer(now, leg, order).expect("the leg is up"));
    });
    call.wait_until(SOON, "refused", |call| {
        call.events().iter().any(|e| matches!(e, LineEvent::Transferred(TransferOutcome::Refused { .. })))
    });
    call.take_heard();
    pause(Duration::from_secs(2));
    assert_hears(&call.take_heard(), &speech, "the telephone is still with us");
    call.hang_up();
    call.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_caller_that_we_announced_to_the_target_first_is_joined_with_it() {
    let _case = Case::begin(ASTERISK, "attended transfer by us", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let (theirs, hers) = (babble(60), music(60));
    let phone = |ip: u8, user: &str, plays: &[i16]| {
        let line = Line::extension(bench.address(ip), user, &asterisk.address());
        Pjsua::start(&bench.path().join(user), &line, plays)
    };
    let (caller_phone, target_phone) = (phone(30, "1002", &theirs), phone(31, "1001", &hers));
    let own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    let caller = own.dial(asterisk.socket(), "1002", "4711").await.expect("the caller's telephone answers");
    let target = own.dial(asterisk.socket(), "1001", "4711").await.expect("the target answers");
    pause(Duration::from_secs(1));
    let leg = target.leg;
    let replaces = own.sip.run(move |endpoint, _| endpoint.replaces_value(leg)).await.expect("the endpoint lives");
    assert!(replaces.is_some(), "the call to the target is up");
    let order = Refer { replaces, ..refer(&asterisk, "1001") };
    caller.wish(move |line| {
        let leg = line.leg;
        line.sip.post(move |endpoint, now| endpoint.refer(now, leg, order).expect("the leg is up"));
    });
    let events = caller.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    assert_eq!(target.ended().await.last(), Some(&LineEvent::Ended(EndCause::Remote)), "the PBX took it over");
    pause(Duration::from_secs(3));
    let heard = [target_phone.stop(), caller_phone.stop()];
    for (heard, said) in heard.iter().zip([theirs, hers]) {
        assert_hears(&heard[heard.len().saturating_sub(16_000)..], &said, "each other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transfer_that_the_pbx_asks_for_is_refused_where_it_is_not_allowed_and_the_call_goes_on() {
    let _case = Case::begin(ASTERISK, "REFER to us refused by default", "UDP");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let mut own = Own::open(&bench, asterisk.socket(), DialogPolicy::default());
    asterisk
        .cli(&format!("channel originate PJSIP/trunk-ip/sip:4711@{} extension refer@interop", own.sip.local_addr()));
    let call = own.answer().await;
    wait_until(Duration::from_secs(10), "the PBX knows", || asterisk.database("transfer").is_some());
    assert_eq!(asterisk.database("transfer").as_deref(), Some("FAILURE"));
    assert_eq!(call.events(), [], "the call goes on");
    call.hang_up();
    call.ended().await;
}
