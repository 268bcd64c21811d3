//! Whole calls on loopback in which a model talks: a language model sentence by sentence, a speech-to-speech model with
//! its own voice. Both are scripted; the telephone, turn-taking, the flow and its tools are real.

use crate::support::{Phone, TestServer};
use offhook::base::Pii;
use offhook::base::chat::{Finish, Message, Prompt, ToolCall, ToolSpec, Usage};
use offhook::call::CallEvent;
use offhook::providers::llm::{LlmCapabilities, Thought, ThoughtStream};
use offhook::providers::realtime::{
    AnswerId, RealtimeCapabilities, RealtimeEvent, RealtimeRequest, RealtimeSession, RealtimeStream,
};
use offhook::providers::{LanguageModel, ProviderError, ProviderName, SpeechToSpeech};
use offhook::sip::event::EndCause;
use offhook::tools::EgressPolicy;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

const CALLER: [u8; 4] = [127, 0, 0, 1];

const AGENT: &str = "
agent: assistant
start: talk
language_model: scripted
variables: {name: name}
nodes:
  talk:
    converse: You answer the telephone of a bakery.
    opening: Good morning, the bakery.
    collect: [name]
    exits: {done: bye}
  bye: {hangup: done, say: Goodbye., completed: true}
";

/// Answers the n-th prompt with the n-th script; remembers the prompts.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<Result<Thought, ProviderError>>>>,
    prompts: Mutex<Vec<Arc<Prompt>>>,
    /// Answers whose reader went away before they were whole.
    dropped: Arc<Mutex<u32>>,
}

impl Scripted {
    fn new(answers: Vec<Vec<Result<Thought, ProviderError>>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into()), ..Self::default() })
    }
}

