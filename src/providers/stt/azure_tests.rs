use super::*;
use crate::base::SampleRate;
use crate::providers::stt::query::tests::settings;

fn connect_with(line: AudioFormat, options: &[(&str, Value)]) -> Box<dyn SttProtocol> {
    let mut settings = settings(options);
    settings.url = "https://westeurope.stt.speech.microsoft.com".into();
    let text = |name: &str| settings.options.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let texts = |name: &str| text(name).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
    let vendor = Azure {
        mode: MODES[0].to_owned(),
        phrases: texts(PHRASES),
        languages: texts(LANGUAGES),
        segmentation: settings.options.get(SEGMENTATION).and_then(Value::as_u64),
        query: vec![("storeAudio".to_owned(), "false".to_owned())],
        expects: true,
        lifetime: Duration::from_secs(LIFETIME_SECONDS),
        settings,
    };
    let request = SttRequest { line, ..SttRequest::new(SampleRate(8_000), Duration::ZERO) };
    let format = vendor.format(&request);
    vendor.connect(&request, format)
}

fn connect() -> Box<dyn SttProtocol> {
    connect_with(AudioFormat::MULAW, &[])
}

/// What was sent: of texts the path, id and body, of audio its id and octets.
#[derive(Debug, PartialEq)]
enum Sent {
    Text(String, String, Value),
    Riff(String),
    Audio(String, usize),
}

fn sent(out: &mut Outbox) -> Vec<Sent> {
    let mut all = Vec::new();
    while let Some(frame) = out.next_frame() {
        all.push(match frame {
            Frame::Text(text) => {
                let said = said(&text).expect("a message");
                Sent::Text(said.path, said.request.to_owned(), said.body)
            }
            Frame::Binary(octets) => {
                let length = usize::from(u16::from_be_bytes([octets[0], octets[1]]));
                let headers = std::str::from_utf8(&octets[2..2 + length]).expect("headers");
                let id = headers.split("X-RequestId:").nth(1).expect("an id")[..32].to_owned();
                let body = &octets[2 + length..];
                if body.starts_with(b"RIFF") { Sent::Riff(id) } else { Sent::Audio(id, body.len()) }
            }
        });
    }
    all
}

fn hear(machine: &mut dyn SttProtocol, path: &str, id: &str, body: &Value, out: &mut Outbox) -> Vec<Heard> {
    let mut heard = Vec::new();
    let message = format!("X-RequestId:{id}\r\nPath:{path}\r\n\r\n{body}");
    machine.received(Frame::Text(message), out, &mut heard).expect("a good message");
    heard
}

fn phrase(offset: u64) -> Value {
    json!({"RecognitionStatus": "Success", "Offset": offset, "Duration": 5_000_000, "DisplayText": "A table.",
        "NBest": [{"Confidence": 0.75, "Display": "A table."}]})
}

/// The id of the turn that was begun, whose first messages are a context and a header.
fn begun(all: &[Sent]) -> String {
    match all {
        [Sent::Text(path, id, _), Sent::Riff(same), ..] if path == "speech.context" && id == same => id.clone(),
        other => panic!("no turn was begun: {other:?}"),
    }
}

#[test]
fn the_upgrade_names_format_and_locale_and_the_key_stands_in_a_header() {
    let handshake = connect().handshake();
    assert_eq!(
        handshake.url,
        "wss://westeurope.stt.speech.microsoft.com/speech/recognition/conversation/cognitiveservices/v1\
         ?format=detailed&language=en-US&cid=model-1&storeAudio=false"
    );
    assert_eq!(handshake.headers[0], ("ocp-apim-subscription-key", Pii::new("secret-key".to_owned())));
    assert_eq!((handshake.headers[1].0, handshake.headers[1].1.expose().len()), ("x-connectionid", 32));
    assert!(!format!("{handshake:?}").contains("secret"));
    assert_eq!(["de", "pt", "en-GB", "", "xx"].map(locale), ["de-DE", "pt-BR", "en-GB", "en-US", "xx"]);
}

