//! The agent of a script, alone on its stage: it plays what the script says and compares what it sees.

use offhook::agent::{Agent, Conversation, Effect, Input, Note, RequestId, ToolFailure, UtteranceId};
use offhook::base::Pii;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Stage {
    pub conversation: Conversation,
    now: Instant,
    pub seen: VecDeque<String>,
    speaking: Vec<(UtteranceId, String)>,
    request: RequestId,
    pub notes: Vec<String>,
    pub keys: Vec<String>,
    pub confirmed: Vec<bool>,
    outstanding: usize,
    pub context: String,
}

impl Stage {
    fn new(agent: Agent) -> Self {
        let mut stage = Self {
            conversation: Conversation::new(Arc::new(agent), "k3y"),
            now: Instant::now(),
            seen: VecDeque::new(),
            speaking: Vec::new(),
            request: RequestId(0),
            notes: Vec::new(),
            keys: Vec::new(),
            confirmed: Vec::new(),
            outstanding: 0,
            context: String::new(),
        };
        // A Monday morning.
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).expect("UTC");
        let variables = vec![("caller_number".to_owned(), Pii::new("5550199".to_owned()))];
        stage.put(Input::CallStarted { variables, local_time });
        stage
    }

    pub fn put(&mut self, input: Input) {
        self.now += Duration::from_secs(2);
        let over = self.conversation.is_over();
        self.conversation.handle(self.now, input);
        let mut outstanding = 0;
        while let Some(effect) = self.conversation.poll_effect() {
            match effect {
                Effect::Speak { utterance, text, .. } => {
                    self.seen.push_back(format!("agent: {text}"));
                    self.speaking.push((utterance, text));
                }
                Effect::Listen(_) => outstanding += 1,
                Effect::Classify { request, .. } => {
                    self.request = request;
                    self.seen.push_back("classify".into());
                    outstanding += 1;
                }
                Effect::CallTool { request, tool, arguments, idempotency_key, confirmed } => {
                    self.request = request;
                    self.keys.push(idempotency_key);
                    self.confirmed.push(confirmed);
                    let arguments = serde_json::to_string(arguments.expose()).expect("JSON");
                    self.seen.push_back(format!("tool {tool} {arguments}"));
                    outstanding += 1;
                }
                Effect::Transfer { request, destination, context, .. } => {
                    self.request = request;
                    self.context = serde_json::to_string(context.expose()).expect("JSON");
                    self.seen.push_back(format!("transfer {destination}"));
                    outstanding += 1;
                }
                Effect::Hangup { reason, completed, .. } => {
                    self.seen.push_back(format!("hangup {reason}{}", if completed { " completed" } else { "" }));
                    outstanding += 1;
                }
                Effect::Note(Note::FailureHandled { kind, .. }) => self.notes.push(kind.to_owned()),
                Effect::Note(Note::SlotFilled { slot, corrected, .. }) => {
                    self.notes.push(format!("{slot}{}", if corrected { " corrected" } else { "" }));
                }
                Effect::Note(Note::NodeEntered { .. }) => {}
                Effect::Think { .. }
                | Effect::StopThinking { .. }
                | Effect::Converse { .. }
                | Effect::ToolAnswer { .. }
                | Effect::EndConverse { .. } => self.seen.push_back("model".into()),
            }
        }
        if outstanding > 0 {
            self.outstanding = outstanding;
        }
        if !over {
            assert!(outstanding <= 1, "{outstanding} things to wait for at once: {:?}", self.seen);
            assert!(self.outstanding == 1, "nothing is outstanding: the call hangs");
        }
    }

    pub fn heard_all(&mut self) {
        for (utterance, heard) in std::mem::take(&mut self.speaking) {
            self.put(Input::SpeechEnded { utterance, heard, complete: true });
        }
    }

    pub fn play(&mut self, script: &str) {
        for (number, line) in script.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if ["agent:", "tool", "classify", "transfer", "hangup"].contains(&word) {
                let seen = self.seen.pop_front().unwrap_or_else(|| "(nothing)".into());
                assert_eq!(seen, line, "step {number}; then {:?}; notes {:?}", self.seen, self.notes);
                continue;
            }
            assert!(self.seen.is_empty(), "before step {number} `{line}` the agent also did: {:?}", self.seen);
            if word != "cut:" {
                self.heard_all();
            }
            let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|e| panic!("step {number}: {e}"));
            let request = self.request;
            let input = match word {
                "caller:" => Input::CallerSaid { text: Pii::new(rest.to_owned()), confidence: 0.95 },
                "caller" => {
                    let (confidence, text) = rest.split_once(": ").expect("confidence");
                    Input::CallerSaid {
                        text: Pii::new(text.to_owned()),
                        confidence: confidence.parse().expect("number"),
                    }
                }
                "silence" => Input::Silence,
                "keys:" => Input::Digits(Pii::new(rest.to_owned())),
                "cut:" => {
                    let (utterance, _) = self.speaking.pop().expect("an utterance");
                    Input::SpeechEnded { utterance, heard: rest.to_owned(), complete: false }
                }
                "answers" => Input::ToolFinished { request, outcome: Ok(json(rest)) },
                "fails" => {
                    let (kind, body) = rest.split_once(' ').unwrap_or((rest, ""));
                    let mut failure = ToolFailure::new(kind, "");
                    if !body.is_empty() {
                        failure = failure.with_body(json(body));
                    }
                    Input::ToolFinished { request, outcome: Err(failure) }
                }
                "ranking" => {
                    let ranking = rest
                        .split(", ")
                        .filter_map(|pair| pair.split_once(' '))
                        .map(|(name, score)| (name.to_owned(), score.parse().expect("number")))
                        .collect();
                    Input::Classified { request, ranking }
                }
                "accepted" => Input::TransferFinished { request, accepted: true, reason: "200 OK".into() },
                "refused" => Input::TransferFinished { request, accepted: false, reason: "486 Busy Here".into() },
                "down" => Input::ProviderDown { stage: leak(rest), busy: false },
                "busy" => Input::ProviderDown { stage: leak(rest), busy: true },
                other => panic!("step {number}: unknown step `{other}`"),
            };
            self.put(input);
        }
        assert!(self.seen.is_empty(), "after the script the agent also did: {:?}", self.seen);
    }
}

fn leak(stage: &str) -> &'static str {
    ["speech_to_text", "text_to_speech", "intents"].into_iter().find(|s| *s == stage).expect("a stage")
}

pub fn clinic() -> Stage {
    Stage::new(Agent::load("examples/clinic.yaml", &[]).unwrap_or_else(|e| panic!("{e}")))
}

/// From the first ring to the read-back of Anna Berg, Tuesday at three.
pub const TO_READ_BACK: &str = "
    agent: Good morning, this is Lindenhof Dental.
    agent: How can I help you?
    caller: I'd like to make an appointment please.
    agent: May I have your name, please?
    caller: My name is Anna Berg.
    agent: Which day would suit you?
    caller: Tomorrow, please.
    tool find_free_times {\"date\":\"2026-11-24\"}
    answers {\"free\": [\"09:00\", \"15:00\", \"15:30\"]}
    agent: What time would you like?
    caller: At three.
    agent: And what number can we reach you at?
    caller: five five five oh one three four
    agent: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
";

pub fn with_check(script: &str) -> String {
    // The filler of the first look-up.
    script.replacen("    tool find_free_times", "    agent: Let me check.\n    tool find_free_times", 1)
}

pub fn restaurant() -> Stage {
    Stage::new(Agent::load("tests/data/agents/restaurant.yaml", &[]).unwrap_or_else(|e| panic!("{e}")))
}
