//! The vendors of language models, each against its fake over TLS: an answer, a tool, a barge-in, every class of error,
//! and whatever else a vendor can do wrong.

use crate::fakes::llm_anthropic::Anthropic;
use crate::fakes::llm_gemini::Gemini;
use crate::fakes::llm_openai::{Flavour, OpenAi};
use crate::fakes::{FakeServer, Misbehaviour};
use offhook::base::Pii;
use offhook::base::chat::{Finish, Message, Prompt, ToolCall, ToolSpec, Usage};
use offhook::providers::catalogue::{LLM, offer};
use offhook::providers::{LanguageModel, Network, ProviderError, Settings, Thought, ThoughtStream};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Far more than anything on the loopback takes; reached only by a failure.
const LIMIT: Duration = Duration::from_secs(10);
/// The deadlines of tests in which the vendor is to miss them.
const SHORT: Duration = Duration::from_millis(250);

const KEY: &str = "sk-the-secret-key";

/// A vendor and the fake that plays it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    OpenAi,
    OpenAiChat,
    Anthropic,
    Gemini,
    Groq,
    Together,
    Ollama,
}

const ALL: [Which; 7] =
    [Which::OpenAi, Which::OpenAiChat, Which::Anthropic, Which::Gemini, Which::Groq, Which::Together, Which::Ollama];

impl Which {
    fn vendor(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenAiChat => "openai-chat",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Groq => "groq",
            Self::Together => "together",
            Self::Ollama => "ollama",
        }
    }

    fn serve(self) -> FakeServer {
        let open_ai = |flavour| FakeServer::start(OpenAi { key: KEY, flavour });
        match self {
            Self::OpenAi | Self::OpenAiChat => open_ai(Flavour::OpenAi),
            Self::Anthropic => FakeServer::start(Anthropic { key: KEY }),
            Self::Gemini => FakeServer::start(Gemini { key: KEY }),
            Self::Groq => open_ai(Flavour::Groq),
            Self::Together => open_ai(Flavour::Together),
            Self::Ollama => open_ai(Flavour::Ollama),
        }
    }
}

fn settings(which: Which, server: &FakeServer) -> Settings {
    let path = if which == Which::Gemini { "/v1beta" } else { "/v1" };
    let model = if which == Which::Gemini { "gemini-3.8-flash" } else { "model" };
    Settings {
        name: which.vendor().into(),
        key: (which != Which::Ollama).then(|| Pii::new(KEY.into())),
        url: server.http_url(path),
        model: model.into(),
        voice: String::new(),
        language: String::new(),
        options: Default::default(),
        concurrency: 4,
        connect_timeout: LIMIT,
        first_timeout: LIMIT,
        stall_timeout: LIMIT,
    }
}

fn build(settings: &Settings, server: &FakeServer) -> Arc<dyn LanguageModel> {
    let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
    let offer = offer(LLM, &settings.name).expect("an offer");
    (offer.build)(settings, &network).expect("a model")
}

fn start(which: Which) -> (FakeServer, Arc<dyn LanguageModel>) {
    let server = which.serve();
    let model = build(&settings(which, &server), &server);
    (server, model)
}

fn caller(words: &str) -> Message {
    Message::Caller(Pii::new(words.into()))
}

fn prompt(messages: Vec<Message>) -> Arc<Prompt> {
    let parameters = json!({"type": "object", "properties": {"day": {"type": "string"}}});
    let tools = vec![ToolSpec { name: "look".into(), description: "Looks up free times.".into(), parameters }];
    let instructions = "You answer a clinic's telephone.".into();
    Arc::new(Prompt { instructions, messages, tools, output_tokens_max: 0 })
}

fn asked(words: &str) -> Arc<Prompt> {
    prompt(vec![caller(words)])
}

/// An answer in short.
#[derive(PartialEq, Debug, Default)]
struct Told {
    words: String,
    calls: Vec<ToolCall>,
    finish: Option<Finish>,
    usage: Usage,
}

