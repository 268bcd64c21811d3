//! Whatever happens, in whatever order: a call is never left hanging, and nothing panics.

use super::*;
use crate::agent::effect::Label;
use proptest::prelude::*;

const AGENT: &str = r#"
agent: everything
start: hello
language: en-GB
settings: {url: "https://api.example.com"}
calendars: {office: {monday-friday: 9:00-17:00}}
variables:
  name: name
  day: {type: date, open: office}
  time: {type: time, open: office, on_day: day}
  phone: phone_number
  count: {type: number, min: 1, max: 9, whole: true}
  kind: {type: choice, options: {cut: [trim], colour: [dye]}}
  note: text
  sure: yes_no
  free: list
tools:
  look: {url: "{{ settings.url }}/look", arguments: {date: date}, result: {free: /free}}
destinations: {desk: {uri: "sip:desk@example.com"}}
intents:
  book: {keywords: [book], examples: [make a booking]}
  hours: {keywords: [hours], examples: [when are you open], answer: Nine to five.}
  stop: {keywords: [stop it], next: bye}
nodes:
  hello: {say: Hello., next: menu}
  menu: {route: {book: a}, keys: {"1": a}, question: What now?, listen_for: [day, time, name]}
  a: {ask: name, question: Name?, listen_for: [day, time, phone], next: b}
  b: {ask: day, question: [Day?, Which day?], listen_for: [time], next: c}
  c:
    tool: look
    with: {date: day}
    next: [{if: free, go: d}, {go: e}]
    on: {timeout: {say: Slow., next: d}, error: {say: Broken., transfer: desk}}
  d: {ask: time, question: Time?, next: e}
  e: {ask: phone, question: Phone?, next: f}
  f: {ask: count, question: How many?, next: g}
  g: {ask: kind, question: Which?, next: h}
  h: {ask: note, question: Anything to add?, next: i}
  i: {confirm: [name, day, time, phone, count, kind], question: "{{ name }} {{ day }} {{ time }}?", next: j}
  j: {clear: [sure], ask: sure, question: More?, next: [{if: sure, go: again}, {go: bye}]}
  again: {clear: [day, time], say: Again., next: b}
  bye: {hangup: done, say: Bye.}
"#;

fn agent() -> Arc<Agent> {
    Arc::new(Agent::parse("everything.yaml", AGENT, &[]).unwrap_or_else(|e| panic!("{e}")))
}

