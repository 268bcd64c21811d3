//! Calls that are handed over, on loopback: by REFER, by a second call of ours, and by the peer's own wish.

use crate::support::{Desk, PATIENCE, Phone, RingingPhone, TestServer};
use offhook::call::{CallEvent, DigitsBy, LineEvent, PeerTerms, TransferBy, line::TransferRequest};
use offhook::sip::event::{EndCause, TransferOutcome};
use offhook::sip::{DialogPolicy, Refer, Uri};
use offhook::tools::EgressPolicy;

const CALLER: [u8; 4] = [127, 0, 0, 1];
const DESK: [u8; 4] = [127, 0, 0, 5];

/// Greets and hands over at once.
fn agent(mode: &str) -> String {
    format!(
        "agent: hander\nstart: hand\ndestinations:\n  desk: {{description: the desk, extension: \"20\", mode: {mode}}}\n\
         on:\n  transfer_failed: {{say: Nobody is there I am afraid., hangup: transfer_failed}}\n\
         nodes:\n  hand: {{transfer: desk, say: One moment please.}}\n"
    )
}

/// Talks for long enough.
const TALKER: &str = "agent: talker\nstart: hello\nvariables: {answer: yes_no}\nnodes:\n  hello: {say: \"Hello, this is a rather \
long sentence so that there is something to be heard for many seconds, whatever else may happen on this line.\", next: ask}\n  \
ask: {ask: answer, question: [\"Yes or no?\"], next: bye}\n  bye: {hangup: done, say: Bye.}\n";

async fn server(agent: &str, desk: &Desk, terms: PeerTerms, prefixes: &[&str]) -> TestServer {
    TestServer::start_with(agent, &[], EgressPolicy::default(), |plan| {
        let mut gateway = desk.gateway("test", terms.clone());
        gateway.allowed_prefixes = prefixes.iter().map(|p| (*p).to_owned()).collect();
        plan.trunks[0].known.dialog = terms.dialog;
        plan.trunks[0].gateway = Some(gateway);
        plan.trunks[0].terms = terms;
    })
    .await
}

fn bridging() -> PeerTerms {
    PeerTerms { transfer: TransferBy::Bridge, ..PeerTerms::default() }
}

/// A phone that carries out REFERs.
async fn transferable_phone(server: &TestServer) -> Phone {
    let mut phone = Phone::dial(&server.server, CALLER, |invite| invite.dialog.accept_refer = true).await.unwrap();
    phone.line.answered().await.unwrap();
    phone
}

async fn transfer_result(server: &mut TestServer) -> (bool, String) {
    server
        .event("the outcome of the transfer", |e| match e {
            CallEvent::TransferFinished { accepted, reason, .. } => Some((*accepted, reason.clone())),
            _ => None,
        })
        .await
}

