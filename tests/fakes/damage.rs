//! How messages are spoilt. Pure: text in, text out.

use serde_json::{Value, json};

/// The field nobody has heard of.
const EXTRA: &str = "x_fake_extra";

/// Spoils JSON by turns: the `n`th in the `n`th way, modulo four.
pub fn wrong_json(text: &str, n: usize) -> String {
    match n % 4 {
        0 => text.chars().take(text.chars().count() / 2).collect(),
        1 => "null".into(),
        2 => r#"{"type":7}"#.into(),
        _ => "this is no JSON".into(),
    }
}

/// Adds a field nobody has heard of to an object. Anything else stays as it is.
pub fn with_extra_field(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(Value::Object(mut object)) => {
            object.insert(EXTRA.into(), json!({"nested": [1, null, "two"]}));
            Value::Object(object).to_string()
        }
        _ => text.to_owned(),
    }
}

/// A JSON message of `size` octets, or a little over if that is less than its frame.
pub fn huge(size: usize) -> String {
    const HEAD: &str = r#"{"type":"fake.huge","padding":""#;
    const TAIL: &str = r#""}"#;
    let padding = size.saturating_sub(HEAD.len() + TAIL.len());
    let mut text = String::with_capacity(HEAD.len() + padding + TAIL.len());
    text.push_str(HEAD);
    text.extend(std::iter::repeat_n('a', padding));
    text.push_str(TAIL);
    text
}

/// Applies `change` to the text of each `data:` line of server-sent events.
pub fn in_events(events: &str, mut change: impl FnMut(&str) -> String) -> String {
    let lines = events.split_inclusive('\n').map(|line| match line.trim_end().strip_prefix("data:") {
        Some(data) => format!("data: {}\n", change(data.trim_start())),
        None => line.to_owned(),
    });
    lines.collect()
}

/// What a body's content type says of how it can be spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Server-sent events.
    Events,
    /// One JSON text, or one on each line.
    Json,
    /// Audio and the like.
    Octets,
}

impl Kind {
    /// Reads a `content-type`.
    pub fn of(content_type: &str) -> Self {
        if content_type.contains("event-stream") {
            Self::Events
        } else if content_type.contains("json") {
            Self::Json
        } else {
            Self::Octets
        }
    }

    /// Spoils the JSON in `body`.
    pub fn wrong_json(self, body: Vec<u8>, n: usize) -> Vec<u8> {
        self.changed(body, |text| wrong_json(text, n))
    }

    /// Adds unknown fields, and for events an event of an unknown type in front.
    pub fn with_unknown(self, body: Vec<u8>) -> Vec<u8> {
        let changed = self.changed(body, with_extra_field);
        match self {
            Self::Events => {
                let mut all =
                    b": a comment\nevent: fake.unknown_event\ndata: {\"type\":\"fake.unknown_event\"}\n\n".to_vec();
                all.extend(changed);
                all
            }
            _ => changed,
        }
    }

    /// Octets of padding the kind allows in front: a comment line, spaces, or silence.
    pub fn padding(self, size: usize) -> Vec<u8> {
        match self {
            Self::Events => {
                let mut line = vec![b'a'; size];
                for (place, octet) in line.iter_mut().zip(*b":") {
                    *place = octet;
                }
                line.push(b'\n');
                line
            }
            Self::Json => vec![b' '; size],
            // Silence, in whole samples.
            Self::Octets => vec![0; size & !1],
        }
    }

    fn changed(self, body: Vec<u8>, mut change: impl FnMut(&str) -> String) -> Vec<u8> {
        match (self, std::str::from_utf8(&body)) {
            (Self::Events, Ok(text)) => in_events(text, change).into_bytes(),
            (Self::Json, Ok(text)) if text.ends_with('\n') => {
                change(text).into_bytes().into_iter().chain([b'\n']).collect()
            }
            (Self::Json, Ok(text)) => change(text).into_bytes(),
            _ => body,
        }
    }
}