#[test]
fn a_turn_is_begun_by_its_audio_ended_by_an_empty_message_and_answered_by_its_end() {
    let (mut machine, mut out) = (connect(), Outbox::default());
    machine.opened(&mut out);
    assert!(matches!(&sent(&mut out)[..], [Sent::Text(path, id, _)] if path == "speech.config" && id.is_empty()));
    machine.audio(&[0; 800], &mut out);
    let all = sent(&mut out);
    let id = begun(&all);
    assert_eq!(all[2..], [Sent::Audio(id.clone(), 800)]);
    assert_eq!(hear(machine.as_mut(), "turn.start", &id, &json!({"context": {"serviceTag": "t"}}), &mut out), []);
    let interim = hear(machine.as_mut(), "speech.hypothesis", &id, &json!({"Text": "a tab", "Offset": 0}), &mut out);
    assert!(matches!(&interim[..], [Heard::Interim { text, .. }] if text.expose() == "a tab"));
    assert_eq!(machine.finish(&mut out), 0);
    assert_eq!(sent(&mut out), [Sent::Audio(id.clone(), 0)]);
    let heard = hear(machine.as_mut(), "speech.phrase", &id, &phrase(1_000_000), &mut out);
    let [Heard::Final { text, confidence: Some(0.75), span: Some((start, end)) }] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(text.expose(), "A table.");
    assert_eq!((start.as_millis(), end.as_millis()), (100, 600));
    assert_eq!(hear(machine.as_mut(), "turn.end", &id, &json!({}), &mut out), [Heard::Flushed]);
    assert!(out.is_empty());
}

#[test]
fn what_is_said_while_a_turn_ends_waits_for_the_next_whose_times_go_on_where_it_was() {
    let (mut machine, mut out) = (connect(), Outbox::default());
    machine.audio(&[0; 8_000], &mut out);
    let first = begun(&sent(&mut out));
    machine.finish(&mut out);
    machine.finish(&mut out);
    sent(&mut out);
    machine.audio(&[0; 800], &mut out);
    machine.finish(&mut out);
    machine.audio(&[0; 400], &mut out);
    assert_eq!(sent(&mut out), [], "one turn at a time");
    let heard = hear(machine.as_mut(), "turn.end", &first, &json!({}), &mut out);
    assert_eq!(heard, [Heard::Flushed, Heard::Flushed]);
    let all = sent(&mut out);
    let second = begun(&all);
    assert_ne!(first, second);
    assert_eq!(all[2..], [Sent::Audio(second.clone(), 800), Sent::Audio(second.clone(), 0)]);
    let late = hear(machine.as_mut(), "speech.phrase", &first, &phrase(0), &mut out);
    assert_eq!(late, [], "the first turn is over");
    let heard = hear(machine.as_mut(), "speech.phrase", &second, &phrase(500_000), &mut out);
    assert!(
        matches!(heard[..], [Heard::Final { span: Some((start, _)), .. }] if start.as_millis() == 1_050),
        "{heard:?}"
    );
    assert_eq!(hear(machine.as_mut(), "turn.end", &second, &json!({}), &mut out), [Heard::Flushed]);
    let all = sent(&mut out);
    assert_eq!(all[2..], [Sent::Audio(begun(&all), 400)]);
}

#[test]
fn a_turn_whose_end_does_not_come_is_given_up_before_much_waits() {
    let (mut machine, mut out) = (connect(), Outbox::default());
    machine.audio(&[0; 800], &mut out);
    let first = begun(&sent(&mut out));
    machine.finish(&mut out);
    sent(&mut out);
    for _ in 0..20 {
        machine.audio(&[0; 800], &mut out);
    }
    assert_eq!(sent(&mut out), []);
    machine.audio(&[0; 800], &mut out);
    let all = sent(&mut out);
    assert_ne!(begun(&all), first);
    assert_eq!(all.len(), 2 + 21);
}

#[test]
fn a_phrase_in_an_open_turn_ends_the_caller_s_and_a_turn_that_the_vendor_ends_is_begun_anew() {
    let (mut machine, mut out) = (connect(), Outbox::default());
    machine.audio(&[0; 800], &mut out);
    let id = begun(&sent(&mut out));
    let heard = hear(machine.as_mut(), "speech.phrase", &id, &phrase(0), &mut out);
    assert!(matches!(heard[..], [Heard::Final { .. }, Heard::EndOfTurn { eager: false }]));
    let nothing = json!({"RecognitionStatus": "NoMatch", "Offset": 0, "Duration": 0});
    let heard = hear(machine.as_mut(), "speech.phrase", &id, &nothing, &mut out);
    assert!(matches!(&heard[..], [Heard::Final { text, .. }] if text.expose().is_empty()));
    assert_eq!(hear(machine.as_mut(), "turn.end", &id, &json!({}), &mut out), []);
    assert_eq!(machine.finish(&mut out), 800, "silence, so that there is something to answer");
    let all = sent(&mut out);
    let second = begun(&all);
    assert_eq!(all[2..], [Sent::Audio(second.clone(), 800), Sent::Audio(second, 0)]);
}

