//! What happens within calls with a real Asterisk: hold, media that moves, timers, early media, refusals, keys,
//! transfers.

use std::{collections::BTreeSet, time::Duration};

use crate::own::{Conversation, Own};
use crate::phones::{Line, Pjsua};
use crate::support::{Asterisk, Bench, Message, PATIENCE, babble, compare, music, pause, wait_until};
use crate::table::Case;
use offhook::{
    call::{DigitsBy, LineEvent},
    sip::{
        DialogPolicy, OutgoingInvite, Refer, Refresher, SessionTimer, Transport, Uri,
        event::{EndCause, TransferOutcome},
    },
};

const ASTERISK: &str = "asterisk";
/// Stretches of a call that are listened to for what is to come.
const STRETCHES: usize = 4;

/// A PBX, and us at the far end of its lines.
struct Place {
    own: Own,
    asterisk: Asterisk,
    bench: Bench,
}

impl Place {
    fn open() -> Self {
        Self::open_with(DialogPolicy::default())
    }

    /// Our calls are allowed this.
    fn open_with(dialog: DialogPolicy) -> Self {
        let bench = Bench::open_beside_others();
        let asterisk = Asterisk::start(&bench, 60);
        let own = Own::open(&bench, asterisk.socket(), dialog);
        Self { own, asterisk, bench }
    }

    /// The same over a stream.
    fn open_by(transport: Transport) -> Self {
        let bench = Bench::open_beside_others();
        let asterisk = Asterisk::start(&bench, 60);
        let own = Own::open_by(&bench, &asterisk, transport);
        Self { own, asterisk, bench }
    }

    /// A telephone of the PBX's extension 1002 that says `speech`.
    fn phone(&self, speech: &[i16]) -> Pjsua {
        self.phone_of("1002", 30, speech)
    }

    fn phone_of(&self, user: &str, ip: u8, speech: &[i16]) -> Pjsua {
        let line = Line::extension(self.bench.address(ip), user, &self.asterisk.address());
        Pjsua::start(&self.bench.path().join(user), &line, speech)
    }

    /// Calls `number` as `user`, which is the line that the PBX takes us for.
    async fn dial(&self, number: &str, user: &str) -> Result<Conversation, String> {
        self.own.dial(self.asterisk.socket(), number, user).await
    }

    /// Has the PBX call us over `line`; what it does in the call is `does` of its dial plan.
    fn has_us_called(&self, line: &str, does: &str) {
        let us = self.own.sip.local_addr();
        self.asterisk.cli(&format!("channel originate PJSIP/{line}/sip:4711@{us} extension {does}@interop"));
    }

    /// REFER to `number`.
    fn refer(&self, number: &str) -> Refer {
        Refer {
            target: Uri::sip_address(self.asterisk.socket()).with_user(number),
            referred_by: None,
            replaces: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(20),
        }
    }

    #[track_caller]
    fn wait_until_idle(&self) {
        wait_until(PATIENCE, "the PBX has no call", || self.asterisk.channels() == 0);
    }
}

/// Sends it on the call's leg.
fn send(call: &Conversation, refer: Refer) {
    call.wish(move |line| {
        let leg = line.leg;
        line.sip.post(move |endpoint, now| endpoint.refer(now, leg, refer).expect("the leg is up"));
    });
}

/// Whether most of what was heard is `expected`, a stretch of it from wherever; and the figures.
fn hears(heard: &[i16], expected: &[i16]) -> (bool, String) {
    let found = compare(heard, expected);
    (found.voiced >= 8 && found.share() >= 0.85, format!("{found:?} in {} samples", heard.len()))
}

#[track_caller]
fn assert_hears(heard: &[i16], expected: &[i16], what: &str) {
    let (hears, figures) = hears(heard, expected);
    assert!(hears, "{what}: {figures}");
}

/// Whether `expected` is heard for `seconds` from `settled` milliseconds on, or in one of the next stretches as long: a loaded
/// machine takes a while to change over.
#[track_caller]
fn assert_hears_next(call: &Conversation, settled: u64, seconds: u64, expected: &[i16], what: &str) {
    pause(Duration::from_millis(settled));
    let mut heard = Vec::new();
    for _ in 0..STRETCHES {
        call.take_heard();
        pause(Duration::from_secs(seconds));
        let (hears, figures) = hears(&call.take_heard(), expected);
        heard.push(figures);
        if hears {
            return;
        }
    }
    panic!("{what}: {heard:?}");
}