async fn call_end(server: &mut TestServer) -> (bool, String, Vec<(&'static str, u64)>) {
    server
        .event("the end", |e| match e {
            CallEvent::CallEnded { completed, reason, media, .. } => Some((*completed, reason.clone(), media.clone())),
            _ => None,
        })
        .await
}

/// The call of ours that reaches the desk, once its caller has heard something.
async fn rings(desk: &mut Desk, caller: &mut Phone) -> RingingPhone {
    tokio::join!(desk.ringing(), async { while caller.pass_frame().await < -50.0 {} }).0
}

/// A caller whom the agent passes on by a call of ours, and that call as it rings.
async fn passed_on() -> (Desk, TestServer, Phone, RingingPhone) {
    let mut desk = Desk::open(DESK);
    let server = server(&agent("blind"), &desk, bridging(), &[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let ringing = rings(&mut desk, &mut phone).await;
    (desk, server, phone, ringing)
}

/// What a phone that carries out REFERs is asked for.
async fn asked_to_transfer(phone: &mut Phone) -> TransferRequest {
    phone
        .event("REFER", |e| match e {
            LineEvent::TransferRequested(request) => Some(request.clone()),
            _ => None,
        })
        .await
}

/// Waits until a leg of a call has given its place to another one.
async fn is_replaced(server: &mut TestServer, by: &str) {
    let replaced = |e: &CallEvent| matches!(e, CallEvent::LegReplaced { by: how, .. } if *how == by).then_some(());
    server.event("the exchange", replaced).await;
}

/// Waits until the server has no call.
async fn is_idle(server: &TestServer) {
    tokio::time::timeout(PATIENCE, server.server.supervisor.idle()).await.unwrap();
}

/// Speaks on one phone until the other has heard it for 300 ms.
async fn is_heard(speaker: &mut Phone, listener: &mut Phone) {
    tokio::select! {
        () = async { loop { speaker.speak(200).await } } => {}
        () = listener.wait_for(true, 15) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_refer_gets_the_call_and_the_agent_is_done() {
    let desk = Desk::open(DESK);
    let mut server = server(&agent("blind"), &desk, PeerTerms::default(), &[]).await;
    let mut phone = transferable_phone(&server).await;
    let request = asked_to_transfer(&mut phone).await;
    assert_eq!(request.target.expose().view().user(), Some("20"));
    assert!(request.replaces.is_none());
    let leg = phone.line.leg;
    phone.sip.post(move |endpoint, now| {
        endpoint.accept_refer(now, leg).unwrap();
        endpoint.notify_refer(now, leg, 180).unwrap();
        endpoint.notify_refer(now, leg, 200).unwrap();
    });
    assert_eq!(transfer_result(&mut server).await, (true, "accepted".to_owned()));
    assert_eq!(phone.ended().await, EndCause::Remote);
    let (completed, reason, _) = call_end(&mut server).await;
    assert!(completed && reason == "transferred", "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_refer_becomes_a_call_of_ours_that_is_bridged() {
    let mut desk = Desk::open(DESK);
    let mut server = server(&agent("blind"), &desk, PeerTerms::default(), &[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let ringing = rings(&mut desk, &mut phone).await;
    assert_eq!(ringing.call.request_uri.expose().view().user(), Some("20"));
    assert!(ringing.header("X-Offhook-Context").is_some_and(|context| context.contains("reason=hand")));
    ringing.phone.line.ring();
    // The agent has said its words: what is heard for longer is the ringing tone.
    phone.wait_for(false, 30).await;
    phone.wait_for(true, 40).await;
    let mut human = ringing.answer().await;
    assert_eq!(transfer_result(&mut server).await, (true, "connected through us".to_owned()));
    phone.wait_for(false, 10).await;
    is_heard(&mut phone, &mut human).await;
    phone.wait_for(false, 10).await;
    is_heard(&mut human, &mut phone).await;
    human.line.hang_up();
    assert_eq!(phone.ended().await, EndCause::Remote);
    let (completed, reason, media) = call_end(&mut server).await;
    assert!(completed && reason == "the other side hung up", "{reason}");
    let figure = |name| media.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    assert!(figure("received") > Some(10) && figure("far_received") > Some(10), "both legs: {media:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridged_caller_who_hangs_up_ends_the_other_leg() {
    let (_desk, mut server, mut phone, ringing) = passed_on().await;
    let mut human = ringing.answer().await;
    is_heard(&mut phone, &mut human).await;
    phone.line.hang_up();
    assert_eq!(human.ended().await, EndCause::Remote);
    assert!(call_end(&mut server).await.0);
    is_idle(&server).await;
    let legs = server.server.sip.run(|endpoint, _| endpoint.leg_count()).await.unwrap();
    assert_eq!(legs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_target_gives_the_caller_back_to_the_agent() {
    for (code, words) in [(486, "busy"), (603, "declined"), (404, "there is no such number")] {
        let (_desk, mut server, mut phone, ringing) = passed_on().await;
        ringing.refuse(code);
        assert_eq!(transfer_result(&mut server).await, (false, words.to_owned()));
        let said = server.event("the agent's words", |e| match e {
            CallEvent::AgentSaid { heard, complete: true, .. } => Some(heard.expose().clone()),
            _ => None,
        });
        let (said, _) = tokio::join!(said, phone.ended());
        assert!(said.starts_with("Nobody is there"), "{said}");
        assert!(!call_end(&mut server).await.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_s_early_media_is_heard_instead_of_our_ringing_and_ends_with_its_refusal() {
    let (_desk, mut server, mut phone, mut ringing) = passed_on().await;
    // A steady tone, which no ringing of ours is.
    ringing.phone.line.media.set_background(Some(crate::support::hum(8_000).into())).unwrap();
    ringing.phone.line.progress();
    phone.wait_for(true, 150).await;
    ringing.refuse(486);
    assert_eq!(transfer_result(&mut server).await, (false, "busy".to_owned()));
    assert_eq!(phone.ended().await, EndCause::Remote);
    let (_, reason, _) = call_end(&mut server).await;
    assert_eq!(reason, "transfer_failed", "the agent had its say");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_while_the_target_rings_lets_it_stop_ringing() {
    let (_desk, _server, phone, mut ringing) = passed_on().await;
    ringing.phone.line.ring();
    phone.line.hang_up();
    assert_eq!(ringing.phone.ended().await, EndCause::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attended_transfer_calls_the_target_and_lets_the_peer_take_that_call_over() {
    let mut desk = Desk::open(DESK);
    let mut server = server(&agent("attended"), &desk, PeerTerms::default(), &[]).await;
    let mut phone = transferable_phone(&server).await;
    let ringing = rings(&mut desk, &mut phone).await;
    let call_id = ringing.call.call_id.expose().clone();
    let mut human = ringing.answer().await;
    let request = asked_to_transfer(&mut phone).await;
    let replaces = request.replaces.unwrap().into_exposed();
    assert!(replaces.starts_with(&call_id) && replaces.contains("to-tag=") && replaces.contains("from-tag="));
    // Until the peer has done it, the two talk through us.
    is_heard(&mut phone, &mut human).await;
    let leg = phone.line.leg;
    phone.sip.post(move |endpoint, now| {
        endpoint.accept_refer(now, leg).unwrap();
        endpoint.notify_refer(now, leg, 200).unwrap();
    });
    assert_eq!(transfer_result(&mut server).await, (true, "accepted".to_owned()));
    assert_eq!(phone.ended().await, EndCause::Remote);
    assert_eq!(human.ended().await, EndCause::Remote);
    assert!(call_end(&mut server).await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attended_transfer_that_the_peer_cannot_do_stays_bridged() {
    let mut desk = Desk::open(DESK);
    let mut server = server(&agent("attended"), &desk, PeerTerms::default(), &[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let ringing = rings(&mut desk, &mut phone).await;
    let mut human = ringing.answer().await;
    let (accepted, reason) = transfer_result(&mut server).await;
    assert!(accepted && reason.starts_with("connected through us"), "{reason}");
    is_heard(&mut human, &mut phone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_human_puts_it_on_hold_hears_music_until_the_human_is_back() {
    let (_desk, _server, mut phone, ringing) = passed_on().await;
    let mut human = ringing.answer().await;
    is_heard(&mut human, &mut phone).await;
    phone.wait_for(false, 20).await;
    human.line.hold(false).await.unwrap();
    phone.wait_for(true, 10).await;
    human.line.resume().await.unwrap();
    phone.wait_for(false, 100).await;
    is_heard(&mut human, &mut phone).await;
    is_heard(&mut phone, &mut human).await;
}

/// What a phone that was answered hears of REFER: `TransferFinished`, with the call's end after success.
fn refer(phone: &Phone, target: Uri) {
    let leg = phone.line.leg;
    phone.sip.post(move |endpoint, now| endpoint.refer(now, leg, Refer::blind(target)).unwrap());
}

async fn referred(phone: &mut Phone, target: Uri) -> TransferOutcome {
    refer(phone, target);
    phone
        .event("the outcome of REFER", |e| match e {
            LineEvent::Transferred(outcome) => Some(outcome.clone()),
            _ => None,
        })
        .await
}

/// `user` at the phone's own address: what a telephone asks to be connected with.
fn at_its_own(phone: &Phone, user: &str) -> Uri {
    Uri::sip_address(phone.sip.local_addr()).with_user(user)
}

fn referring() -> PeerTerms {
    PeerTerms { dialog: DialogPolicy { accept_refer: true, ..DialogPolicy::default() }, ..PeerTerms::default() }
}

/// A desk, and a phone that the agent talks to and that may REFER it to numbers that begin with 2.
async fn talking() -> (Desk, TestServer, Phone) {
    let desk = Desk::open(DESK);
    let server = server(TALKER, &desk, referring(), &["2"]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 5).await;
    (desk, server, phone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_s_refer_takes_the_agent_to_somebody_else() {
    let (mut desk, mut server, mut phone) = talking().await;
    let target = at_its_own(&phone, "20");
    let (outcome, mut human) = tokio::join!(referred(&mut phone, target), async {
        let ringing = desk.ringing().await;
        assert_eq!(ringing.call.request_uri.expose().view().user(), Some("20"));
        ringing.phone.line.ring();
        ringing.answer().await
    });
    assert_eq!(outcome, TransferOutcome::Accepted);
    assert_eq!(phone.ended().await, EndCause::Transferred);
    is_replaced(&mut server, "refer").await;
    human.wait_for(true, 20).await;
    human.line.hang_up();
    call_end(&mut server).await;
    is_idle(&server).await;
}

/// A phone that REFERs the agent to the desk and hangs up while the desk rings.
async fn referred_and_left() -> (TestServer, RingingPhone) {
    let (mut desk, server, mut phone) = talking().await;
    refer(&phone, at_its_own(&phone, "20"));
    let ringing = desk.ringing().await;
    phone.line.hang_up();
    phone.ended().await;
    (server, ringing)
}

/// RFC 3515 lets the referrer leave as soon as its REFER is taken, and telephones do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_referrer_that_hangs_up_before_the_target_answers_has_its_call_made_all_the_same() {
    let (mut server, ringing) = referred_and_left().await;
    let mut human = ringing.answer().await;
    is_replaced(&mut server, "refer").await;
    human.wait_for(true, 20).await;
    human.line.hang_up();
    call_end(&mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_referrer_that_hangs_up_before_a_busy_target_decides_ends_the_call() {
    let (mut server, ringing) = referred_and_left().await;
    ringing.refuse(486);
    call_end(&mut server).await;
    is_idle(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_s_refer_to_what_may_not_be_dialled_is_refused_and_the_call_goes_on() {
    let desk = Desk::open(DESK);
    let mut server = server(TALKER, &desk, referring(), &["2"]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let home = Uri::sip_address(phone.sip.local_addr());
    for target in [
        home.with_user("+44900123456"),
        Uri::parse("sip:20@198.51.100.1").unwrap(),
        Uri::parse("tel:0044900123456").unwrap(),
    ] {
        let outcome = referred(&mut phone, target).await;
        assert!(matches!(outcome, TransferOutcome::Refused { code: 603, .. }), "{outcome:?}");
        server.event("the refusal", |e| matches!(e, CallEvent::TransferRefused { .. }).then_some(())).await;
    }
    phone.wait_for(true, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_s_refer_to_a_busy_number_is_reported_and_the_agent_stays() {
    let mut desk = Desk::open(DESK);
    let server = server(TALKER, &desk, referring(), &["2"]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let target = at_its_own(&phone, "21");
    let (outcome, ()) = tokio::join!(referred(&mut phone, target), async { desk.ringing().await.refuse(486) });
    assert!(matches!(outcome, TransferOutcome::Refused { code: 486, .. }), "{outcome:?}");
    phone.wait_for(true, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_may_not_refer_is_refused() {
    let desk = Desk::open(DESK);
    let server = server(TALKER, &desk, PeerTerms::default(), &["2"]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let target = at_its_own(&phone, "20");
    let outcome = referred(&mut phone, target).await;
    assert!(matches!(outcome, TransferOutcome::Refused { code: 603, .. }), "{outcome:?}");
    phone.wait_for(true, 5).await;
}

/// The phone's policy for calls that replace others, and a server that lets its peers do so.
fn replacing() -> PeerTerms {
    PeerTerms { dialog: DialogPolicy { accept_replaces: true, ..DialogPolicy::default() }, ..PeerTerms::default() }
}

/// The dialog of a phone's call, as Replaces names it to the server.
async fn dialog_of(phone: &Phone) -> String {
    let leg = phone.line.leg;
    phone.sip.run(move |endpoint, _| endpoint.replaces_value(leg)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_replaces_another_gets_its_agent_and_the_other_is_hung_up() {
    let desk = Desk::open(DESK);
    let mut server = server(TALKER, &desk, replacing(), &[]).await;
    let mut first = Phone::call(&server.server, CALLER).await.unwrap();
    first.wait_for(true, 10).await;
    let dialog = dialog_of(&first).await;
    let mut second = Phone::dial(&server.server, CALLER, |invite| invite.replaces = Some(dialog)).await.unwrap();
    second.line.answered().await.unwrap();
    assert_eq!(first.ended().await, EndCause::Remote);
    is_replaced(&mut server, "replaces").await;
    second.wait_for(true, 20).await;
    assert_eq!(server.server.supervisor.active_calls(), 1, "it is the same call");
    second.line.hang_up();
    call_end(&mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridged_leg_is_replaced_without_ending_the_bridge() {
    let mut desk = Desk::open(DESK);
    let terms = PeerTerms { transfer: TransferBy::Bridge, ..replacing() };
    let server = server(&agent("blind"), &desk, terms, &[]).await;
    let mut first = Phone::call(&server.server, CALLER).await.unwrap();
    let ringing = rings(&mut desk, &mut first).await;
    let mut human = ringing.answer().await;
    is_heard(&mut first, &mut human).await;
    let dialog = dialog_of(&first).await;
    let mut second = Phone::dial(&server.server, CALLER, |invite| invite.replaces = Some(dialog)).await.unwrap();
    second.line.answered().await.unwrap();
    assert_eq!(first.ended().await, EndCause::Remote);
    human.wait_for(false, 10).await;
    is_heard(&mut second, &mut human).await;
    is_heard(&mut human, &mut second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_call_cannot_be_replaced_nor_any_call_by_a_peer_that_may_not() {
    let desk = Desk::open(DESK);
    let may = server(TALKER, &desk, replacing(), &[]).await;
    let unknown = "nobody;to-tag=1;from-tag=2".to_owned();
    let mut phone = Phone::dial(&may.server, CALLER, |invite| invite.replaces = Some(unknown)).await.unwrap();
    let error = phone.line.answered().await.unwrap_err();
    assert!(error.to_string().contains("481"), "{error}");

    let may_not = server(TALKER, &desk, PeerTerms::default(), &[]).await;
    let mut first = Phone::call(&may_not.server, CALLER).await.unwrap();
    let dialog = dialog_of(&first).await;
    let mut second = Phone::dial(&may_not.server, CALLER, |invite| invite.replaces = Some(dialog)).await.unwrap();
    let error = second.line.answered().await.unwrap_err();
    assert!(error.to_string().contains("declined"), "{error}");
    first.wait_for(true, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attended_target_hears_who_is_calling_before_it_is_connected() {
    let mut desk = Desk::open(DESK);
    let announcing = agent("attended, announce: A caller wants to talk to you about the garden.");
    let announcing = format!("text_to_speech: {{use: local, voice: anna, speed: 1.2}}\n{announcing}");
    let server = server(&announcing, &desk, bridging(), &[]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let ringing = rings(&mut desk, &mut phone).await;
    let mut human = ringing.answer().await;
    // 2 s of words, and no ringing on this side.
    human.wait_for(true, 60).await;
    human.wait_for(false, 20).await;
    is_heard(&mut phone, &mut human).await;
    is_heard(&mut human, &mut phone).await;
    // Whoever hears the agent hears one voice; only the line that stands in the file as it is may be kept.
    let asked = server.tts.asked.lock().unwrap().clone();
    let voices: Vec<_> = asked.iter().map(|r| (r.voice.as_deref(), r.speed, r.language.as_deref())).collect();
    assert_eq!(voices, vec![(Some("anna"), 1.2, Some("en-US")); 2], "{asked:?}");
    assert_eq!(asked.iter().map(|request| request.cacheable).collect::<Vec<_>>(), [true, false]);
    assert!(asked[1].text.contains("about the garden"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_s_attended_transfer_puts_the_agent_into_the_call_it_has_with_somebody_else() {
    let (mut desk, mut server, mut phone) = talking().await;
    // The phone talks with the desk and then connects the two.
    let mut consultation = phone.dial_also(desk.sip.local_addr()).await;
    let (mut human, ()) = tokio::join!(async { desk.ringing().await.answer().await }, async {
        consultation.line.answered().await.unwrap();
    });
    let refer = Refer { replaces: Some(dialog_of(&consultation).await), ..Refer::blind(at_its_own(&phone, "20")) };
    let leg = phone.line.leg;
    phone.sip.post(move |endpoint, now| endpoint.refer(now, leg, refer).unwrap());
    let ringing = desk.ringing().await;
    assert_eq!(ringing.call.replaces, Some(human.line.leg), "it takes the place of the desk's call with the phone");
    let mut taken_over = ringing.answer().await;
    human.line.hang_up();
    assert_eq!(consultation.ended().await, EndCause::Remote);
    assert_eq!(human.ended().await, EndCause::Local);
    assert_eq!(phone.ended().await, EndCause::Transferred);
    is_replaced(&mut server, "refer").await;
    taken_over.wait_for(true, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_reach_the_other_side_of_a_bridge_once_and_the_way_that_side_wants_them() {
    for theirs in [DigitsBy::Rfc4733, DigitsBy::Info, DigitsBy::Inband] {
        let mut desk = Desk::open(DESK);
        let server = TestServer::start_with(&agent("blind"), &[], EgressPolicy::default(), |plan| {
            plan.trunks[0].terms = bridging();
            plan.trunks[0].gateway = Some(desk.gateway("test", PeerTerms { digits: theirs, ..bridging() }));
        })
        .await;
        let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
        let mut ringing = rings(&mut desk, &mut phone).await;
        ringing.phone.line = ringing.phone.line.with_digits(theirs);
        let mut human = ringing.answer().await;
        is_heard(&mut phone, &mut human).await;
        for key in "42".chars() {
            phone.press(key, DigitsBy::Rfc4733);
        }
        let keys = async {
            let mut keys = String::new();
            while !keys.ends_with('2') {
                keys.extend(human.next_key().await);
            }
            // Whatever came twice would be here by then.
            for _ in 0..20 {
                keys.extend(human.next_key().await);
            }
            keys
        };
        let keys = tokio::time::timeout(PATIENCE, keys).await.unwrap_or_else(|_| panic!("{theirs:?}"));
        assert_eq!(keys, "42", "{theirs:?}");
    }
}
