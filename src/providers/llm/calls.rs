//! Tool calls that arrive in fragments.

use super::{Thought, ToolCall};
use crate::base::Pii;
use crate::providers::{ProviderError, ProviderName};
use serde_json::{Map, Value};

/// Octets of the arguments of one call.
const ARGUMENT_BYTES: usize = 64 * 1024;
/// Calls of one answer.
const CALLS: usize = 32;

/// A fragment as a vendor gives it; what it does not say is empty.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Fragment<'e> {
    /// The vendor's number of the call within its answer.
    pub index: Option<u64>,
    /// Its id, usually in the first fragment only.
    pub id: &'e str,
    /// The tool's name, as rarely.
    pub name: &'e str,
    /// More of the arguments' JSON.
    pub arguments: &'e str,
}

#[derive(Debug, Default)]
struct Partial {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    opaque: Option<String>,
}

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Partial>,
}

impl Calls {
    /// True as long as there was none.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a fragment. One without an index goes to the last call; one with another id, or with a name when the
    /// call of its index has one and is whole, begins a call even under an index that was there (Ollama).
    ///
    /// # Errors
    /// More than any tool needs.
    pub(super) fn add(&mut self, provider: &ProviderName, fragment: Fragment<'_>) -> Result<(), ProviderError> {
        let too_much = |what: &str| ProviderError::Protocol { provider: provider.clone(), reason: what.into() };
        let known = match fragment.index {
            Some(index) => self.calls.iter().rposition(|call| call.index == Some(index)),
            None => self.calls.len().checked_sub(1),
        };
        let goes_on = |call: &Partial| {
            let other = !fragment.id.is_empty() && !call.id.is_empty() && fragment.id != call.id;
            let again = !fragment.name.is_empty() && !call.name.is_empty() && fragment.id.is_empty();
            !other && (!again || arguments(&call.arguments).is_none())
        };
        let place = known.filter(|place| self.calls.get(*place).is_some_and(goes_on)).unwrap_or(self.calls.len());
        if place == CALLS {
            return Err(too_much("more tool calls than anybody can want"));
        }
        if place == self.calls.len() {
            self.calls.push(Partial { index: fragment.index, ..Partial::default() });
        }
        let Some(call) = self.calls.get_mut(place) else { return Ok(()) };
        if call.id.is_empty() {
            fragment.id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            fragment.name.clone_into(&mut call.name);
        }
        if call.arguments.len() + fragment.arguments.len() > ARGUMENT_BYTES {
            return Err(too_much("arguments of a tool call without end"));
        }
        call.arguments.push_str(fragment.arguments);
        Ok(())
    }

    /// Sets the arguments of the call of an index, which its vendor repeats when they are whole.
    pub(super) fn whole(&mut self, index: u64, arguments: &str) {
        let call = self.calls.iter_mut().rfind(|call| call.index == Some(index));
        if let Some(call) = call.filter(|_| arguments.len() <= ARGUMENT_BYTES) {
            arguments.clone_into(&mut call.arguments);
        }
    }

    /// Gives the first call what its vendor wants to see again in the history.
    pub(super) fn mark(&mut self, opaque: String) {
        if let Some(call) = self.calls.first_mut() {
            call.opaque = Some(opaque);
        }
    }

    /// Hands over all calls. With `cut` the answer ended at a limit: a call that is not whole is dropped.
    pub(super) fn finish(&mut self, cut: bool, thoughts: &mut Vec<Thought>) {
        for (place, call) in self.calls.drain(..).enumerate() {
            let id = if call.id.is_empty() { format!("call_{place}") } else { call.id };
            let call = match arguments(&call.arguments) {
                Some(arguments) => {
                    ToolCall { id, name: call.name, arguments: Pii::new(arguments), opaque: call.opaque }
                }
                None if cut => continue,
                None => ToolCall { opaque: call.opaque, ..ToolCall::malformed(id, call.name, call.arguments) },
            };
            thoughts.push(Thought::Call(call));
        }
    }
}

