use super::*;
use crate::providers::realtime::TurnsBy;
use crate::providers::realtime::trial::{self, request, sent};

fn settings(options: Value) -> Settings {
    trial::settings(&OFFER, options)
}

fn frame(value: &Value) -> Frame {
    Frame::Text(value.to_string())
}

struct Rig {
    connection: Box<dyn RealtimeProtocol>,
    out: Outbox,
}

fn rig(options: Value, turns: TurnsBy, answer_due: bool) -> Rig {
    let vendor = OpenAi { settings: settings(options) };
    let request = request(turns);
    let formats = vendor.format(&request);
    let start = Start { request: &request, formats, before: None, handle: None, answer_due };
    Rig { connection: vendor.connect(&start).unwrap(), out: Outbox::default() }
}

impl Rig {
    fn hear(&mut self, event: Value) -> (Vec<Answered>, Vec<Value>) {
        let mut events = Vec::new();
        self.connection.received(frame(&event), &mut self.out, &mut events).unwrap();
        (events, sent(&mut self.out))
    }

    fn fail(&mut self, event: Value) -> ProviderError {
        self.connection.received(frame(&event), &mut self.out, &mut Vec::new()).unwrap_err()
    }

    fn live(options: Value, turns: TurnsBy) -> Self {
        let mut rig = rig(options, turns, false);
        rig.hear(json!({"type": "session.updated"}));
        rig
    }
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id}})
}

fn delta(id: &str) -> Value {
    json!({"type": "response.output_audio.delta", "response_id": id, "item_id": format!("i{id}"), "delta": "AAAA"})
}

fn done(id: &str, status: &str) -> Value {
    json!({"type": "response.done", "response": {"id": id, "status": status}})
}

#[test]
fn a_session_is_set_up_in_the_shape_of_general_availability() {
    let mut rig = rig(json!({"threshold": 0.4, "speed": 1.1}), TurnsBy::Vendor, false);
    let handshake = rig.connection.handshake();
    assert_eq!(handshake.url, "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1");
    assert!(!format!("{handshake:?}").contains("secret"));
    rig.connection.opened(&mut rig.out);
    let sent = sent(&mut rig.out);
    let session = &sent[0]["session"];
    assert_eq!(session["type"], "realtime");
    assert_eq!(session["audio"]["input"]["format"], json!({"type": "audio/pcmu"}));
    assert_eq!(session["audio"]["input"]["turn_detection"]["type"], "server_vad");
    assert_eq!(session["audio"]["input"]["turn_detection"]["threshold"], 0.4);
    assert_eq!(session["audio"]["input"]["transcription"]["language"], "de");
    assert_eq!(session["audio"]["output"]["voice"], "marin");
    assert_eq!(session["audio"]["output"]["speed"], 1.1);
    assert_eq!(session["tools"][0]["name"], "slots");
    let kinds: Vec<&str> = sent[1..].iter().filter_map(|event| event["item"]["type"].as_str()).collect();
    assert_eq!(kinds, ["message", "function_call", "function_call_output", "message"]);
}

#[test]
fn turns_are_whose_the_request_says() {
    let detection = |turns| {
        let request = request(turns);
        let formats = OpenAi { settings: settings(json!({})) }.format(&request);
        wire::session(&settings(json!({})), &request, formats)["audio"]["input"]["turn_detection"]["type"].clone()
    };
    assert_eq!(detection(TurnsBy::Local), Value::Null);
    assert_eq!(detection(TurnsBy::VendorSemantic), "semantic_vad");
}

#[test]
fn an_answer_that_is_owed_is_asked_for() {
    let mut rig = rig(json!({}), TurnsBy::Vendor, true);
    let (events, sent) = rig.hear(json!({"type": "session.updated"}));
    assert!(matches!(events[..], [Answered::Ready]));
    assert_eq!(sent[0]["type"], "response.create");
}

#[test]
fn a_second_response_waits_for_the_first() {
    let mut rig = Rig::live(json!({}), TurnsBy::Vendor);
    rig.hear(created("a"));
    rig.connection.tell("1", &mut rig.out);
    let kinds: Vec<Value> = sent(&mut rig.out).into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["conversation.item.create"]);
    let (_, sent) = rig.hear(done("a", "completed"));
    assert_eq!(sent[0]["type"], "response.create");
}

#[test]
fn a_response_that_was_cancelled_before_it_began_is_not_heard() {
    let mut rig = Rig::live(json!({}), TurnsBy::Local);
    rig.connection.commit(&mut rig.out);
    rig.connection.cancel(&mut rig.out);
    sent(&mut rig.out);
    let (_, sent) = rig.hear(created("a"));
    assert_eq!(sent, [json!({"type": "response.cancel", "response_id": "a"})]);
    assert!(rig.hear(delta("a")).0.is_empty());
    assert!(rig.hear(done("a", "cancelled")).0.is_empty());
    rig.connection.commit(&mut rig.out);
    rig.hear(created("b"));
    assert!(matches!(rig.hear(delta("b")).0[..], [Answered::Audio { answer: AnswerId(1), .. }]));
}

