//! Conversations with a scripted model, in virtual time.
//!
//! A script has one line per step. What the agent must do: `say: words`, `think`, `stop`, `listen`, `tool id {…}`
//! (with `confirmed`), `converse …`, `answer id …`, `end`, `transfer id`, `hangup reason`. What happens to it:
//! `caller: words`, `keys: 1`, `silence`, `cut: what was heard`, `speech: words`, `call id name {…}`, `finish kind`,
//! `failed kind`, `flaky kind`, `answers {…}`, `fails kind`, `heard caller: words`, `heard agent: words`, `gone`,
//! `down stage`. The agent must do exactly this, in this order, and nothing else.

mod bounds;
mod chaos;
mod example;
mod realtime;
mod talk;
mod tools;

use super::*;
use crate::agent::{Listen, ThoughtEvent};
use crate::base::chat::{Finish, Message, Prompt, ToolCall, ToolSpec};
use serde_json::{Map, Value};

pub(super) const CLINIC: &str = r#"
agent: clinic
start: talk
language_model: {use: model, max_tokens: 300}
variables:
  name: name
  day: {type: date, from: today}
  time: {type: time, between: ["9:00", "17:00"]}
  kind: {type: choice, options: {check: {say: a check-up, synonyms: [checkup]}, clean: {say: a cleaning}}}
  free: list
  reference: text
tools:
  look: {url: "https://api.example.com/free", description: Free times, arguments: {date: date}, result: {free: /free}}
  book:
    method: POST
    url: "https://api.example.com/book"
    arguments: {name: name, date: date, time: time, note: {type: text, required: false, max_chars: 20}}
    confirm: true
    result: {reference: /reference}
destinations: {desk: {extension: "20"}}
intents:
  parking: {keywords: [parking], answer: You can park behind the house.}
