//! What fake language models answer: by the caller's last words, the same with every vendor.

use serde_json::{Value, json};
use std::time::Duration;

/// Time to the first piece of an answer, and between two.
pub const FIRST: Duration = Duration::from_millis(5);
/// Between the pieces of an answer that is to be interrupted.
pub const SLOW: Duration = Duration::from_millis(20);
/// Between the pieces of any other.
pub const QUICK: Duration = Duration::from_millis(1);

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Pieces of text.
    pub words: Vec<String>,
    /// A tool call: its name and what the model writes as its arguments.
    pub call: Option<(&'static str, String)>,
    /// How it ends.
    pub end: End,
    /// Between two pieces.
    pub gap: Duration,
}

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    #[default]
    Complete,
    /// At the limit of tokens.
    Length,
    /// The model refuses.
    Refused,
    /// The vendor's filter stops it.
    Filtered,
    /// An error within the stream: the vendor is overloaded.
    Overloaded,
    /// The body ends without any end of the answer.
    Nothing,
}

/// The answer to these last words of the caller; `None` stands for a tool's result.
pub fn answer(last: Option<&str>) -> Answer {
    let says = |text: &str| text.split_inclusive(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
    let call = |arguments: &Value| Some(("look", arguments.to_string()));
    let plain = Answer { gap: QUICK, ..Answer::default() };
    let Some(last) = last else { return Answer { words: says("It is free at nine."), ..plain } };
    let half = says("I was about to");
    match last {
        _ if last.contains("look up") => {
            Answer { words: says("One moment."), call: call(&json!({"day": "Monday"})), ..plain }
        }
        _ if last.contains("broken call") => Answer { call: Some(("look", "{\"day\": Mon".into())), ..plain },
        _ if last.contains("talk long") => {
            Answer { words: (0..500).map(|n| format!("word{n} ")).collect(), gap: SLOW, ..plain }
        }
        _ if last.contains("cut short") => Answer { words: half, end: End::Length, ..plain },
        _ if last.contains("refuse") => Answer { end: End::Refused, ..plain },
        _ if last.contains("filter") => Answer { words: half, end: End::Filtered, ..plain },
        _ if last.contains("overload") => Answer { words: half, end: End::Overloaded, ..plain },
        _ if last.contains("vanish") => Answer { words: half, end: End::Nothing, ..plain },
        _ if last.contains("thanks") => {
            Answer { words: says("You are welcome."), call: Some(("exit_done", "{}".into())), ..plain }
        }
        _ => Answer { words: says("Hello there. How can I help?"), ..plain },
    }
}

/// Tokens that every answer is said to have cost: read, of these cached, written.
pub const USAGE: (u64, u64, u64) = (120, 100, 9);