#[derive(Clone, Debug)]
enum Happening {
    Says(String, f32),
    Keys(String),
    Silent,
    Cut,
    Ranks(f32),
    NothingRanked,
    ToolAnswers(bool),
    ToolFails(&'static str),
    Transferred(bool),
    Down(&'static str, bool),
    Stale,
}

fn happening() -> impl Strategy<Value = Happening> {
    let words = prop::sample::select(vec![
        "book",
        "tomorrow at three",
        "Anna Berg",
        "my name is Anna",
        "no",
        "yes",
        "555 0134",
        "two",
        "a trim",
        "hours please",
        "the day is wrong",
        "sorry, I meant Thursday",
        "change the time to four",
        "pardon",
        "hold on",
        "help",
        "stop it",
        "half past two",
        "Saturday",
        "everything is wrong",
        "",
        "  ",
        "...",
        "asdf jkl qwer",
        "no, the name is Berg, B E R G",
        "that is wrong",
        "nothing",
        "can you book me on Monday, but what are your hours?",
        "ten people",
        "1",
        "the number",
    ]);
    let rare = prop::sample::select(vec![
        "operator",
        "goodbye",
        "{{ name }}",
        "\u{0}\u{202e}",
        "é è",
        "one two three four five six seven eight nine ten",
    ]);
    prop_oneof![
        12 => (words, 0.0..1.0f32).prop_map(|(text, c)| Happening::Says(text.to_owned(), (c * 2.0).min(1.0))),
        1 => (rare, 0.4..1.0f32).prop_map(|(text, c)| Happening::Says(text.to_owned(), c)),
        1 => (".{0,40}", 0.4..1.0f32).prop_map(|(text, c)| Happening::Says(text, c)),
        2 => "[0-9#*]{0,12}".prop_map(Happening::Keys),
        1 => Just(Happening::Silent),
        2 => Just(Happening::Cut),
        2 => (-1.0..1.0f32).prop_map(Happening::Ranks),
        1 => Just(Happening::NothingRanked),
        4 => any::<bool>().prop_map(Happening::ToolAnswers),
        1 => prop::sample::select(vec!["timeout", "status_500", "refused"]).prop_map(Happening::ToolFails),
        1 => any::<bool>().prop_map(Happening::Transferred),
        1 => (prop::sample::select(vec!["speech_to_text", "text_to_speech", "intents"]), any::<bool>()).prop_map(|(s, b)| Happening::Down(s, b)),
        1 => Just(Happening::Stale),
    ]
}

/// The driver of a call: keeps what is outstanding and answers only that.
struct Call {
    conversation: Conversation,
    now: Instant,
    outstanding: Option<&'static str>,
    request: RequestId,
    labels: Vec<Label>,
    spoken: Option<UtteranceId>,
    lines: Vec<String>,
}

impl Call {
    fn new() -> Self {
        let mut call = Self {
            conversation: Conversation::new(agent(), "key"),
            now: Instant::now(),
            outstanding: None,
            request: RequestId(0),
            labels: vec![],
            spoken: None,
            lines: vec![],
        };
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap_or_default();
        call.put(Input::CallStarted { variables: vec![], local_time });
        call
    }

    fn put(&mut self, input: Input) {
        self.now += Duration::from_millis(700);
        self.conversation.handle(self.now, input);
        while let Some(effect) = self.conversation.poll_effect() {
            let what = match effect {
                Effect::Speak { utterance, text, .. } => {
                    self.spoken = Some(utterance);
                    self.lines.push(text);
                    continue;
                }
                Effect::Note(_) => continue,
                Effect::Listen(_) => "listen",
                Effect::Classify { request, labels, .. } => {
                    (self.request, self.labels) = (request, labels);
                    "classify"
                }
                Effect::CallTool { request, .. } => {
                    self.request = request;
                    "tool"
                }
                Effect::Transfer { request, .. } => {
                    self.request = request;
                    "transfer"
                }
                Effect::Hangup { .. } => "hangup",
                Effect::StopThinking { .. } | Effect::ToolAnswer { .. } | Effect::EndConverse { .. } => continue,
                Effect::Think { request, .. } => {
                    self.request = request;
                    "think"
                }
                Effect::Converse { request, .. } => {
                    self.request = request;
                    "converse"
                }
            };
            self.outstanding = Some(what);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let request = self.request;
        let outstanding = self.outstanding;
        let input = match happening {
            Happening::Says(text, confidence) => Input::CallerSaid { text: Pii::new(text), confidence },
            Happening::Keys(keys) => Input::Digits(Pii::new(keys)),
            Happening::Silent => Input::Silence,
            Happening::Cut => match self.spoken.take() {
                Some(utterance) => Input::SpeechEnded { utterance, heard: "He".into(), complete: false },
                None => return,
            },
            Happening::Ranks(score) => {
                let ranking = self.labels.first().map(|label| (label.name.clone(), score)).into_iter().collect();
                Input::Classified { request, ranking }
            }
            Happening::NothingRanked => Input::Classified { request, ranking: vec![] },
            Happening::ToolAnswers(some) => {
                let answer =
                    if some { serde_json::json!({"free": ["10:00"]}) } else { serde_json::json!({"free": []}) };
                Input::ToolFinished { request, outcome: Ok(answer) }
            }
            Happening::ToolFails(kind) => Input::ToolFinished { request, outcome: Err(ToolFailure::new(kind, "")) },
            Happening::Transferred(accepted) => Input::TransferFinished { request, accepted, reason: String::new() },
            Happening::Down(stage, busy) => Input::ProviderDown { stage, busy },
            Happening::Stale => Input::ToolFinished { request: RequestId(0), outcome: Ok(serde_json::Value::Null) },
        };
        let answers = matches!(
            (&input, outstanding),
            (Input::CallerSaid { .. } | Input::Digits(_) | Input::Silence, Some("listen"))
                | (Input::Classified { .. }, Some("classify"))
                | (Input::ToolFinished { request: RequestId(1..), .. }, Some("tool"))
                | (Input::TransferFinished { .. }, Some("transfer"))
        );
        if answers {
            self.outstanding = None;
        }
        let handed_over = matches!(&input, Input::TransferFinished { accepted: true, .. }) && answers;
        self.put(input);
        if handed_over {
            self.outstanding = Some("handed over");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_call_is_never_left_hanging(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut call = Call::new();
        for happening in happenings {
            let shown = format!("{happening:?}");
            call.happen(happening);
            prop_assert!(call.outstanding.is_some(), "after {shown} the call hangs in {:?}; said {:?}", call.conversation.state, call.lines);
            prop_assert_eq!(call.conversation.is_over(), matches!(call.outstanding, Some("hangup" | "handed over")));
        }
        prop_assert!(call.lines.iter().all(|line| !line.trim().is_empty()));
    }

    #[test]
    fn the_same_inputs_give_the_same_words(happenings in prop::collection::vec(happening(), 1..30)) {
        let (mut first, mut second) = (Call::new(), Call::new());
        for happening in happenings {
            first.happen(happening.clone());
            second.happen(happening);
        }
        prop_assert_eq!(first.lines, second.lines);
    }
}

#[test]
fn a_caller_who_never_makes_sense_is_let_go_in_the_end() {
    let mut call = Call::new();
    for turn in 0..super::super::limits::TURNS + 10 {
        if call.conversation.is_over() || call.outstanding == Some("transfer") {
            return;
        }
        call.happen(Happening::Says(if turn % 2 == 0 { "hours please" } else { "pardon" }.to_owned(), 1.0));
    }
    panic!("the call goes on for ever");
}

#[test]
fn where_a_choice_is_asked_for_its_options_are_what_is_expected() {
    let file = AGENT.replace("start: hello", "start: g");
    let agent = Agent::parse("everything.yaml", &file, &[]).unwrap_or_else(|e| panic!("{e}"));
    let expected = |agent: Agent| {
        let mut conversation = Conversation::new(Arc::new(agent), "key");
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap_or_default();
        conversation.handle(Instant::now(), Input::CallStarted { variables: vec![], local_time });
        std::iter::from_fn(|| conversation.poll_effect()).find_map(|effect| match effect {
            Effect::Listen(listen) => Some(listen.phrases),
            _ => None,
        })
    };
    assert_eq!(expected(agent), Some(vec!["cut".to_owned(), "trim".into(), "colour".into(), "dye".into()]));
    let many: String = (0..100).map(|n| format!("seat{n}: [\"the seat number {n}\"], ")).collect();
    let file = file.replace("cut: [trim], ", &format!("{many}{}: [x], ", "long".repeat(20)));
    let agent = Agent::parse("everything.yaml", &file, &[]).unwrap_or_else(|e| panic!("{e}"));
    let phrases = expected(agent).unwrap_or_default();
    assert_eq!(phrases.len(), EXPECTED_PHRASES);
    assert_eq!(phrases.first().map(String::as_str), Some("seat0"));
}
