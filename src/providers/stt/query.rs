//! The query of a vendor's URL, from its settings.

use crate::providers::format::{AudioFormat, Encoding};
use crate::providers::{Settings, SttRequest};
use serde_json::Value;

/// Names and values in their order; an option stands in the place of a default of the same name.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// A pair that is always there.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// A pair with a value, none where it is empty.
    pub(super) fn with_some(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// The settings' options of these names. A list gives a pair for each item.
    pub(super) fn with_options(mut self, settings: &Settings, names: &[&str]) -> Self {
        for name in names {
            let Some(value) = settings.options.get(*name) else { continue };
            self.0.retain(|(known, _)| known != name);
            match value {
                Value::Array(items) => self.0.extend(items.iter().map(|item| ((*name).to_owned(), plain(item)))),
                other => self.0.push(((*name).to_owned(), plain(other))),
            }
        }
        self
    }

    /// The URL under a base.
    pub(super) fn url(&self, base: &str, path: &str) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        crate::providers::wire::url(base, path, &pairs, true)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The language of a call: the request's, else the settings'; empty for the vendor's own.
pub(super) fn language(request: &SttRequest, settings: &Settings) -> String {
    request.language.clone().unwrap_or_else(|| settings.language.clone())
}

/// Octets of silence.
pub(super) fn silence(format: AudioFormat, milliseconds: u32) -> Vec<u8> {
    vec![format.encoding.silence(); format.bytes_of(milliseconds)]
}

/// A format as one of three words.
pub(super) fn encoding(format: AudioFormat, [pcm, mulaw, alaw]: [&'static str; 3]) -> &'static str {
    match format.encoding {
        Encoding::Pcm16 => pcm,
        Encoding::Mulaw => mulaw,
        Encoding::Alaw => alaw,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    /// Settings as the registry would make them.
    pub(in crate::providers::stt) fn settings(options: &[(&str, Value)]) -> Settings {
        Settings {
            name: "vendor".into(),
            key: Some(crate::base::Pii::new("secret-key".into())),
            url: "https://vendor.example".into(),
            model: "model-1".into(),
            voice: String::new(),
            language: "en".into(),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            concurrency: 1,
            connect_timeout: Duration::from_secs(1),
            first_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn options_replace_defaults_and_lists_repeat() {
        let settings = settings(&[("endpointing", 500.into()), ("keyterm", serde_json::json!(["a b", "c"]))]);
        let query = Query::default()
            .with("model", "m")
            .with("endpointing", "300")
            .with_some("language", "")
            .with_options(&settings, &["endpointing", "keyterm", "tag"]);
        assert_eq!(
            query.url("https://a.example", "/x"),
            "wss://a.example/x?model=m&endpointing=500&keyterm=a%20b&keyterm=c"
        );
    }
}
