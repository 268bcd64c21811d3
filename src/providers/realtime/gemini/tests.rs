use super::*;
use crate::providers::realtime::trial::{self, request, sent};

fn settings(options: Value) -> Settings {
    trial::settings(&OFFER, options)
}

struct Rig {
    connection: Box<dyn RealtimeProtocol>,
    out: Outbox,
}

impl Rig {
    fn new(turns: TurnsBy, handle: Option<&str>, answer_due: bool) -> Self {
        let vendor = Gemini { settings: settings(json!({"silence_duration_ms": 300})) };
        let request = request(turns);
        let formats = vendor.format(&request);
        let start = Start { request: &request, formats, before: None, handle, answer_due };
        Self { connection: vendor.connect(&start).unwrap(), out: Outbox::default() }
    }

    fn hear(&mut self, event: Value) -> Vec<Answered> {
        let mut events = Vec::new();
        let octets = Frame::Binary(event.to_string().into_bytes().into());
        self.connection.received(octets, &mut self.out, &mut events).unwrap();
        events
    }

    fn sent(&mut self) -> Vec<Value> {
        sent(&mut self.out)
    }
}

fn content(content: Value) -> Value {
    json!({"serverContent": content})
}

fn audio() -> Value {
    content(json!({"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA"}}]}}))
}

#[test]
fn the_setup_says_whose_turns_they_are_and_keeps_the_key_out_of_the_url() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    let handshake = rig.connection.handshake();
    assert!(handshake.url.starts_with("wss://") && !handshake.url.contains("secret"));
    rig.connection.opened(&mut rig.out);
    let setup = rig.sent().remove(0)["setup"].clone();
    assert_eq!(setup["realtimeInputConfig"]["automaticActivityDetection"], json!({"silenceDurationMs": 300}));
    assert_eq!(setup["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"], json!({"type": "object"}));
    assert_eq!(setup["generationConfig"]["speechConfig"]["languageCode"], "de-CH");
    let mut rig = Rig::new(TurnsBy::Local, Some("h"), false);
    rig.connection.opened(&mut rig.out);
    let setup = rig.sent().remove(0)["setup"].clone();
    assert_eq!(setup["realtimeInputConfig"]["automaticActivityDetection"], json!({"disabled": true}));
    assert_eq!(setup["sessionResumption"], json!({"handle": "h"}));
}

#[test]
fn a_session_that_is_resumed_is_told_nothing_again() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    rig.hear(json!({"setupComplete": {}}));
    assert!(rig.sent().is_empty(), "nothing is owed");
    let told = |rig: &mut Rig| {
        rig.connection.opened(&mut rig.out);
        rig.sent().remove(0)["setup"]["systemInstruction"]["parts"][0]["text"].as_str().unwrap().to_owned()
    };
    assert!(told(&mut rig).ends_with("Caller: When?\nThe tool slots answered: []\nYou: Never."));
    assert_eq!(told(&mut Rig::new(TurnsBy::Vendor, Some("h"), false)), "Be kind.");
}

#[test]
fn an_answer_that_is_owed_is_asked_for() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, true);
    rig.hear(json!({"setupComplete": {}}));
    assert_eq!(rig.sent(), [json!({"realtimeInput": {"text": GO_ON}})]);
}

#[test]
fn a_model_that_chooses_to_say_nothing_has_answered() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, true);
    rig.hear(json!({"setupComplete": {}}));
    let events = rig.hear(content(json!({"turnComplete": true, "waitingForInput": true})));
    assert!(matches!(events[..], [Answered::AudioEnded { .. }]));
}

#[test]
fn our_turns_open_and_close_and_keep_what_is_said_over_the_model() {
    let mut rig = Rig::new(TurnsBy::Local, Some("h"), false);
    rig.hear(json!({"setupComplete": {}}));
    rig.connection.audio(&[0; 4], &mut rig.out);
    rig.connection.commit(&mut rig.out);
    let sent = rig.sent();
    assert_eq!(sent[0], json!({"realtimeInput": {"activityStart": {}}}));
    assert_eq!(sent[1]["realtimeInput"]["audio"], json!({"data": "AAAAAA==", "mimeType": "audio/pcm;rate=8000"}));
    assert_eq!(sent[2], json!({"realtimeInput": {"activityEnd": {}}}));
    assert_eq!(rig.hear(audio()).len(), 1);
    rig.connection.audio(&[1; 4], &mut rig.out);
    assert!(rig.sent().is_empty(), "a start would interrupt the model");
    rig.connection.cancel(&mut rig.out);
    assert_eq!(rig.sent().len(), 2, "the start and what was kept");
    assert!(rig.hear(audio()).is_empty());
    assert!(rig.hear(content(json!({"interrupted": true}))).is_empty(), "it only confirms");
    rig.hear(content(json!({"turnComplete": true})));
    assert!(matches!(rig.hear(audio())[..], [Answered::Audio { answer: AnswerId(2), .. }]));
}

#[test]
fn both_alphabets_of_base64_are_understood() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    for data in ["-__-AQ==", "+//+AQ=="] {
        let part = json!({"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}});
        let events = rig.hear(content(json!({"modelTurn": {"parts": [part]}})));
        assert!(matches!(&events[..], [Answered::Audio { octets, .. }] if octets == &[0xFB, 0xFF, 0xFE, 1]));
    }
}

#[test]
fn the_caller_s_words_are_whole_when_the_model_answers() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    for words in ["What ", "time?"] {
        assert!(rig.hear(content(json!({"inputTranscription": {"text": words}}))).is_empty());
    }
    let events = rig.hear(audio());
    assert!(matches!(&events[0], Answered::CallerSaid(text) if text.expose() == "What time?"));
}

#[test]
fn its_own_ear_interrupts_and_its_calls_can_be_taken_back() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    rig.hear(audio());
    assert!(matches!(rig.hear(content(json!({"interrupted": true})))[..], [Answered::SpeechStarted]));
    let call = json!({"toolCall": {"functionCalls": [{"id": "1", "name": "slots", "args": {"day": 1}}]}});
    assert!(matches!(&rig.hear(call)[..], [Answered::Call { call, .. }] if call.id == "1"));
    let back = rig.hear(json!({"toolCallCancellation": {"ids": ["1"]}}));
    assert!(matches!(&back[..], [Answered::CallsCancelled(ids)] if ids == &["1"]));
}

#[test]
fn the_end_is_announced_and_a_handle_leads_beyond_it() {
    let mut rig = Rig::new(TurnsBy::Vendor, None, false);
    let events = rig.hear(json!({"goAway": {"timeLeft": "9.5s"}}));
    assert!(matches!(events[..], [Answered::Expiring { within }] if within == Duration::from_millis(9_500)));
    let update = json!({"sessionResumptionUpdate": {"newHandle": "h2", "resumable": true}});
    assert!(matches!(&rig.hear(update)[..], [Answered::Resumable(handle)] if handle == "h2"));
    let not = json!({"sessionResumptionUpdate": {"newHandle": "h3", "resumable": false}});
    assert!(rig.hear(not).is_empty());
}

#[test]
fn closes_are_told_apart_by_their_words() {
    let rig = Rig::new(TurnsBy::Vendor, None, false);
    for (code, reason, kind) in [
        (1007, "API key not valid", "authentication"),
        (1011, "You exceeded your current quota", "quota"),
        (1007, "Unknown name", "bad_request"),
        (1011, "internal", "transient"),
    ] {
        let closed = Closed { code: Some(code), reason: reason.into() };
        assert_eq!(rig.connection.closed(&closed).kind(), kind, "{reason}");
    }
}