/// The telephone holds us, and we hear the PBX's music until it comes back.
#[track_caller]
fn assert_held_with_music_and_resumed(phone: &mut Pjsua, call: &Conversation, speech: &[i16]) {
    assert_hears_next(call, 0, 2, speech, "the telephone at first");
    phone.hold();
    phone.wait_for("Call 0 media 0 [type=audio], status is Local hold", 1);
    assert_hears_next(call, 500, 3, &music(60), "music while held");
    phone.resume();
    assert_hears_next(call, 700, 2, speech, "the telephone again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_telephone_that_holds_us_lets_us_hear_the_pbxs_music_and_comes_back() {
    let _case = Case::begin(ASTERISK, "hold with music of the PBX, resume", "UDP");
    let place = Place::open();
    place.asterisk.trace();
    let speech = babble(60);
    let mut phone = place.phone(&speech);
    let call = place.dial("1002", "4711").await.expect("the telephone answers");
    assert_held_with_music_and_resumed(&mut phone, &call, &speech);
    call.hang_up();
    assert_eq!(call.ended().await.last(), Some(&LineEvent::Ended(EndCause::Local)));
    place.wait_until_idle();
}

/// A call of ours by a stream, on which the PBX's requests come back: held with music, resumed, handed over by REFER.
async fn a_call_by_stream_is_held_resumed_and_transferred(transport: Transport, name: &'static str) {
    let place = Place::open_by(transport);
    let speech = babble(60);
    let mut phone = place.phone(&speech);
    let call = place.own.dial_by(&place.asterisk, transport, "1002").await.expect("the telephone answers");
    {
        let _case = Case::begin(ASTERISK, "hold with music of the PBX, resume", name);
        assert_held_with_music_and_resumed(&mut phone, &call, &speech);
    }
    let _case = Case::begin(ASTERISK, "blind transfer by us", name);
    send(&call, place.refer("604"));
    let events = call.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    wait_until(PATIENCE, "arrived", || place.asterisk.database("arrived").is_some());
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
    let place = Place::open();
    let speech = babble(60);
    let mut phone = place.phone(&speech);
    let call = place.dial("1002", "line-passes-hold").await.expect("the telephone answers");
    call.say(&babble(60));
    pause(Duration::from_secs(1));
    phone.hold();
    call.wait_until(PATIENCE, "held", |call| call.events().contains(&LineEvent::Held(true)));
    pause(Duration::from_secs(1));
    phone.resume();
    call.wait_until(PATIENCE, "taken back", |call| call.events().contains(&LineEvent::Held(false)));
    assert_hears_next(&call, 300, 2, &speech, "the telephone again");
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
    let place = Place::open();
    place.asterisk.trace();
    let (theirs, ours) = (babble(60), music(60));
    let phone = place.phone_of("1003", 30, &theirs);
    let call = place.dial("1003", "line-direct").await.expect("the telephone answers");
    call.say(&ours);
    let moved = format!("c=IN IP4 {}", place.bench.address(30));
    let us = place.own.sip.local_addr().ip().to_string();
    call.wait_until(PATIENCE, "the PBX names the telephone's address to us", |_| {
        let messages = place.asterisk.messages();
        messages.iter().any(|m| m.sent && m.is("INVITE") && m.text.contains(&us) && m.text.contains(&moved))
    });
    assert_hears_next(&call, 500, 3, &theirs, "the telephone, directly");
    let heard = phone.stop();
    call.ended().await;
    assert_hears(&heard[heard.len().saturating_sub(24_000)..], &ours, "us, at the telephone");
}

/// Sessions of the shortest length that RFC 4028 allows.
fn short_sessions(refresher: Refresher) -> DialogPolicy {
    let (expires, min_se) = (Duration::from_secs(90), Duration::from_secs(90));
    DialogPolicy { session_timer: Some(SessionTimer { expires, min_se, refresher }), ..DialogPolicy::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pbx_that_wants_longer_sessions_gets_them() {
    let _case = Case::begin(ASTERISK, "session timers: 422, then with the PBX's Min-SE", "UDP");
    let place = Place::open_with(short_sessions(Refresher::Either));
    place.asterisk.trace();
    let call = place.dial("600", "line-timers-long").await.expect("the echo answers");
    place.asterisk.wait_for_message("422", |m| m.sent && m.is("SIP/2.0 422") && m.header("Min-SE") == Some("300"));
    let agreed =
        place.asterisk.wait_for_message("200", |m| m.sent && m.is("SIP/2.0 200") && m.text.contains("m=audio"));
    assert!(agreed.header("Session-Expires").is_some_and(|value| value.starts_with("300")), "{agreed:?}");
    call.hang_up();
    call.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pbx_that_insists_on_reliable_provisional_responses_gets_its_acknowledgements_and_ours() {
    let _case = Case::begin(ASTERISK, "100rel and PRACK, both ways", "UDP");
    let mut place = Place::open();
    place.asterisk.trace();
    let call = place.dial("613", "line-100rel").await.expect("it answers after ringing");
    call.hang_up();
    call.ended().await;
    place.asterisk.wait_for_message("we acknowledge its 180", |m| !m.sent && m.is("PRACK"));
    place.has_us_called("line-100rel", "echo");
    let call = place.own.ring_and_answer().await;
    pause(Duration::from_secs(1));
    call.hang_up();
    call.ended().await;
    place.asterisk.wait_for_message("it acknowledges ours", |m| m.sent && m.is("PRACK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn sessions_of_90_seconds_are_refreshed_whoever_called() {
    let _case = Case::begin(ASTERISK, "session timers of 90 s, both roles", "UDP");
    let mut place = Place::open();
    place.asterisk.trace();
    // Four at once, so that the 45 s to the first refresh pass once: each side calls, with timers that the PBX offers
    // and with timers that it insists on. Who is called refreshes.
    let mut calls = Vec::new();
    for line in ["line-timers", "line-timers-required"] {
        let theirs = |invite: &mut OutgoingInvite| invite.dialog = short_sessions(Refresher::Theirs);
        let ours = place.own.dial_with(place.asterisk.socket(), "600", line, theirs).await;
        calls.push(ours.expect("the echo answers"));
        place.has_us_called(line, "echo");
        calls.push(place.own.answer().await);
    }
    pause(Duration::from_secs(44));
    let refreshed = |by_pbx: bool| refreshes(&place.asterisk.messages(), by_pbx);
    wait_until(Duration::from_secs(16), "four refreshes", || refreshed(true).len() + refreshed(false).len() >= 4);
    let (by_pbx, by_us) = (refreshed(true), refreshed(false));
    assert_eq!((by_pbx.len(), by_us.len()), (2, 2), "by the PBX: {by_pbx:?}, by us: {by_us:?}");
    for call in calls {
        let disturbed = |event: &LineEvent| !matches!(event, LineEvent::Answered(_) | LineEvent::Ringing(_));
        assert!(!call.events().iter().any(disturbed), "up and not disturbed: {:?}", call.events());
        call.hang_up();
        call.ended().await;
    }
}

/// The Call-IDs of calls that the PBX, or we, refreshed: by a request within the dialog that carries the interval, as its
/// response does.
fn refreshes(messages: &[Message], by_pbx: bool) -> BTreeSet<String> {
    let refreshes = |m: &&Message| {
        m.sent == by_pbx
            && (m.is("INVITE") || m.is("UPDATE"))
            && m.header("To").is_some_and(|to| to.contains("tag="))
            && m.header("Session-Expires").is_some()
    };
    let agrees = |request: &Message, m: &Message| {
        m.sent != by_pbx
            && m.is("SIP/2.0 200")
            && m.header("Call-ID") == request.header("Call-ID")
            && m.header("CSeq") == request.header("CSeq")
            && m.header("Session-Expires").is_some_and(|value| value.starts_with("90"))
    };
    messages
        .iter()
        .filter(refreshes)
        .filter(|request| messages.iter().any(|m| agrees(request, m)))
        .filter_map(|request| request.header("Call-ID").map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_announcement_before_the_answer_is_heard() {
    let _case = Case::begin(ASTERISK, "early media", "UDP");
    let place = Place::open();
    let announcement = babble(5);
    place.asterisk.set_played(&announcement);
    let call = place.dial("608", "4711").await.expect("it answers after the announcement");
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
    let place = Place::open();
    for (number, status) in [("614", "486"), ("615", "503"), ("612", "480")] {
        match place.dial(number, "4711").await {
            Ok(_) => panic!("{number} does not answer"),
            Err(error) => assert!(error.contains(status), "{number}: {error}"),
        }
    }
    place.wait_until_idle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_call_that_nobody_answers_is_given_up_by_cancel() {
    let _case = Case::begin(ASTERISK, "no answer: CANCEL", "UDP");
    let place = Place::open();
    place.asterisk.trace();
    let call = place.own.place(place.asterisk.socket(), "616", "4711", |_| ()).await;
    call.wait_until(PATIENCE, "it rings", |call| call.events().contains(&LineEvent::Ringing(180)));
    call.hang_up();
    assert_eq!(call.ended().await.last(), Some(&LineEvent::Ended(EndCause::Local)));
    place.wait_until_idle();
    place.asterisk.wait_for_message("487", |m| m.sent && m.is("SIP/2.0 487"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn keys_arrive_once_each_by_rfc_4733_info_and_tones_and_ours_arrive_at_the_pbx() {
    let mut place = Place::open();
    place.asterisk.set_global("DIGITS", "1550*#9");
    place.asterisk.set_global("LISTEN", "1");
    for (line, keys, feature) in [
        ("trunk-ip", DigitsBy::Rfc4733, "keys by RFC 4733, to us"),
        ("line-info", DigitsBy::Info, "keys by SIP INFO, to us"),
        ("line-inband", DigitsBy::Inband, "keys as tones, to us"),
    ] {
        let _case = Case::begin(ASTERISK, feature, "UDP");
        place.has_us_called(line, "digits");
        let call = place.own.answer_with_keys(keys).await;
        call.wait_until(PATIENCE, line, |call| call.digits().len() >= 7);
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
        let call = place.own.dial_with_keys(place.asterisk.socket(), "603", user, keys).await;
        let call = call.expect("the reader answers");
        wait_until(PATIENCE, "the PBX reads keys", || place.asterisk.is_in("Read"));
        call.press("2580");
        wait_until(PATIENCE, "the PBX has read them", || place.asterisk.database("digits").is_some());
        assert_eq!(place.asterisk.database("digits").as_deref(), Some("2580"), "{user}");
        place.asterisk.cli("database del interop digits");
        call.hang_up();
        call.ended().await;
    }
}

/// The telephone calls us, says `speech`, and after a second we REFER it to `number`.
async fn called_and_referring(place: &mut Place, speech: &[i16], number: &str) -> (Pjsua, Conversation) {
    let mut phone = place.phone(speech);
    phone.call(&format!("sip:4711*trunk-ip@{}", place.asterisk.address()));
    let call = place.own.answer().await;
    pause(Duration::from_secs(1));
    send(&call, place.refer(number));
    (phone, call)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_caller_that_we_refer_arrives_and_we_learn_it() {
    let _case = Case::begin(ASTERISK, "blind transfer by us", "UDP");
    let mut place = Place::open();
    let speech = babble(60);
    let (mut phone, call) = called_and_referring(&mut place, &speech, "604").await;
    let events = call.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    wait_until(PATIENCE, "arrived", || place.asterisk.database("arrived").is_some());
    assert_eq!(place.asterisk.database("arrived").as_deref(), Some("1002"));
    wait_until(PATIENCE, "the target records", || place.asterisk.is_in("Record"));
    pause(Duration::from_secs(3));
    phone.hang_up();
    assert_hears(&place.asterisk.recording("604.wav"), &speech, "the telephone, at the target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transfer_to_a_number_that_is_busy_leaves_the_caller_with_us() {
    let _case = Case::begin(ASTERISK, "blind transfer by us, target unknown", "UDP");
    let mut place = Place::open();
    let speech = babble(60);
    let (_phone, call) = called_and_referring(&mut place, &speech, "no-such-extension").await;
    call.wait_until(PATIENCE, "refused", |call| {
        call.events().iter().any(|e| matches!(e, LineEvent::Transferred(TransferOutcome::Refused { .. })))
    });
    assert_hears_next(&call, 0, 2, &speech, "the telephone is still with us");
    call.hang_up();
    call.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_caller_that_we_announced_to_the_target_first_is_joined_with_it() {
    let _case = Case::begin(ASTERISK, "attended transfer by us", "UDP");
    let place = Place::open();
    let (theirs, hers) = (babble(60), music(60));
    let (caller_phone, target_phone) = (place.phone(&theirs), place.phone_of("1001", 31, &hers));
    let caller = place.dial("1002", "4711").await.expect("the caller's telephone answers");
    let target = place.dial("1001", "4711").await.expect("the target answers");
    pause(Duration::from_secs(1));
    let leg = target.leg;
    let replaces =
        place.own.sip.run(move |endpoint, _| endpoint.replaces_value(leg)).await.expect("the endpoint lives");
    assert!(replaces.is_some(), "the call to the target is up");
    send(&caller, Refer { replaces, ..place.refer("1001") });
    let events = caller.ended().await;
    assert!(events.contains(&LineEvent::Transferred(TransferOutcome::Accepted)), "{events:?}");
    assert_eq!(target.ended().await.last(), Some(&LineEvent::Ended(EndCause::Remote)), "the PBX took it over");
    pause(Duration::from_secs(5));
    let heard = [target_phone.stop(), caller_phone.stop()];
    for (heard, said) in heard.iter().zip([theirs, hers]) {
        assert_hears(&heard[heard.len().saturating_sub(24_000)..], &said, "each other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transfer_that_the_pbx_asks_for_is_refused_where_it_is_not_allowed_and_the_call_goes_on() {
    let _case = Case::begin(ASTERISK, "REFER to us refused by default", "UDP");
    let mut place = Place::open();
    place.has_us_called("trunk-ip", "refer");
    let call = place.own.answer().await;
    wait_until(PATIENCE, "the PBX knows", || place.asterisk.database("transfer").is_some());
    assert_eq!(place.asterisk.database("transfer").as_deref(), Some("FAILURE"));
    assert_eq!(call.events(), [], "the call goes on");
    call.hang_up();
    call.ended().await;
}
