//! Whatever a model, a caller and a tool do, in whatever order: the call always waits for something, and nothing panics.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happening {
    Says(&'static str),
    Keys(&'static str),
    Silent,
    Cut,
    Speech(&'static str),
    Call(&'static str, &'static str),
    Finish(Finish),
    Failed(bool),
    ToolAnswers(&'static str),
    ToolFails,
    Heard(Speaker, &'static str),
    Gone,
    Down(bool),
    Stale,
}

fn happening() -> impl Strategy<Value = Happening> {
    let words = prop::sample::select(vec![
        "yes",
        "no",
        "tomorrow at three",
        "is there parking",
        "pardon",
        "hold on",
        "hello",
        "get me a person",
        "",
        "...",
        "no that's all",
        "yes but not then",
        "my name is Anna",
        "what else",
    ]);
    let name = prop::sample::select(vec![
        "look",
        "book",
        "book",
        "remember",
        "exit_menu",
        "exit_again",
        "exit_done",
        "exit_nowhere",
        "dial",
        "",
    ]);
    let arguments = prop::sample::select(vec![
        "{}",
        r#"{"date":"2026-11-24"}"#,
        r#"{"date":"2026-11-24","name":"Anna","time":"10:00"}"#,
        r#"{"day":"tomorrow","time":"23:00"}"#,
        r#"{"date":7}"#,
        r#"{"name":"\u0000"}"#,
    ]);
    let finish = prop::sample::select(vec![
        Finish::Complete,
        Finish::ToolCalls,
        Finish::ToolCalls,
        Finish::Length,
        Finish::Refused,
        Finish::Filtered,
    ]);
    let speaker = prop::sample::select(vec![Speaker::Agent, Speaker::Caller]);
    prop_oneof![
        6 => words.clone().prop_map(Happening::Says),
        1 => prop::sample::select(vec!["1", "2", "555#", "9"]).prop_map(Happening::Keys),
        1 => Just(Happening::Silent),
        2 => Just(Happening::Cut),
        4 => prop::sample::select(vec!["Well.", "  ", "Which day?"]).prop_map(Happening::Speech),
        6 => (name, arguments).prop_map(|(name, arguments)| Happening::Call(name, arguments)),
        6 => finish.prop_map(Happening::Finish),
        1 => any::<bool>().prop_map(Happening::Failed),
        4 => prop::sample::select(vec![r#"{"free":[],"reference":"A7"}"#, "{}", "null"]).prop_map(Happening::ToolAnswers),
        1 => Just(Happening::ToolFails),
        4 => (speaker, words).prop_map(|(speaker, words)| Happening::Heard(speaker, words)),
        1 => Just(Happening::Gone),
        1 => any::<bool>().prop_map(Happening::Down),
        1 => Just(Happening::Stale),
    ]
}

/// What the world owes the call.
#[derive(Debug, Default)]
struct World {
    waits_for: Option<&'static str>,
    thinking: RequestId,
    live: RequestId,
    tool: Option<RequestId>,
    transfer: RequestId,
    spoken: Option<UtteranceId>,
}

struct Call {
    conversation: Conversation,
    now: Instant,
    world: World,
}

impl Call {
    fn new(file: &str) -> Self {
        let agent = Agent::parse("test.yaml", file, &[]).unwrap_or_else(|error| panic!("{error}"));
        let conversation = Conversation::new(Arc::new(agent), "k");
        let mut call = Self { conversation, now: Instant::now(), world: World::default() };
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap_or_default();
        call.put(Input::CallStarted { variables: Vec::new(), local_time });
        call
    }

    fn put(&mut self, input: Input) {
        self.now += Duration::from_millis(300);
        self.conversation.handle(self.now, input);
        let world = &mut self.world;
        while let Some(effect) = self.conversation.poll_effect() {
            match effect {
                Effect::Speak { utterance, text, .. } => {
                    assert!(!text.trim().is_empty(), "nothing is said aloud");
                    world.spoken = Some(utterance);
                }
                Effect::Think { request, prompt } => {
                    let prompt = prompt.into_exposed();
                    whole(&prompt.messages);
                    assert!(
                        !matches!(prompt.messages.last(), None | Some(Message::Agent { .. })),
                        "it is the model's turn"
                    );
                    (world.thinking, world.waits_for) = (request, Some("model"));
                }
                Effect::Converse { request, messages, .. } => {
                    whole(messages.expose());
                    (world.live, world.waits_for) = (request, Some("session"));
                }
                Effect::StopThinking { .. } | Effect::EndConverse { .. } => world.waits_for = None,
                Effect::CallTool { request, .. } => {
                    world.tool = Some(request);
                    world.waits_for.get_or_insert("tool");
                }
                Effect::Listen(_) => world.waits_for = Some("caller"),
                Effect::Transfer { request, .. } => (world.transfer, world.waits_for) = (request, Some("transfer")),
                Effect::Hangup { .. } => world.waits_for = Some("end"),
                Effect::Classify { .. } => panic!("this agent has no examples"),
                Effect::ToolAnswer { .. } | Effect::Note(_) => {}
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        let world = &mut self.world;
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let is_live = world.waits_for == Some("session");
        let (request, live) = (world.thinking, world.live);
        let thought = |event| Input::Thought { request, event };
        let input = match happening {
            Happening::Says(text) => Input::CallerSaid { text: Pii::new(text.to_owned()), confidence: 0.9 },
            Happening::Keys(keys) => Input::Digits(Pii::new(keys.to_owned())),
            Happening::Silent => Input::Silence,
            Happening::Cut => match world.spoken.take() {
                Some(utterance) => Input::SpeechEnded { utterance, heard: "We".into(), complete: false },
                None => return,
            },
            Happening::Speech(text) => thought(ThoughtEvent::Speech(Pii::new(text.to_owned()))),
            Happening::Call(name, arguments) => {
                let arguments = Pii::new(json(arguments).as_object().cloned().unwrap_or_default());
                let call = ToolCall { id: "id".into(), name: name.into(), arguments, opaque: None };
                if is_live { Input::RealtimeCall { request: live, call } } else { thought(ThoughtEvent::Call(call)) }
            }
            Happening::Finish(finish) => thought(ThoughtEvent::Finished(finish)),
            Happening::Failed(retryable) => thought(ThoughtEvent::Failed { kind: "timeout", retryable }),
            Happening::ToolAnswers(answer) => match world.tool.take() {
                Some(request) => Input::ToolFinished { request, outcome: Ok(json(answer)) },
                None => return,
            },
            Happening::ToolFails => match world.tool.take() {
                Some(request) => Input::ToolFinished { request, outcome: Err(ToolFailure::new("timeout", "")) },
                None => return,
            },
            Happening::Heard(speaker, text) => {
                Input::RealtimeSaid { request: live, speaker, text: Pii::new(text.to_owned()) }
            }
            Happening::Gone => Input::RealtimeFailed { request: live },
            Happening::Down(busy) => Input::ProviderDown { stage: "text_to_speech", busy },
            Happening::Stale => Input::ToolFinished { request: RequestId(0), outcome: Ok(Value::Null) },
        };
        // What was owed is given: something else must be waited for afterwards.
        let given = matches!(
            (&input, world.waits_for),
            (Input::CallerSaid { .. } | Input::Digits(_) | Input::Silence, Some("caller"))
                | (
                    Input::Thought { event: ThoughtEvent::Finished(_) | ThoughtEvent::Failed { .. }, .. },
                    Some("model")
                )
                | (Input::ToolFinished { request: RequestId(1..), .. }, Some("tool"))
                | (Input::RealtimeFailed { .. }, Some("session"))
        );
        if given {
            let goes_on = matches!(input, Input::RealtimeFailed { .. }) && world.tool.is_some();
            world.waits_for = goes_on.then_some("tool");
        }
        self.put(input);
    }
}

/// Every call is followed by its answer, and no answer stands alone.
fn whole(messages: &[Message]) {
    let mut open = Vec::new();
    for message in messages {
        match message {
            Message::ToolResult { call, .. } => {
                assert!(!open.is_empty() && open.remove(0) == *call, "an answer without its call");
            }
            Message::Caller(_) | Message::Agent { .. } => {
                assert!(open.is_empty(), "a call without its answer");
                if let Message::Agent { calls, .. } = message {
                    open = calls.iter().map(|call| call.id.clone()).collect();
                }
            }
        }
    }
    assert!(open.is_empty(), "a call without its answer");
}

fn file(realtime: bool) -> String {
    let file = CLINIC
        .replace("exits: {done", "exits: {again: talk, done")
        .replace("route: {parking: bye}", "route: {parking: talk}");
    if realtime { file.replace("start: talk", "start: talk\nspeech_to_speech: voice") } else { file }
}

fn never_hangs(file: &str, happenings: Vec<Happening>) -> Result<(), TestCaseError> {
    let mut call = Call::new(file);
    for happening in happenings {
        let shown = format!("{happening:?}");
        call.happen(happening);
        prop_assert!(call.world.waits_for.is_some(), "after {shown} the call hangs in {:?}", call.conversation.state);
        prop_assert_eq!(call.conversation.is_over(), call.world.waits_for == Some("end"), "after {}", shown);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_call_with_a_language_model_is_never_left_hanging(happenings in prop::collection::vec(happening(), 1..80)) {
        never_hangs(&file(false), happenings)?;
    }

    #[test]
    fn a_call_with_a_speech_to_speech_model_is_never_left_hanging(happenings in prop::collection::vec(happening(), 1..80)) {
        never_hangs(&file(true), happenings)?;
    }
}