#[test]
fn what_the_flow_expects_stands_beside_the_configured_phrases_from_the_next_turn_on() {
    let (mut machine, mut out) = (
        connect_with(AudioFormat::pcm(8_000), &[(PHRASES, json!(["Lindenhof"])), (SEGMENTATION, json!(300))]),
        Outbox::default(),
    );
    machine.expect(&["window seat".to_owned()], &mut out);
    assert!(out.is_empty());
    machine.audio(&[0; 800], &mut out);
    let all = sent(&mut out);
    let Some(Sent::Text(_, _, context)) = all.first() else { panic!("{all:?}") };
    let items = json!([{"Text": "Lindenhof"}, {"Text": "window seat"}]);
    assert_eq!(context["dgi"]["Groups"][0]["Items"], items);
    let detection = json!({"language": "en-US", "mode": "CONVERSATION",
        "CONVERSATION": {"segmentation": {"mode": "Custom", "segmentationSilenceTimeoutMs": 300}}});
    assert_eq!(context["phraseDetection"], detection);
}

#[test]
fn the_language_of_a_turn_is_found_among_those_that_may_be_spoken() {
    let (mut machine, mut out) =
        (connect_with(AudioFormat::MULAW, &[(LANGUAGES, json!(["en-US", "de-DE"]))]), Outbox::default());
    assert!(machine.handshake().url.contains("&lidEnabled=en-US%2Cde-DE"));
    machine.audio(&[0; 800], &mut out);
    let id = begun(&sent(&mut out));
    let mut said = phrase(0);
    said["PrimaryLanguage"] = json!({"Language": "de-DE", "Confidence": "High"});
    let heard = hear(machine.as_mut(), "speech.phrase", &id, &said, &mut out);
    assert!(matches!(&heard[0], Heard::Language { tag, confidence: Some(_) } if tag == "de-DE"), "{heard:?}");
}

#[test]
fn statuses_and_closes_say_whose_fault_it_is() {
    let mut machine = connect();
    let mut status = |status: &str| {
        let message = format!("Path:speech.phrase\r\n\r\n{}", json!({"RecognitionStatus": status}));
        machine.received(Frame::Text(message), &mut Outbox::default(), &mut Vec::new()).err().map(|error| error.kind())
    };
    let statuses = ["Error", "TooManyRequests", "BadRequest", "Forbidden", "ServiceUnavailable", "BabbleTimeout"];
    let kinds = ["transient", "rate_limited", "bad_request", "quota", "transient"];
    assert_eq!(
        statuses.map(&mut status),
        [Some(kinds[0]), Some(kinds[1]), Some(kinds[2]), Some(kinds[3]), Some(kinds[4]), None]
    );
    let bad = machine.received(Frame::Text("{}".into()), &mut Outbox::default(), &mut Vec::new());
    assert_eq!(bad.err().map(|error| error.kind()), Some("protocol"));
    let kind = |machine: &dyn SttProtocol, code, reason: &str| {
        machine.closed(&Closed { code: Some(code), reason: reason.into() }).map(|error| error.kind())
    };
    assert_eq!(kind(machine.as_ref(), 1007, "Quota exceeded"), Some("quota"));
    assert_eq!(kind(machine.as_ref(), 1007, "Unsupported audio"), Some("bad_request"));
    assert_eq!(kind(machine.as_ref(), 4429, "Too many requests"), Some("rate_limited"));
    assert_eq!(kind(machine.as_ref(), 1002, "Authentication failed"), Some("authentication"));
    assert_eq!(kind(machine.as_ref(), 1011, ""), Some("transient"));
    assert_eq!(kind(machine.as_ref(), 1000, ""), Some("transient"), "unused and closed at once");
    let mut out = Outbox::default();
    machine.audio(&[0; 800], &mut out);
    let id = begun(&sent(&mut out));
    assert_eq!(kind(machine.as_ref(), 1000, ""), Some("transient"), "within a turn");
    hear(machine.as_mut(), "turn.end", &id, &json!({}), &mut out);
    assert_eq!(kind(machine.as_ref(), 1000, ""), None, "between two turns");
    machine.goodbye(&mut out);
    assert_eq!(out.wants_close(), Some(1000));
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_can() {
    let network = Network::new(&[]).expect("a network");
    let reason =
        |name: &str, value: Value| build(&settings(&[(name, value)]), &network).err().map(|error| error.reason);
    for (name, value) in [
        (MODE, json!("chatty")),
        (PHRASES, json!("Lindenhof")),
        (SEGMENTATION, json!(20)),
        (LIFETIME, json!(1)),
        (EXPECTED, json!("yes")),
        (QUERY, json!([1])),
    ] {
        assert!(reason(name, value).is_some_and(|reason| reason.starts_with(name)), "{name}");
    }
    assert_eq!(reason(QUERY, json!({"a": 1})), None);
}