#[test]
fn an_answer_is_cut_where_it_was_heard_and_forgotten_where_it_was_not() {
    let mut rig = Rig::live(json!({}), TurnsBy::Vendor);
    rig.hear(created("a"));
    rig.hear(delta("a"));
    rig.connection.heard(AnswerId(1), Duration::from_millis(90), &mut rig.out);
    rig.connection.heard(AnswerId(1), Duration::ZERO, &mut rig.out);
    rig.connection.heard(AnswerId(2), Duration::ZERO, &mut rig.out);
    let sent = sent(&mut rig.out);
    assert_eq!(
        (sent[0]["type"].as_str(), sent[0]["audio_end_ms"].as_u64()),
        (Some("conversation.item.truncate"), Some(90))
    );
    assert_eq!(sent[1], json!({"type": "conversation.item.delete", "item_id": "ia"}));
    assert_eq!(sent.len(), 2);
}

#[test]
fn errors_are_told_apart() {
    let error =
        |code: &str, kind: &str| json!({"type": "error", "error": {"type": kind, "code": code, "message": "m"}});
    for code in HARMLESS {
        Rig::live(json!({}), TurnsBy::Vendor).hear(error(code, "invalid_request_error"));
    }
    for (code, kind, expected) in [
        ("insufficient_quota", "", "quota"),
        ("invalid_api_key", "", "authentication"),
        ("session_expired", "invalid_request_error", "transient"),
        ("rate_limit_exceeded", "", "rate_limited"),
        ("", "server_error", "transient"),
    ] {
        assert_eq!(Rig::live(json!({}), TurnsBy::Vendor).fail(error(code, kind)).kind(), expected);
    }
    let refused = error("invalid_value", "invalid_request_error");
    assert_eq!(rig(json!({}), TurnsBy::Vendor, false).fail(refused.clone()).kind(), "bad_request");
    assert!(Rig::live(json!({}), TurnsBy::Vendor).hear(refused).0.is_empty(), "a session that runs goes on");
    let status = json!({"error": {"code": "inference_rate_limit_exceeded", "message": "slow"}});
    let failed =
        json!({"type": "response.done", "response": {"id": "a", "status": "failed", "status_details": status}});
    assert_eq!(Rig::live(json!({}), TurnsBy::Vendor).fail(failed).kind(), "rate_limited");
}

#[test]
fn an_option_that_is_unknown_is_refused() {
    let network = Network::new(&[]).unwrap();
    let error = build(&settings(json!({"voise": "marin"})), &network).err().unwrap();
    assert!(error.reason.contains("voise"), "{error}");
}

fn transcribed(item: &str, words: &str) -> Value {
    json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": item, "transcript": words})
}

fn committed(item: &str, previous: Option<&str>) -> Value {
    json!({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous})
}

/// Turns and words in short.
fn words(events: &[Answered]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            Answered::CallerTurn { turn, before } => format!("turn {} before {}", turn.0, before.map_or(0, |t| t.0)),
            Answered::TurnSaid { turn, text } => {
                format!("{} said {}", turn.0, text.as_ref().map_or("nothing", |text| text.expose()))
            }
            Answered::CallerSaid(text) => format!("said {}", text.expose()),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn turns_stand_in_the_order_of_the_conversation_and_words_are_told_once() {
    let mut rig = Rig::live(json!({}), TurnsBy::Vendor);
    assert_eq!(words(&rig.hear(committed("a", None)).0), ["turn 1 before 0"]);
    let user = json!({"id": "a", "role": "user", "content": [{"type": "input_audio"}]});
    let added = json!({"type": "conversation.item.added", "previous_item_id": null, "item": user});
    assert_eq!(words(&rig.hear(added).0), [] as [&str; 0], "the same item");
    rig.hear(
        json!({"type": "conversation.item.added", "previous_item_id": "a", "item": {"id": "r", "role": "assistant"}}),
    );
    assert_eq!(words(&rig.hear(committed("c", Some("b"))).0), ["turn 2 before 0"]);
    assert_eq!(words(&rig.hear(committed("b", Some("r"))).0), ["turn 3 before 2"], "it is named late");
    assert_eq!(words(&rig.hear(transcribed("c", "three")).0), ["2 said three"]);
    assert_eq!(words(&rig.hear(transcribed("a", " one ")).0), ["1 said one"]);
    assert_eq!(words(&rig.hear(transcribed("a", "one")).0), [] as [&str; 0], "twice");
    let failed = json!({"type": "conversation.item.input_audio_transcription.failed", "item_id": "b", "error": {}});
    assert_eq!(words(&rig.hear(failed.clone()).0), ["3 said nothing"]);
    assert_eq!(words(&rig.hear(failed).0), [] as [&str; 0]);
    assert_eq!(words(&rig.hear(transcribed("z", "who")).0), ["turn 4 before 0", "4 said who"], "of no known item");
    assert_eq!(words(&rig.hear(transcribed("", "who")).0), ["said who"]);
}

#[test]
fn a_conversation_without_end_is_remembered_in_part() {
    let mut rig = Rig::live(json!({}), TurnsBy::Vendor);
    for item in 0..1_000 {
        let previous = format!("i{}", item - 1);
        rig.hear(committed(&format!("i{item}"), Some(&previous)));
    }
    assert_eq!(words(&rig.hear(transcribed("i999", "last")).0), ["1000 said last"]);
}
