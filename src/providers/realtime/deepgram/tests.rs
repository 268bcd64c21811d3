use super::*;
use crate::providers::realtime::TurnsBy;
use crate::providers::realtime::trial::{self, request, sent};

fn settings(options: Value) -> Settings {
    trial::settings(&OFFER, options)
}

fn frame(value: &Value) -> Frame {
    Frame::Text(value.to_string())
}

fn connection(options: Value, answer_due: bool) -> Box<dyn RealtimeProtocol> {
    let vendor = Deepgram { settings: settings(options) };
    let mut request = request(TurnsBy::Vendor);
    if answer_due {
        request.messages = Pii::new(vec![Message::Caller(Pii::new("When?".into()))]);
    }
    let formats = vendor.format(&request);
    vendor.connect(&Start { request: &request, formats, before: None, handle: None, answer_due }).unwrap()
}

fn hear(connection: &mut dyn RealtimeProtocol, event: Value) -> (Vec<Answered>, Vec<Value>) {
    let (mut out, mut events) = (Outbox::default(), Vec::new());
    connection.received(frame(&event), &mut out, &mut events).unwrap();
    (events, sent(&mut out))
}

#[test]
fn settings_name_every_stage_and_what_was_said() {
    let mut out = Outbox::default();
    let mut connection = connection(json!({"listen_model": "flux-general-en", "eot_threshold": 0.7}), false);
    connection.opened(&mut out);
    let settings = sent(&mut out).remove(0);
    assert_eq!(settings["audio"]["input"], json!({"encoding": "mulaw", "sample_rate": 8000}));
    assert_eq!(settings["audio"]["output"]["container"], "none");
    let agent = &settings["agent"];
    let listen = json!({"type": "deepgram", "version": "v2", "model": "flux-general-en", "eot_threshold": 0.7});
    assert_eq!(agent["listen"]["provider"], listen);
    assert_eq!(agent["think"]["provider"], json!({"type": "open_ai", "model": "gpt-4o-mini"}));
    assert_eq!(agent["think"]["prompt"], "Be kind.");
    assert_eq!(agent["think"]["functions"][0]["name"], "slots");
    assert_eq!(agent["speak"]["provider"]["model"], "aura-2-thalia-en");
    let messages = agent["context"]["messages"].as_array().unwrap();
    assert_eq!(messages[1]["function_calls"][0]["response"], "[]");
    assert_eq!(messages[2], json!({"type": "History", "role": "assistant", "content": "Never."}));
}

#[test]
fn words_that_are_owed_an_answer_are_said_again() {
    let mut connection = connection(json!({}), true);
    let (_, sent) = hear(&mut *connection, json!({"type": "SettingsApplied"}));
    assert_eq!(sent, [json!({"type": "InjectUserMessage", "content": "When?"})]);
}

#[test]
fn audio_after_the_caller_began_belongs_to_nobody_until_the_next_turn() {
    let mut connection = connection(json!({}), false);
    let binary = |connection: &mut dyn RealtimeProtocol| {
        let mut events = Vec::new();
        let octets = Frame::Binary(vec![0; 4].into());
        connection.received(octets, &mut Outbox::default(), &mut events).unwrap();
        events.first().map(|event| match event {
            Answered::Audio { answer, .. } => answer.0,
            _ => 0,
        })
    };
    assert_eq!(binary(&mut *connection), Some(1));
    hear(&mut *connection, json!({"type": "UserStartedSpeaking"}));
    assert_eq!(binary(&mut *connection), None);
    hear(&mut *connection, json!({"type": "ConversationText", "role": "user", "content": "Wait"}));
    assert_eq!(binary(&mut *connection), Some(2));
}

#[test]
fn only_functions_of_ours_are_called() {
    let functions = json!([
        {"id": "1", "name": "theirs", "arguments": "{}", "client_side": false},
        {"id": "2", "name": "slots", "arguments": "{\"day\":1}", "client_side": true},
    ]);
    let mut connection = connection(json!({}), false);
    let (events, _) = hear(&mut *connection, json!({"type": "FunctionCallRequest", "functions": functions}));
    assert!(matches!(&events[..], [Answered::Call { call, .. }] if call.arguments.expose()["day"] == 1));
}

#[test]
fn errors_are_told_apart() {
    for (code, kind) in [
        ("INVALID_SETTINGS", "bad_request"),
        ("UNPARSABLE_CLIENT_MESSAGE", "protocol"),
        ("CLIENT_MESSAGE_TIMEOUT", "transient"),
    ] {
        let event = frame(&json!({"type": "Error", "code": code, "description": "d"}));
        let mut connection = connection(json!({}), false);
        let error = connection.received(event, &mut Outbox::default(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
    }
}