on:
  model_refused: {say: [I can't talk about that., Let us leave that.]}
  no_match: {say: Sorry?}
  no_input: {say: Hello?}
  retries_used_up: {say: I give up., transfer: desk}
  provider_down: {say: Out of order., transfer: desk}
  wants_human: {say: Of course., transfer: desk}
  goodbye: {say: Bye., hangup: bye}
  caller_silent: {say: Nobody there., hangup: silent}
nodes:
  talk:
    converse: "You book appointments. Today is {{ today }}."
    opening: [Hello., Hello again.]
    tools: [{use: look, filler: Let me see.}, book]
    collect: [name, time, day, kind]
    exits: {done: {go: bye, when: all is said}, menu: other}
  other: {route: {parking: bye}, question: What else?}
  bye: {completes: true, hangup: done, say: Goodbye.}
"#;

pub(super) struct Stage {
    pub(super) conversation: Conversation,
    now: Instant,
    seen: VecDeque<String>,
    speaking: VecDeque<UtteranceId>,
    thinking: RequestId,
    live: RequestId,
    tool: RequestId,
    pub(super) prompts: Vec<Prompt>,
    pub(super) keys: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) listens: Vec<Listen>,
    waits: usize,
}

impl Stage {
    pub(super) fn new(file: &str) -> Self {
        let agent = Agent::parse("test.yaml", file, &[]).unwrap_or_else(|error| panic!("{error}"));
        let mut stage = Self {
            conversation: Conversation::new(Arc::new(agent), "k3y"),
            now: Instant::now(),
            seen: VecDeque::new(),
            speaking: VecDeque::new(),
            thinking: RequestId(0),
            live: RequestId(0),
            tool: RequestId(0),
            prompts: Vec::new(),
            keys: Vec::new(),
            notes: Vec::new(),
            listens: Vec::new(),
            waits: 0,
        };
        // A Monday morning.
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap_or_default();
        stage.put(Input::CallStarted { variables: Vec::new(), local_time });
        stage
    }

    /// A stage on which this script has been played.
    pub(super) fn after(file: &str, script: &str) -> Self {
        let mut stage = Self::new(file);
        stage.play(script);
        stage
    }

    fn put(&mut self, input: Input) {
        self.now += Duration::from_millis(900);
        self.conversation.handle(self.now, input);
        let mut waits = 0;
        let mut line = |line: String| self.seen.push_back(line);
        while let Some(effect) = self.conversation.poll_effect() {
            match effect {
                Effect::Speak { utterance, text, .. } => {
                    line(format!("say: {text}"));
                    self.speaking.push_back(utterance);
                }
                Effect::Listen(listen) => {
                    line("listen".into());
                    self.listens.push(listen);
                    waits += 1;
                }
                Effect::Think { request, prompt } => {
                    line("think".into());
                    self.thinking = request;
                    self.prompts.push(prompt.into_exposed());
                    waits += 1;
                }
                Effect::StopThinking { request } => {
                    assert_eq!(request, self.thinking, "the wrong answer is stopped");
                    line("stop".into());
                }
                Effect::CallTool { request, tool, arguments, idempotency_key, confirmed } => {
                    let arguments = Value::from(arguments.into_exposed());
                    line(format!("tool {tool} {arguments}{}", if confirmed { " confirmed" } else { "" }));
                    self.tool = request;
                    self.keys.push(idempotency_key);
                    waits += 1;
                }
                Effect::Converse { request, instructions, tools, messages, opening, speak_first, .. } => {
                    let opening = opening.map_or_else(
                        || if speak_first { "first".into() } else { "silent".into() },
                        |l| format!("\"{l}\""),
                    );
                    line(format!("converse {opening}"));
                    self.live = request;
                    let messages = messages.into_exposed();
                    self.prompts.push(Prompt { instructions, messages, tools, output_tokens_max: 0 });
                    waits += 1;
                }
                Effect::ToolAnswer { request, call, content, failed, .. } => {
                    assert_eq!(request, self.live, "an answer for the wrong session");
                    line(format!("answer {call}{} {}", if failed { " failed" } else { "" }, content.expose()));
                }
                Effect::EndConverse { request } => {
                    assert_eq!(request, self.live, "the wrong session is ended");
                    line("end".into());
                }
                Effect::Transfer { destination, .. } => {
                    line(format!("transfer {destination}"));
                    waits += 1;
                }
                Effect::Hangup { reason, completed, .. } => {
                    line(format!("hangup {reason}{}", if completed { " completed" } else { "" }));
                    waits += 1;
                }
                Effect::Classify { .. } => {
                    line("classify".into());
                    waits += 1;
                }
                Effect::Note(Note::NodeEntered { node }) => self.notes.push(format!("node {node}")),
                Effect::Note(Note::SlotFilled { slot, value, corrected }) => {
                    self.notes.push(format!("{slot}={}{}", value.expose(), if corrected { " corrected" } else { "" }));
                }
                Effect::Note(Note::FailureHandled { kind, .. }) => self.notes.push(kind.to_owned()),
            }
        }
        if waits > 0 {
            self.waits = waits;
        }
        assert_eq!(self.waits, 1, "exactly one thing is waited for: {:?}", self.seen);
    }

    /// Everything said so far has been played.
    pub(super) fn heard_all(&mut self) {
        while let Some(utterance) = self.speaking.pop_front() {
            self.put(Input::SpeechEnded { utterance, heard: String::new(), complete: true });
        }
    }

    fn cut(&mut self, heard: &str) {
        let mut heard = heard.to_owned();
        while let Some(utterance) = self.speaking.pop_front() {
            self.put(Input::SpeechEnded { utterance, heard: std::mem::take(&mut heard), complete: false });
        }
    }

    fn thought(&mut self, event: ThoughtEvent) {
        let request = self.thinking;
        self.put(Input::Thought { request, event });
    }

    pub(super) fn play(&mut self, script: &str) {
        for (number, line) in script.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
            let doings = [
                "say:", "think", "stop", "listen", "tool", "converse", "answer", "end", "transfer", "hangup",
                "classify",
            ];
            if doings.contains(&word) {
                let seen = self.seen.pop_front().unwrap_or_else(|| "(nothing)".into());
                assert_eq!(seen, line, "step {number}; then {:?}; notes {:?}", self.seen, self.notes);
                continue;
            }
            assert!(self.seen.is_empty(), "before step {number} `{line}` the agent also did: {:?}", self.seen);
            let json =
                |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|e| panic!("step {number}: {e}")) };
            let call = || ToolCall {
                id: first.to_owned(),
                name: second.split(' ').next().unwrap_or_default().to_owned(),
                arguments: Pii::new(match second.split_once(' ') {
                    Some((_, arguments)) => json(arguments).as_object().cloned().unwrap_or_default(),
                    None => Map::new(),
                }),
                opaque: None,
            };
            let (tool, live) = (self.tool, self.live);
            match word {
                "cut:" => self.cut(rest),
                "caller:" => {
                    self.heard_all();
                    self.put(Input::CallerSaid { text: Pii::new(rest.to_owned()), confidence: 0.95 });
                }
                "mumble:" => {
                    self.heard_all();
                    self.put(Input::CallerSaid { text: Pii::new(rest.to_owned()), confidence: 0.1 });
                }
                "keys:" => {
                    self.heard_all();
                    self.put(Input::Digits(Pii::new(rest.to_owned())));
                }
                "silence" => {
                    self.heard_all();
                    self.put(Input::Silence);
                }
                "speech:" => self.thought(ThoughtEvent::Speech(Pii::new(rest.to_owned()))),
                "call" if self.live == RequestId(0) => self.thought(ThoughtEvent::Call(call())),
                "call" => self.put(Input::RealtimeCall { request: live, call: call() }),
                "finish" => self.thought(ThoughtEvent::Finished(match rest {
                    "complete" => Finish::Complete,
                    "tools" => Finish::ToolCalls,
                    "length" => Finish::Length,
                    "refused" => Finish::Refused,
                    "filtered" => Finish::Filtered,
                    other => panic!("step {number}: no finish `{other}`"),
                })),
                "failed" => self.thought(ThoughtEvent::Failed { kind: "timeout", retryable: false }),
                "flaky" => self.thought(ThoughtEvent::Failed { kind: "timeout", retryable: true }),
                "answers" => self.put(Input::ToolFinished { request: tool, outcome: Ok(json(rest)) }),
                "fails" => {
                    let mut failure = ToolFailure::new(first, "POST https://10.0.0.1/secret went wrong");
                    if !second.is_empty() {
                        failure = failure.with_body(json(second));
                    }
                    self.put(Input::ToolFinished { request: tool, outcome: Err(failure) });
                }
                "heard" => {
                    let speaker = if first == "agent:" { Speaker::Agent } else { Speaker::Caller };
                    self.put(Input::RealtimeSaid { request: live, speaker, text: Pii::new(second.to_owned()) });
                }
                "gone" => self.put(Input::RealtimeFailed { request: live }),
                "down" => self.put(Input::ProviderDown { stage: "text_to_speech", busy: false }),
                "busy" => self.put(Input::ProviderDown { stage: "text_to_speech", busy: true }),
                other => panic!("step {number}: unknown step `{other}`"),
            }
        }
        assert!(self.seen.is_empty(), "after the script the agent also did: {:?}", self.seen);
    }

    /// The messages of the last prompt, one a line.
    pub(super) fn messages(&self) -> Vec<String> {
        let messages = self.prompts.last().map(|prompt| prompt.messages.as_slice()).unwrap_or_default();
        messages.iter().map(shown).collect()
    }

    pub(super) fn value(&self, name: &str) -> Value {
        self.conversation.memory.value(name).cloned().unwrap_or_default()
    }
}

fn shown(message: &Message) -> String {
    match message {
        Message::Caller(text) => format!("caller: {}", text.expose()),
        Message::Agent { text, calls } => {
            let calls: String = calls.iter().map(|call| format!(" [{} {}]", call.id, call.name)).collect();
            format!("agent: {}{calls}", text.expose())
        }
        Message::ToolResult { call, content, failed, .. } => {
            format!("{call}{}: {}", if *failed { " failed" } else { "" }, content.expose())
        }
    }
}

/// Tools by name.
pub(super) fn names(tools: &[ToolSpec]) -> Vec<&str> {
    tools.iter().map(|spec| spec.name.as_str()).collect()
}