/// Arguments as a map; nothing at all means none.
fn arguments(json: &str) -> Option<Map<String, Value>> {
    match json.trim() {
        "" => Some(Map::new()),
        // Some models write their JSON into a JSON string.
        quoted if quoted.starts_with('"') => serde_json::from_str(&serde_json::from_str::<String>(quoted).ok()?).ok(),
        "null" => Some(Map::new()),
        json => serde_json::from_str(json).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(calls: &mut Calls, cut: bool) -> Vec<String> {
        let mut thoughts = Vec::new();
        calls.finish(cut, &mut thoughts);
        let one = |thought: Thought| match thought {
            Thought::Call(call) => {
                let malformed = call.malformed_arguments().is_some();
                let arguments = Value::from(call.arguments.into_exposed());
                format!("{} {} {arguments}{}", call.id, call.name, if malformed { " malformed" } else { "" })
            }
            other => panic!("{other:?}"),
        };
        thoughts.into_iter().map(one).collect()
    }

    fn fragment<'e>(index: Option<u64>, id: &'e str, name: &'e str, arguments: &'e str) -> Fragment<'e> {
        Fragment { index, id, name, arguments }
    }

    #[track_caller]
    fn of(fragments: &[Fragment<'_>]) -> Vec<String> {
        let mut calls = Calls::default();
        fragments.iter().for_each(|fragment| calls.add(&"v".into(), *fragment).expect("small"));
        finished(&mut calls, false)
    }

    #[test]
    fn fragments_are_put_together_by_their_index() {
        let calls = of(&[
            fragment(Some(0), "a", "look", ""),
            fragment(Some(1), "b", "book", "{\"x\""),
            fragment(Some(0), "", "", "{\"q\":"),
            fragment(Some(1), "", "", ":1}"),
            fragment(Some(0), "", "", "2}"),
        ]);
        assert_eq!(calls, [r#"a look {"q":2}"#, r#"b book {"x":1}"#]);
    }

    #[test]
    fn whole_calls_that_share_an_index_stay_apart() {
        let with_ids = [fragment(Some(0), "a", "look", "{}"), fragment(Some(0), "b", "look", "{}")];
        assert_eq!(of(&with_ids), ["a look {}", "b look {}"]);
        let without = [fragment(Some(0), "", "look", "{}"), fragment(Some(0), "", "book", "{}")];
        assert_eq!(of(&without), ["call_0 look {}", "call_1 book {}"]);
    }

    #[test]
    fn a_name_and_id_repeated_in_every_fragment_are_taken_once() {
        let calls = of(&[fragment(Some(0), "a", "look", "{\"q\":"), fragment(Some(0), "a", "look", "1}")]);
        assert_eq!(calls, [r#"a look {"q":1}"#]);
    }

    #[test]
    fn no_arguments_are_an_empty_map() {
        assert_eq!(of(&[fragment(None, "a", "look", "")]), ["a look {}"]);
        assert_eq!(of(&[fragment(None, "a", "look", "null")]), ["a look {}"]);
        assert_eq!(of(&[fragment(None, "a", "look", r#""{\"q\":1}""#)]), [r#"a look {"q":1}"#]);
    }

    #[test]
    fn arguments_that_are_no_json_object_are_told_to_be_malformed() {
        let calls = of(&[fragment(None, "a", "look", "{\"q\": tomorrow")]);
        assert_eq!(calls, [r#"a look {"malformed_arguments":"{\"q\": tomorrow"} malformed"#]);
        assert!(of(&[fragment(None, "a", "look", "[1]")])[0].ends_with("malformed"));
    }

    #[test]
    fn a_call_cut_off_by_a_limit_is_dropped_and_a_whole_one_kept() {
        let mut calls = Calls::default();
        calls.add(&"v".into(), fragment(Some(0), "a", "look", "{}")).expect("small");
        calls.add(&"v".into(), fragment(Some(1), "b", "look", "{\"q")).expect("small");
        assert_eq!(finished(&mut calls, true), ["a look {}"]);
    }

    #[test]
    fn calls_and_arguments_without_end_are_refused() {
        let mut calls = Calls::default();
        let long = "x".repeat(ARGUMENT_BYTES);
        calls.add(&"v".into(), fragment(Some(0), "a", "look", &long)).expect("at the limit");
        assert_eq!(calls.add(&"v".into(), fragment(Some(0), "", "", "x")).map_err(|e| e.kind()), Err("protocol"));
        let added =
            (1..=CALLS as u64).map(|n| calls.add(&"v".into(), fragment(Some(n), "", "t", ""))).find(Result::is_err);
        assert!(added.is_some());
    }
}
