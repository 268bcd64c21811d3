//! Calls of ours, and what callers get before the answer, on loopback.

use crate::support::{Desk, Phone, TestServer};
use offhook::base::Pii;
use offhook::call::{
    Approved, BeforeAnswer, CallEvent, CallerIdentity, Dial, Gateway, LineError, LineEvent, PeerTerms, Route,
};
use offhook::tools::EgressPolicy;
use std::sync::Arc;
use std::time::Duration;

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const DESK: [u8; 4] = [127, 0, 0, 6];

async fn server() -> TestServer {
    TestServer::start(AGENT, &[], EgressPolicy::default()).await
}

fn dial(server: &TestServer, gateway: Gateway, identity: Option<CallerIdentity>) -> Dial {
    let terms = gateway.terms.clone();
    let program = server.programs["test"].clone();
    Dial {
        route: Route { peer: "out".into(), agent: "test".into(), program, terms },
        gateway: Arc::new(gateway),
        to: Approved::by_operator("20").unwrap(),
        identity,
        headers: vec![("X-Campaign".into(), "autumn".into())],
        ring_for: Duration::from_secs(20),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_calls_somebody_with_the_gateway_s_identity_and_talks_when_they_answer() {
    let (mut desk, mut server) = (Desk::open(DESK), server().await);
    let identity = CallerIdentity {
        number: Some(Pii::new("+15550177".into())),
        name: Some(Pii::new("Clinic".into())),
        is_private: true,
        assert: true,
        diverted_from: Some(Pii::new("+15550100".into())),
    };
    let dial = dial(&server, desk.gateway("out", PeerTerms::default()), Some(identity));
    let supervisor = Arc::clone(&server.server.supervisor);
    let call = tokio::spawn(async move { supervisor.dial(dial).await });
    let mut ringing = desk.ringing().await;
    assert_eq!(ringing.call.from.expose().uri.as_str(), "sip:anonymous@anonymous.invalid");
    assert_eq!(ringing.header("Privacy").as_deref(), Some("id"));
    assert!(ringing.header("P-Asserted-Identity").is_some_and(|value| value.starts_with("\"Clinic\" <sip:+15550177@")));
    assert!(ringing.header("Diversion").is_some_and(|value| value.contains("sip:+15550100@")));
    assert_eq!(ringing.header("X-Campaign").as_deref(), Some("autumn"));
    ringing.phone.line.ring();
    let progress = |wanted: bool| {
        move |e: &CallEvent| match e {
            CallEvent::CallProgress { code, early_media, .. } => (*early_media == wanted).then_some(*code),
            _ => None,
        }
    };
    assert_eq!(server.event("ringing", progress(false)).await, 180);
    ringing.phone.line.media.set_background(Some(crate::support::hum(8_000).into())).unwrap();
    ringing.phone.line.progress();
    assert_eq!(server.event("early media", progress(true)).await, 183);
    ringing.phone.line.media.set_background(None).unwrap();
    let mut human = ringing.answer().await;
    human.wait_for(true, 20).await;
    human.line.hang_up();
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_taken_says_why_in_words() {
    let (mut desk, mut server) = (Desk::open(DESK), server().await);
    for (code, words) in [
        (486, "busy"),
        (603, "declined"),
        (480, "no answer"),
        (404, "no such number"),
        (503, "the peer cannot place the call at the moment (503)"),
        (488, "no codec in common"),
    ] {
        let dial = dial(&server, desk.gateway("out", PeerTerms::default()), None);
        let (outcome, ()) =
            tokio::join!(server.server.supervisor.dial(dial), async { desk.ringing().await.refuse(code) });
        let error = outcome.unwrap_err();
        assert!(matches!(error, LineError::NotAnswered(_)) && error.to_string().contains(words), "{code}: {error}");
        let told = server.event("the refusal", |e| match e {
            CallEvent::CallUnanswered { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(told.await, error.to_string());
    }
    tokio::time::timeout(crate::support::PATIENCE, server.server.supervisor.idle()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_rings_too_long_or_is_given_up_stops_ringing() {
    let (mut desk, server) = (Desk::open(DESK), server().await);
    let patient = dial(&server, desk.gateway("out", PeerTerms::default()), None);
    let impatient = Dial { ring_for: Duration::from_millis(300), ..patient };
    let (outcome, mut ringing) = tokio::join!(server.server.supervisor.dial(impatient), async {
        let ringing = desk.ringing().await;
        ringing.phone.line.ring();
        ringing
    });
    assert!(outcome.unwrap_err().to_string().contains("no answer"));
    assert_eq!(ringing.phone.ended().await, offhook::sip::event::EndCause::Cancelled);

    let dial = dial(&server, desk.gateway("out", PeerTerms::default()), None);
    let mut ringing = tokio::select! {
        outcome = server.server.supervisor.dial(dial) => panic!("{outcome:?}"),
        ringing = async {
            let ringing = desk.ringing().await;
            ringing.phone.line.ring();
            ringing
        } => ringing,
    };
    assert_eq!(ringing.phone.ended().await, offhook::sip::event::EndCause::Cancelled);
}

async fn server_that_first(before_answer: BeforeAnswer) -> TestServer {
    TestServer::start_with(AGENT, &[], EgressPolicy::default(), |plan| {
        plan.trunks[0].terms.before_answer = before_answer;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_is_heard_before_the_call_is_answered() {
    let server = server_that_first(BeforeAnswer::Announcement(crate::support::hum(8_000).into())).await;
    let mut phone = Phone::dial(&server.server, [127, 0, 0, 1], |_| ()).await.unwrap();
    let code =
        phone.event("early media", |e| if let LineEvent::EarlyMedia(code) = e { Some(*code) } else { None }).await;
    assert_eq!(code, 183);
    // No event of the line comes in between: the call is not answered while this is heard.
    let mut heard = 0;
    while heard < 20 {
        match tokio::time::timeout(crate::support::PATIENCE, phone.line.next()).await.unwrap() {
            None => {
                while let Some(frame) = phone.line.media.uplink.try_pop() {
                    heard += u32::from(frame.level_dbfs > -50.0);
                }
                while phone.line.media.events.try_pop().is_some() {}
            }
            Some(event) => panic!("{event:?} after {heard} frames"),
        }
    }
    phone.event("the answer", |e| matches!(e, LineEvent::Answered(_)).then_some(())).await;
    phone.wait_for(true, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_may_ring_first_and_a_caller_who_gives_up_then_is_no_call() {
    let server = server_that_first(BeforeAnswer::Ringing(Duration::from_millis(300))).await;
    let mut phone = Phone::dial(&server.server, [127, 0, 0, 1], |_| ()).await.unwrap();
    phone.event("ringing", |e| (*e == LineEvent::Ringing(180)).then_some(())).await;
    phone.event("the answer", |e| matches!(e, LineEvent::Answered(_)).then_some(())).await;

    let server = server_that_first(BeforeAnswer::Ringing(Duration::from_secs(60))).await;
    let mut phone = Phone::dial(&server.server, [127, 0, 0, 1], |_| ()).await.unwrap();
    phone.event("ringing", |e| (*e == LineEvent::Ringing(180)).then_some(())).await;
    phone.line.hang_up();
    tokio::time::timeout(crate::support::PATIENCE, server.server.supervisor.idle()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_first_host_cannot_is_called_through_its_next() {
    let (mut first, mut second, server) = (Desk::open(DESK), Desk::open([127, 0, 0, 7]), server().await);
    let mut gateway = first.gateway("out", PeerTerms::default());
    gateway.destinations.extend(second.gateway("out", PeerTerms::default()).destinations);
    let dial = dial(&server, gateway, None);
    let supervisor = Arc::clone(&server.server.supervisor);
    let call = tokio::spawn(async move { supervisor.dial(dial).await });
    first.ringing().await.refuse(503);
    let mut human = second.ringing().await.answer().await;
    human.wait_for(true, 20).await;
    human.line.hang_up();
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_leads_nowhere_is_an_error_in_words() {
    let (desk, server) = (Desk::open(DESK), server().await);
    let gateway = Gateway { destinations: Vec::new(), ..desk.gateway("out", PeerTerms::default()) };
    let error = server.server.supervisor.dial(dial(&server, gateway, None)).await.unwrap_err();
    assert!(error.to_string().contains("no address"), "{error}");
}
