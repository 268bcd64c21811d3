use super::*;
use crate::base::chat::Message;
use crate::providers::realtime::TurnsBy;
use crate::providers::realtime::trial::{self, request, sent};

fn settings(options: Value) -> Settings {
    Settings { model: "agent_1".into(), ..trial::settings(&OFFER, options) }
}

fn frame(value: &Value) -> Frame {
    Frame::Text(value.to_string())
}

fn connect(signed: &str, messages: Vec<Message>, answer_due: bool) -> Result<Box<dyn RealtimeProtocol>, ProviderError> {
    let mulaw = (FORMAT.to_owned(), AudioFormat::MULAW);
    let vendor = ElevenLabs {
        settings: settings(json!({})),
        input: mulaw.clone(),
        output: mulaw,
        gap: END_GAP,
        overrides: OVERRIDES.to_vec(),
    };
    let request = RealtimeRequest { messages: Pii::new(messages), ..request(TurnsBy::Vendor) };
    let body = json!({"signed_url": signed}).to_string();
    let formats = vendor.format(&request);
    vendor.connect(&Start { request: &request, formats, before: Some(body.as_bytes()), handle: None, answer_due })
}

fn connection() -> Box<dyn RealtimeProtocol> {
    connect("wss://x.example/?s=1", Vec::new(), false).unwrap()
}

fn hear(connection: &mut dyn RealtimeProtocol, event: Value) -> Result<(Vec<Answered>, Vec<Value>), ProviderError> {
    let (mut out, mut events) = (Outbox::default(), Vec::new());
    connection.received(frame(&event), &mut out, &mut events)?;
    Ok((events, sent(&mut out)))
}

fn metadata(input: &str) -> Value {
    let event = json!({"user_input_audio_format": input, "agent_output_audio_format": "ulaw_8000"});
    json!({"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event})
}

fn audio(id: u64) -> Value {
    json!({"type": "audio", "audio_event": {"audio_base_64": "AAAA", "event_id": id}})
}

#[test]
fn the_beginning_changes_only_what_is_allowed() {
    let mut out = Outbox::default();
    connection().opened(&mut out);
    let changes = sent(&mut out).remove(0)["conversation_config_override"].clone();
    assert_eq!(changes, json!({"agent": {"prompt": {"prompt": "Be kind."}, "first_message": "", "language": "de"}}));
}

#[test]
fn a_signed_url_that_is_none_or_not_encrypted_is_not_used() {
    for url in ["", "https://x.example", "ws://x.example"] {
        assert_eq!(connect(url, Vec::new(), false).err().map(|error| error.kind()), Some("protocol"), "{url}");
    }
}

#[test]
fn an_agent_with_another_format_is_refused_in_words() {
    let error = hear(&mut *connection(), metadata("pcm_16000")).unwrap_err();
    assert!(error.to_string().contains("set both to ulaw_8000"), "{error}");
}

#[test]
fn a_fresh_conversation_is_told_the_old_one() {
    let messages = vec![
        Message::Agent { text: Pii::new("Hello.".into()), calls: Vec::new() },
        Message::Caller(Pii::new("When?".into())),
    ];
    let mut connection = connect("wss://x.example", messages, true).unwrap();
    let (_, sent) = hear(&mut *connection, metadata("ulaw_8000")).unwrap();
    assert!(sent[0]["text"].as_str().unwrap().ends_with("You: Hello."));
    assert_eq!(sent[1], json!({"type": "user_message", "text": "When?"}));
}

#[test]
fn every_ping_is_answered() {
    let (_, sent) = hear(&mut *connection(), json!({"type": "ping", "ping_event": {"event_id": 7}})).unwrap();
    assert_eq!(sent, [json!({"type": "pong", "event_id": 7})]);
}

#[test]
fn audio_up_to_an_interruption_is_dropped_and_its_words_corrected() {
    let mut connection = connection();
    hear(&mut *connection, audio(1)).unwrap();
    hear(&mut *connection, json!({"type": "interruption", "interruption_event": {"event_id": 3}})).unwrap();
    assert!(hear(&mut *connection, audio(3)).unwrap().0.is_empty());
    let event = json!({"corrected_agent_response": "Good"});
    let event = json!({"type": "agent_response_correction", "agent_response_correction_event": event});
    let (events, _) = hear(&mut *connection, event).unwrap();
    assert!(matches!(&events[..], [Answered::AgentCorrected { answer: AnswerId(1), text }] if text.expose() == "Good"));
    let (events, _) = hear(&mut *connection, audio(4)).unwrap();
    assert!(matches!(events[..], [Answered::Audio { answer: AnswerId(2), .. }]));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let network = Network::new(&[]).unwrap();
    let refused = |options| build(&settings(options), &network).err().map(|error| error.reason).unwrap_or_default();
    assert!(refused(json!({"input_format": "opus"})).contains("ulaw_8000"));
    assert!(refused(json!({"overrides": ["tools"]})).contains("first_message"));
    assert!(build(&Settings { model: String::new(), ..settings(json!({})) }, &network).is_err());
}
