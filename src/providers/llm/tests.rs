//! What the tests of all vendors share: settings, prompts, and a reply read to its end.

use super::protocol::Reply;
use super::{Finish, Message, Prompt, Thought, ToolCall, ToolSpec, Usage};
use crate::base::Pii;
use crate::providers::{ProviderError, Settings};
use serde_json::{Value, json};

/// Settings with a key, a model and these options.
pub(super) fn settings(options: &[(&str, Value)]) -> Settings {
    Settings {
        name: "vendor".into(),
        key: Some(Pii::new("secret".into())),
        url: "https://vendor.example/v1".into(),
        model: "model".into(),
        voice: String::new(),
        language: String::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        concurrency: 2,
        connect_timeout: Settings::FIRST_TIMEOUT,
        first_timeout: Settings::FIRST_TIMEOUT,
        stall_timeout: Settings::STALL_TIMEOUT,
    }
}

/// A call of `look` with these arguments.
pub(super) fn call(id: &str, arguments: Value) -> ToolCall {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    ToolCall { id: id.into(), name: "look".into(), arguments: Pii::new(arguments), opaque: None }
}

/// The caller's words.
pub(super) fn caller(words: &str) -> Message {
    Message::Caller(Pii::new(words.into()))
}

/// The agent's words and calls.
pub(super) fn agent(text: &str, calls: Vec<ToolCall>) -> Message {
    Message::Agent { text: Pii::new(text.into()), calls }
}

/// The answer of `look`.
pub(super) fn answer(call: &str, content: &str, failed: bool) -> Message {
    Message::ToolResult { call: call.into(), tool: "look".into(), content: Pii::new(content.into()), failed }
}

/// A prompt with one tool, `look`.
pub(super) fn prompt(messages: Vec<Message>) -> Prompt {
    let parameters = json!({"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]});
    let look = ToolSpec { name: "look".into(), description: "Looks up free times.".into(), parameters };
    Prompt { instructions: "You answer the telephone.".into(), messages, tools: vec![look], output_tokens_max: 0 }
}

/// A conversation with all there is in one.
pub(super) fn conversation() -> Prompt {
    prompt(vec![
        agent("Clinic, hello.", vec![]),
        caller("Is Monday free?"),
        agent("One moment.", vec![call("a", json!({"day": "Monday"})), call("b", json!({}))]),
        answer("a", "{\"free\":[\"9:00\"]}", false),
        answer("b", "Give a day.", true),
        agent("Nine o'clock.", vec![]),
        caller("Good."),
        caller("Book it."),
    ])
}

/// A reply in short: words, calls, and how it finished.
#[derive(PartialEq, Debug, Default)]
pub(super) struct Told {
    pub words: String,
    pub calls: Vec<ToolCall>,
    pub finish: Option<(Finish, Usage)>,
}

/// Reads events (`(name, data)`) to the end of the stream.
pub(super) fn read(mut reply: Box<dyn Reply>, events: &[(&str, Value)]) -> Result<Told, ProviderError> {
    let mut thoughts = Vec::new();
    for (name, data) in events {
        let data = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
        reply.event((!name.is_empty()).then_some(*name), &data, &mut thoughts)?;
    }
    reply.ended(&mut thoughts)?;
    let mut told = Told::default();
    for thought in thoughts {
        assert_eq!(told.finish, None, "nothing comes behind the end");
        match thought {
            Thought::Text(words) => told.words.push_str(words.expose()),
            Thought::Call(call) => told.calls.push(call),
            Thought::Finished { finish, usage } => told.finish = Some((finish, usage)),
        }
    }
    Ok(told)
}

#[test]
fn what_is_under_way_shows_neither_key_nor_words() {
    let settings = settings(&[]);
    let network = crate::providers::Network::new(&[]).expect("a network");
    for offer in super::vendors::OFFERS {
        let mut settings = settings.clone();
        settings.model = "some-model".into();
        assert!((offer.build)(&settings, &network).is_ok(), "{}", offer.vendor);
        settings.options.insert("no_such_option".into(), json!(1));
        let refused = (offer.build)(&settings, &network).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|words| words.contains("`no_such_option`")), "{}", offer.vendor);
    }
}