impl LanguageModel for Scripted {
    fn name(&self) -> ProviderName {
        "scripted".into()
    }
    fn capabilities(&self) -> LlmCapabilities {
        LlmCapabilities { tools: true, prompt_cache: false }
    }
    fn think(&self, prompt: Arc<Prompt>) -> Result<ThoughtStream, ProviderError> {
        self.prompts.lock().unwrap().push(prompt);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| {
            vec![Err(ProviderError::Transient { provider: "scripted".into(), reason: "nothing scripted".into() })]
        });
        let (sender, receiver) = mpsc::channel(1);
        let dropped = Arc::clone(&self.dropped);
        tokio::spawn(async move {
            for thought in answer {
                if sender.send(thought).await.is_err() {
                    *dropped.lock().unwrap() += 1;
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

fn text(words: &str) -> Result<Thought, ProviderError> {
    Ok(Thought::Text(Pii::new(words.into())))
}

fn finished(finish: Finish) -> Result<Thought, ProviderError> {
    Ok(Thought::Finished { finish, usage: Usage::default() })
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: format!("call-{name}"),
        name: name.into(),
        arguments: Pii::new(serde_json::from_str(arguments).unwrap()),
        opaque: None,
    }
}

async fn server(llm: &Arc<Scripted>, heard: &[&str]) -> TestServer {
    let llm = Arc::clone(llm);
    TestServer::start_thinking(AGENT, heard, EgressPolicy::default(), |engines| engines.llm = Some(llm), |_| ()).await
}

async fn said(server: &mut TestServer) -> String {
    server
        .event("words of the agent", |e| match e {
            CallEvent::AgentSays { text, .. } => Some(text.expose().clone()),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_answers_sentence_by_sentence_and_takes_an_exit() {
    let llm = Scripted::new(vec![
        vec![text("We have rye. "), text("And we ha"), text("ve wheat."), finished(Finish::Complete)],
        vec![text("With pleasure."), Ok(Thought::Call(call("exit_done", "{}"))), finished(Finish::ToolCalls)],
    ]);
    let mut server = server(&llm, &["What bread do you have?", "Keep one for me."]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    assert_eq!(said(&mut server).await, "Good morning, the bakery.");
    phone.wait_for(true, 5).await;
    phone.wait_for(false, 30).await;
    phone.speak(600).await;
    let (first, ()) = tokio::join!(said(&mut server), phone.wait_for(true, 5));
    assert_eq!(first, "We have rye.");
    assert_eq!(said(&mut server).await, "And we have wheat.");
    phone.wait_for(false, 30).await;
    phone.speak(600).await;
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
    let prompts = llm.prompts.lock().unwrap();
    assert_eq!(prompts.len(), 2);
    assert_eq!(prompts[0].instructions, prompts[1].instructions, "caches need the same start");
    assert!(prompts[0].tools.iter().any(|tool| tool.name == "exit_done"));
    let told = |message: &Message| match message {
        Message::Caller(text) => format!("caller: {}", text.expose()),
        Message::Agent { text, .. } => format!("agent: {}", text.expose()),
        Message::ToolResult { tool, .. } => format!("result of {tool}"),
    };
    let history: Vec<String> = prompts[1].messages.iter().map(told).collect();
    assert_eq!(
        history[history.len() - 3..],
        ["caller: What bread do you have?", "agent: We have rye. And we have wheat.", "caller: Keep one for me."]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_fails_meets_the_agent_s_response_and_the_call_does_not_hang() {
    let llm = Scripted::new(vec![]);
    let mut server = server(&llm, &["Hello?"]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 5).await;
    phone.wait_for(false, 30).await;
    phone.speak(600).await;
    let kind = server.event("a handled failure", |e| match e {
        CallEvent::FailureHandled { kind, .. } if kind == "provider_down" => Some(()),
        _ => None,
    });
    tokio::join!(kind, phone.ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_caller_interrupts_is_stopped_at_the_vendor() {
    let long: Vec<_> = (0..200).map(|n| text(&format!("This is sentence number {n} of very many. "))).collect();
    let llm = Scripted::new(vec![long, vec![Ok(Thought::Call(call("exit_done", "{}"))), finished(Finish::ToolCalls)]]);
    let mut server = server(&llm, &["Tell me everything.", "Stop it please."]).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 5).await;
    phone.wait_for(false, 30).await;
    phone.speak(600).await;
    phone.wait_for(true, 5).await;
    phone.speak(900).await;
    let stopped = server.event("a barge-in", |e| match e {
        CallEvent::BargeIn { stopped_after, .. } => Some(*stopped_after),
        _ => None,
    });
    let (stopped, _) = tokio::join!(stopped, phone.ended());
    assert!(stopped < Duration::from_secs(2), "{stopped:?} of minutes");
    assert_eq!(llm.prompts.lock().unwrap().len(), 2);
}

/// A speech-to-speech vendor that is moved by the test.
#[derive(Default)]
struct Puppet {
    sessions: Mutex<Vec<Arc<Strings>>>,
    refuses: bool,
}

struct Strings {
    request: RealtimeRequest,
    events: mpsc::Sender<RealtimeEvent>,
    heard: Mutex<usize>,
    told: Mutex<Vec<String>>,
}

struct PuppetStream(Arc<Strings>);

impl SpeechToSpeech for Puppet {
    fn name(&self) -> ProviderName {
        "puppet".into()
    }
    fn capabilities(&self) -> RealtimeCapabilities {
        RealtimeCapabilities { formats: Vec::new(), local_turns: true, tools: true, truncate: true, update: true }
    }
    fn open(&self, request: RealtimeRequest) -> Result<RealtimeSession, ProviderError> {
        if self.refuses {
            return Err(ProviderError::Busy { provider: "puppet".into(), waiting: 0 });
        }
        let (events, receiver) = mpsc::channel(64);
        let strings = Arc::new(Strings { request, events, heard: Mutex::new(0), told: Mutex::default() });
        self.sessions.lock().unwrap().push(Arc::clone(&strings));
        Ok((Box::new(PuppetStream(strings)), receiver))
    }
}

impl RealtimeStream for PuppetStream {
    fn push(&mut self, samples: &[i16]) {
        *self.0.heard.lock().unwrap() += samples.len();
    }
    fn commit(&mut self) {
        self.0.told.lock().unwrap().push("commit".into());
    }
    fn interrupt(&mut self, _answer: AnswerId, heard: Duration) {
        self.0.told.lock().unwrap().push(format!("interrupt after {}", heard.as_millis() / 100));
    }
    fn tool_result(&mut self, _: &str, tool: &str, content: &str, failed: bool) {
        self.0.told.lock().unwrap().push(format!("{tool}: {content} {failed}"));
    }
    fn update(&mut self, _: &str, _: &[ToolSpec]) {}
    fn tell(&mut self, text: &str) {
        self.0.told.lock().unwrap().push(text.into());
    }
}

impl Strings {
    /// Says something that lasts so long.
    async fn say(&self, answer: u32, words: &str, milliseconds: usize) {
        let answer = AnswerId(answer);
        let samples = crate::support::hum(self.request.rate.samples_in_ms(milliseconds as u32));
        for samples in samples.chunks(800) {
            self.events.send(RealtimeEvent::Audio { answer, samples: samples.to_vec() }).await.unwrap();
        }
        self.events.send(RealtimeEvent::AgentSaid { answer, text: Pii::new(words.into()) }).await.unwrap();
        self.events.send(RealtimeEvent::AudioEnded { answer }).await.unwrap();
    }
}

fn realtime_agent() -> String {
    AGENT.replace("language_model: scripted", "speech_to_speech: puppet\nlanguage_model: scripted")
}

async fn realtime_server(puppet: &Arc<Puppet>, llm: &Arc<Scripted>) -> TestServer {
    let (puppet, llm) = (Arc::clone(puppet), Arc::clone(llm));
    let equip = |engines: &mut offhook::call::Engines| {
        engines.realtime = Some(puppet);
        engines.llm = Some(llm);
    };
    TestServer::start_thinking(&realtime_agent(), &["Hello?"], EgressPolicy::default(), equip, |_| ()).await
}

async fn session(puppet: &Puppet) -> Arc<Strings> {
    for _ in 0..2_000 {
        if let Some(session) = puppet.sessions.lock().unwrap().last() {
            return Arc::clone(session);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no session was opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speech_to_speech_model_is_heard_interrupted_and_leaves_by_an_exit() {
    let (puppet, llm) = (Arc::new(Puppet::default()), Scripted::new(vec![]));
    let mut server = realtime_server(&puppet, &llm).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    let model = session(&puppet).await;
    assert_eq!(model.request.opening.as_deref(), Some("Good morning, the bakery."));
    assert!(model.request.tools.iter().any(|tool| tool.name == "exit_done"));
    model.say(1, "Good morning, the bakery.", 3_000).await;
    phone.wait_for(true, 5).await;
    phone.speak(900).await;
    model.events.send(RealtimeEvent::SpeechStarted).await.unwrap();
    phone.wait_for(false, 20).await;
    let heard = server
        .event("the words that were heard", |e| match e {
            CallEvent::AgentSaid { heard, complete: false, .. } => Some(heard.expose().clone()),
            _ => None,
        })
        .await;
    assert!(!heard.is_empty() && "Good morning, the".starts_with(&heard), "{heard:?}");
    assert!(*model.heard.lock().unwrap() > 0, "the caller is heard by the model");
    let told = model.told.lock().unwrap().clone();
    assert!(matches!(&told[..], [interrupt] if interrupt.starts_with("interrupt after")), "{told:?}");

    model.events.send(RealtimeEvent::SpeechStopped).await.unwrap();
    model.events.send(RealtimeEvent::CallerSaid(Pii::new("That is all.".into()))).await.unwrap();
    model.say(2, "Thank you.", 400).await;
    let record = server.event("a latency record", |e| match e {
        CallEvent::TurnLatency { record, .. } => Some(record.clone()),
        _ => None,
    });
    let (record, ()) = tokio::join!(record, phone.wait_for(true, 5));
    assert!(record.total().is_some());
    model.events.send(RealtimeEvent::Call(call("exit_done", "{}"))).await.unwrap();
    assert_eq!(phone.ended().await, EndCause::Remote);
    server.completes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_model_collects_is_checked_by_the_flow_and_answered() {
    let (puppet, llm) = (Arc::new(Puppet::default()), Scripted::new(vec![]));
    let mut server = realtime_server(&puppet, &llm).await;
    let _phone = Phone::call(&server.server, CALLER).await.unwrap();
    let model = session(&puppet).await;
    model.events.send(RealtimeEvent::Call(call("remember", r#"{"name": "Anna Miller"}"#))).await.unwrap();
    let value = server
        .event("a slot", |e| match e {
            CallEvent::SlotFilled { slot, value, .. } if slot == "name" => Some(value.expose().clone()),
            _ => None,
        })
        .await;
    assert_eq!(value, "Anna Miller");
    for _ in 0..2_000 {
        if !model.told.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = model.told.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].starts_with("remember: ") && told[0].ends_with("false"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speech_to_speech_model_that_fails_is_followed_by_the_language_model() {
    for refuses in [true, false] {
        let puppet = Arc::new(Puppet { refuses, ..Puppet::default() });
        let llm = Scripted::new(vec![vec![
            text("Still here."),
            Ok(Thought::Call(call("exit_done", "{}"))),
            finished(Finish::ToolCalls),
        ]]);
        let mut server = realtime_server(&puppet, &llm).await;
        let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
        if !refuses {
            let model = session(&puppet).await;
            let error = ProviderError::Transient { provider: "puppet".into(), reason: "gone".into() };
            model.events.send(RealtimeEvent::Failed(error)).await.unwrap();
        }
        let trouble = server
            .event("the trouble", |e| match e {
                CallEvent::EngineTrouble { stage, .. } => Some(*stage),
                _ => None,
            })
            .await;
        assert_eq!(trouble, "speech_to_speech");
        phone.wait_for(true, 5).await;
        phone.wait_for(false, 30).await;
        phone.speak(600).await;
        assert_eq!(phone.ended().await, EndCause::Remote);
        assert_eq!(llm.prompts.lock().unwrap().len(), 1);
    }
}