async fn read(mut stream: ThoughtStream) -> Result<Told, ProviderError> {
    let mut told = Told::default();
    loop {
        match timeout(LIMIT, stream.recv()).await.expect("an end in time") {
            None if told.finish.is_some() => return Ok(told),
            None => panic!("the stream closed without an end"),
            Some(thought) => match thought? {
                Thought::Text(words) => told.words.push_str(words.expose()),
                Thought::Call(call) => told.calls.push(call),
                Thought::Finished { finish, usage } => {
                    assert_eq!(told.finish, None, "one end");
                    (told.finish, told.usage) = (Some(finish), usage);
                }
            },
        }
    }
}

async fn think(model: &Arc<dyn LanguageModel>, prompt: Arc<Prompt>) -> Result<Told, ProviderError> {
    read(model.think(prompt)?).await
}

async fn kind(model: &Arc<dyn LanguageModel>, words: &str) -> &'static str {
    match think(model, asked(words)).await {
        Ok(told) => panic!("an answer: {told:?}"),
        Err(error) => {
            assert!(!error.to_string().contains(KEY), "{error}");
            error.kind()
        }
    }
}

/// Waits until the connection of this many answers is back in the pool: behind the end of their bodies.
async fn back_in_the_pool(server: &FakeServer, answers: u64) {
    assert!(server.until(LIMIT, |server| server.replies() >= answers).await);
    // It is here, and this thread reads it.
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[track_caller]
fn content(server: &FakeServer) {
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_is_streamed_counted_and_its_connection_used_again() {
    for which in ALL {
        let (server, model) = start(which);
        for answers in 1..=3 {
            let told = think(&model, asked("Hello?")).await.expect("an answer");
            assert_eq!(told.words, "Hello there. How can I help?", "{which:?}");
            assert_eq!((told.calls.len(), told.finish), (0, Some(Finish::Complete)), "{which:?}");
            let has = model.capabilities();
            let cached_tokens = if has.prompt_cache { 100 } else { 0 };
            let usage = Usage { input_tokens: 120, cached_tokens, output_tokens: 9 };
            assert_eq!((has.tools, has.prompt_cache), (true, which != Which::Together), "{which:?}");
            assert_eq!(told.usage, usage, "{which:?}");
            back_in_the_pool(&server, answers).await;
        }
        let reading = model.meter().expect("a meter").read();
        assert_eq!((reading.requests, reading.usage.output_tokens), (3, 27), "{which:?}");
        assert_eq!(reading.connections, 1, "{which:?}");
        assert!(reading.first_p50 > Duration::ZERO && reading.failures.is_empty(), "{which:?}");
        assert_eq!(server.connections(), 1, "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_told() {
    for which in ALL {
        let (server, model) = start(which);
        let told = think(&model, asked("Please look up Monday.")).await.expect("a call");
        assert_eq!((told.words.as_str(), told.finish), ("One moment.", Some(Finish::ToolCalls)), "{which:?}");
        let [call] = told.calls.as_slice() else { panic!("{which:?}: {told:?}") };
        assert_eq!(call.name, "look");
        assert_eq!(call.arguments.expose().get("day"), Some(&json!("Monday")), "{which:?}");
        let result = Message::ToolResult {
            call: call.id.clone(),
            tool: call.name.clone(),
            content: Pii::new("{\"free\":[\"9:00\"]}".into()),
            failed: false,
        };
        let agent = Message::Agent { text: Pii::new(told.words), calls: told.calls };
        let messages = vec![caller("Please look up Monday."), agent, result];
        let told = think(&model, prompt(messages)).await.expect("an answer");
        assert_eq!(told.words, "It is free at nine.", "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn a_conversation_from_another_vendor_with_an_interrupted_call_is_accepted() {
    for which in ALL {
        let (server, model) = start(which);
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: "look".into(),
            arguments: Pii::default(),
            opaque: Some("another-vendor:x".into()),
        };
        let agent = |text: &str, calls| Message::Agent { text: Pii::new(text.into()), calls };
        let messages = vec![
            agent("Clinic, hello.", vec![]),
            caller("Monday?"),
            agent("", vec![call("functions.look:0"), call("gemini_call_1")]),
            caller("No, wait."),
            caller("Hello?"),
        ];
        let told = think(&model, prompt(messages.clone())).await.expect("an answer");
        assert_eq!(told.finish, Some(Finish::Complete), "{which:?}");
        let over = Prompt { tools: vec![], ..(*prompt(messages)).clone() };
        assert!(think(&model, Arc::new(over)).await.is_ok(), "{which:?}");
        let silent = prompt(vec![agent("Are you still there?", vec![])]);
        assert!(think(&model, silent).await.is_ok(), "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn dropping_the_answer_closes_the_exchange_at_once() {
    for which in ALL {
        let (server, model) = start(which);
        let mut stream = model.think(asked("Please talk long.")).expect("a place");
        let first = timeout(LIMIT, stream.recv()).await.expect("in time").expect("a thought");
        assert!(matches!(first, Ok(Thought::Text(_))), "{which:?}: {first:?}");
        drop(stream);
        let since = Instant::now();
        assert!(server.until(LIMIT, |server| server.abandoned() == 1).await, "{which:?}: the vendor still talks");
        assert!(since.elapsed() < LIMIT / 2, "{which:?}: {:?}", since.elapsed());
        let told = think(&model, asked("Hello?")).await.expect("the next turn");
        assert_eq!(told.words, "Hello there. How can I help?", "{which:?}: no word of the turn before");
        content(&server);
    }
}

#[tokio::test]
async fn an_answer_dropped_before_its_first_word_is_closed_too() {
    let (server, model) = start(Which::OpenAi);
    server.misbehave(Misbehaviour::Silence);
    let stream = model.think(asked("Hello?")).expect("a place");
    assert!(server.until(LIMIT, |server| server.requests().iter().any(|r| r.method == "POST")).await);
    drop(stream);
    server.behave();
    // What is open then is the connection made ready for the next turn.
    assert!(server.until(LIMIT, |server| server.open_connections() <= 1).await);
}

#[tokio::test]
async fn every_way_to_finish_is_told() {
    for which in ALL {
        let (server, model) = start(which);
        let finish = |words: &'static str| think(&model, asked(words));
        let told = finish("cut short").await.expect("an end");
        assert_eq!((told.words.as_str(), told.finish), ("I was about to", Some(Finish::Length)), "{which:?}");
        let told = finish("refuse").await.expect("an end");
        let refused = if which == Which::Gemini { Finish::Filtered } else { Finish::Refused };
        assert_eq!((told.words.as_str(), told.finish), ("", Some(refused)), "{which:?}");
        let told = finish("filter").await.expect("an end");
        let filtered = if which == Which::Anthropic { Finish::Refused } else { Finish::Filtered };
        assert_eq!(told.finish, Some(filtered), "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn a_broken_tool_call_is_told_so_that_the_model_can_correct_it() {
    for which in ALL {
        let (server, model) = start(which);
        let answer = think(&model, asked("a broken call")).await;
        if which == Which::Gemini {
            // The vendor keeps the broken call to itself.
            let error = answer.expect_err("an error");
            assert!(error.kind() == "failed" && error.is_retryable());
            continue;
        }
        let told = answer.expect("an answer");
        let [call] = told.calls.as_slice() else { panic!("{which:?}: {told:?}") };
        assert_eq!(call.malformed_arguments(), Some("{\"day\": Mon"), "{which:?}");
        let result = Message::ToolResult {
            call: call.id.clone(),
            tool: call.name.clone(),
            content: Pii::new("The arguments are no JSON object.".into()),
            failed: true,
        };
        let agent = Message::Agent { text: Pii::default(), calls: told.calls };
        assert!(think(&model, prompt(vec![caller("a broken call"), agent, result])).await.is_ok(), "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn every_class_of_error_is_told_by_whose_fault_it_is() {
    for which in ALL {
        let (server, model) = start(which);
        assert_eq!(kind(&model, "no credit").await, "quota", "{which:?}");
        assert_eq!(kind(&model, "no such model").await, "bad_request", "{which:?}");
        assert_eq!(kind(&model, "overload").await, "transient", "{which:?}");
        assert_eq!(kind(&model, "vanish").await, "transient", "{which:?}");
        match think(&model, asked("too fast")).await {
            Err(ProviderError::RateLimited { retry_after: Some(wait), .. }) => {
                assert!(wait >= Duration::from_millis(1500), "{which:?}: {wait:?}");
            }
            other => panic!("{which:?}: {other:?}"),
        }
        for (status, expected) in
            [(401, "authentication"), (402, "quota"), (429, "rate_limited"), (500, "transient"), (529, "transient")]
        {
            server.misbehave(Misbehaviour::status(status));
            assert_eq!(kind(&model, "Hello?").await, expected, "{which:?} {status}");
            server.behave();
        }
        assert!(think(&model, asked("Hello?")).await.is_ok(), "{which:?}: it recovers");
        content(&server);
    }
}

#[tokio::test]
async fn a_wrong_key_is_the_configuration_s_fault() {
    for which in ALL.into_iter().filter(|which| *which != Which::Ollama) {
        let server = which.serve();
        let settings = Settings { key: Some(Pii::new("wrong".into())), ..settings(which, &server) };
        assert_eq!(kind(&build(&settings, &server), "Hello?").await, "authentication", "{which:?}");
    }
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_in_time_is_given_up() {
    for which in ALL {
        let server = which.serve();
        let settings = Settings { first_timeout: SHORT, stall_timeout: SHORT, ..settings(which, &server) };
        let model = build(&settings, &server);
        for silence in [Misbehaviour::Silence, Misbehaviour::StallInTls, Misbehaviour::StallAfterUpgrade] {
            server.misbehave(silence);
            let since = Instant::now();
            let error = think(&model, asked("Hello?")).await.expect_err("too late");
            assert!(matches!(error, ProviderError::Timeout { after: SHORT, .. }), "{which:?} {silence:?}: {error}");
            assert!(since.elapsed() >= SHORT && since.elapsed() < LIMIT / 2, "{which:?} {silence:?}");
            server.behave();
            server.cut_connections();
        }
    }
}

#[tokio::test]
async fn a_connection_has_the_deadline_of_its_own_provider() {
    let server = Which::OpenAiChat.serve();
    server.misbehave(Misbehaviour::StallInTls);
    let network = Network::new(server.ca_pem().as_bytes()).expect("a network");
    for connect_timeout in [SHORT, SHORT * 2] {
        let settings = Settings { connect_timeout, ..settings(Which::OpenAiChat, &server) };
        let model = (offer(LLM, &settings.name).expect("an offer").build)(&settings, &network).expect("a model");
        let error = think(&model, asked("Hello?")).await.expect_err("no connection");
        let is_connection =
            matches!(error, ProviderError::Timeout { stage: "connection", after, .. } if after == connect_timeout);
        assert!(is_connection, "{error}");
        assert_eq!(model.meter().expect("a meter").read().connections, 0);
    }
}

#[tokio::test]
async fn an_answer_that_stalls_in_the_middle_is_given_up() {
    for which in ALL {
        let server = which.serve();
        let model = build(&Settings { stall_timeout: SHORT, ..settings(which, &server) }, &server);
        let mut stream = model.think(asked("Please talk long.")).expect("a place");
        let first = timeout(LIMIT, stream.recv()).await.expect("in time").expect("a thought");
        assert!(first.is_ok(), "{which:?}");
        server.misbehave(Misbehaviour::StallAfterUpgrade);
        let error = loop {
            match timeout(LIMIT, stream.recv()).await.expect("in time").expect("an end") {
                Ok(Thought::Text(_)) => {}
                Ok(other) => panic!("{which:?}: {other:?}"),
                Err(error) => break error,
            }
        };
        let expected = ProviderError::Timeout { provider: which.vendor().into(), stage: "sign of life", after: SHORT };
        assert_eq!(error, expected, "{which:?}");
        assert!(timeout(LIMIT, stream.recv()).await.expect("in time").is_none(), "then it closes");
    }
}

#[tokio::test]
async fn a_vendor_that_breaks_is_told_from_one_that_ends() {
    for which in ALL {
        for (misbehaviour, expected) in [
            (Misbehaviour::HalfMessage, &["transient"][..]),
            (Misbehaviour::CloseMidWord(1011), &["transient"]),
            (Misbehaviour::WrongJson, &["protocol", "transient"]),
            (Misbehaviour::HugeFrame(1 << 20), &["protocol"]),
        ] {
            let (server, model) = start(which);
            server.misbehave(misbehaviour);
            let kind = kind(&model, "Please talk long.").await;
            assert!(expected.contains(&kind), "{which:?} {misbehaviour:?}: {kind}");
            server.behave();
            let told = think(&model, asked("Hello?")).await;
            assert!(told.is_ok(), "{which:?} {misbehaviour:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_port_that_refuses_is_told_at_once() {
    for which in ALL {
        let (server, model) = start(which);
        server.misbehave(Misbehaviour::Refuse);
        let since = Instant::now();
        assert_eq!(kind(&model, "Hello?").await, "transient", "{which:?}");
        assert!(since.elapsed() < LIMIT / 2);
    }
}

#[tokio::test]
async fn events_and_fields_of_tomorrow_and_octets_one_by_one_change_nothing() {
    for which in ALL {
        for misbehaviour in [Misbehaviour::UnknownTypes, Misbehaviour::SlowDrip(Duration::from_micros(20))] {
            let (server, model) = start(which);
            server.misbehave(misbehaviour);
            let told = think(&model, asked("Please look up Monday.")).await.expect("an answer");
            assert_eq!((told.words.as_str(), told.calls.len()), ("One moment.", 1), "{which:?} {misbehaviour:?}");
            content(&server);
        }
    }
}

#[tokio::test]
async fn more_answers_at_once_than_the_key_allows_are_refused_without_waiting() {
    let (server, model) = start(Which::Anthropic);
    let under_way: Vec<_> = (0..4).map(|_| model.think(asked("Please talk long.")).expect("a place")).collect();
    let error = model.think(asked("Hello?")).expect_err("one too many");
    assert_eq!(error, ProviderError::Busy { provider: "anthropic".into(), waiting: 4 });
    drop(under_way);
    let free = async {
        while model.think(asked("Hello?")).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, free).await.expect("dropped answers give their places back");
    content(&server);
}

#[tokio::test]
async fn a_connection_is_ready_when_the_call_is_answered() {
    for which in ALL {
        let (server, model) = start(which);
        model.warm();
        assert!(server.until(LIMIT, |server| server.requests().len() == 1).await, "{which:?}");
        let warm = server.requests();
        assert!(warm[0].body.is_empty() || which == Which::Ollama, "{which:?}: no words yet");
        back_in_the_pool(&server, 1).await;
        think(&model, asked("Hello?")).await.expect("an answer");
        assert_eq!(server.connections(), 1, "{which:?}");
        content(&server);
    }
}

#[tokio::test]
async fn a_vendor_that_is_gone_when_the_call_rings_harms_nobody() {
    let (server, model) = start(Which::OpenAi);
    server.misbehave(Misbehaviour::Refuse);
    (0..100).for_each(|_| model.warm());
    server.behave();
    assert!(think(&model, asked("Hello?")).await.is_ok());
}

#[tokio::test]
async fn neither_key_nor_words_are_shown() {
    let (server, model) = start(Which::Gemini);
    let mut stream = model.think(asked("Hello?")).expect("a place");
    let thought = timeout(LIMIT, stream.recv()).await.expect("in time").expect("a thought");
    assert!(!format!("{thought:?}").contains("Hello"), "{thought:?}");
    for request in server.requests() {
        let url = format!("{} {:?}", request.path, request.query);
        assert!(!url.contains(KEY), "{url}");
    }
}
